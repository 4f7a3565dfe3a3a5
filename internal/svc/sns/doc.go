// Package sns is the embedded Amazon SNS: topics, subscriptions, publishing,
// and delivery to HTTP and HTTPS endpoints, queues, delivery streams and
// mailboxes. It exists so that events published to an SNS event destination
// reach their subscribers, signed and retried, without an AWS account; and so
// that programs written for SNS run unchanged.
//
// A message published to a topic is stored once, as an envelope. What a
// subscription gets of it is decided when it is published (FanOut): rows of an
// embedded queue, committed together with the publication, or a unit of durable
// work per subscription with a lane of its own. HTTP bodies are made from the
// envelope when they are sent; the signature is made once per message, when the
// first subscriber needs it.
//
// Topics and subscriptions are documents. A subscription's document is named
// <topic id>/<hash of protocol and endpoint>, so that one endpoint can be
// subscribed to a topic only once on any number of nodes, and the subscriptions
// of a topic can be listed without an index.
package sns
