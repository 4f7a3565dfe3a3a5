// Package event is the vocabulary of sending events: the record that SES
// publishes for each event, with its members in the order SES writes them. A
// record has three parts: the event type, the mail object (frozen when the
// message was accepted; only tags are added later) and one object that belongs
// to the type. ses-guide:event-publishing-retrieving-sns-contents
//
// The mail object is encoded once per message, the type object once per event;
// Record joins them as bytes, so that publishing costs no encoding.
package event
