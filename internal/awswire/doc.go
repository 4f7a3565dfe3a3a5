// Package awswire speaks the AWS wire protocols: it turns HTTP requests into
// typed calls and their results into responses.
//
// One port serves nine services in four protocols (awsQuery, restJson1,
// awsJson1_0 and 1_1, Smithy RPC v2 CBOR), because unmodified SDKs are pointed
// at one endpoint URL. Which service a request is for follows from the
// credential scope of its SigV4 signature, then from headers, form and path;
// see dispatch.go. A request then passes, in this order: signature, routing,
// decoding, constraints of the model, handler, encoding.
//
// Services register typed handlers with Handle and know nothing about
// protocols: they return the output shape or an error. A *sestina.Error is the
// client's to see, with the code and text it carries; any other error is logged
// here once and answered as an internal failure without its text. Nothing a
// client sends is answered with a 5xx of ours, because SDKs retry those until
// it looks like a hang.
//
// The codecs are reflective and driven by the schema tables of package awsapi.
package awswire
