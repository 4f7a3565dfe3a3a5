package awswire

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// respond writes the body, or the fault if there is one. It returns status and
// error code as the client sees them.
func (x *exchange) respond(body []byte, f *fault) (status int, code string) {
	h := x.w.Header()
	h.Set("x-amzn-RequestId", x.call.RequestID)
	if f == nil {
		status = x.svc.Operations[x.op].Status
	} else {
		status, code, body = x.encodeFault(f)
	}
	h.Set("Content-Type", x.contentType())
	if x.proto == awsapi.ProtocolCBOR {
		h.Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	if status == http.StatusNoContent {
		body = nil
		h.Del("Content-Type")
	} else {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // the caller may have gone away; nothing to do then
	return status, code
}

func (x *exchange) contentType() string {
	switch x.proto {
	case awsapi.ProtocolQuery:
		return "text/xml"
	case awsapi.ProtocolREST:
		return "application/json"
	case awsapi.ProtocolCBOR:
		return "application/cbor"
	}
	return x.jsonType
}

// encode returns the response body of a success.
func (x *exchange) encode(out reflect.Value) []byte {
	op := &x.svc.Operations[x.op]
	switch x.proto {
	case awsapi.ProtocolQuery:
		return encodeQueryResponse(x.svc.Service, op, out, x.call.RequestID)
	case awsapi.ProtocolREST:
		return encodeREST(x.svc.Service, op, out)
	case awsapi.ProtocolCBOR:
		return encodeCBOR(x.svc.Shapes, op.Output, out, nil)
	}
	return encodeJSON(x.svc.Shapes, op.Output, out, nil)
}

// encodeFault returns status, code and body of an error, and sets the headers
// that carry parts of it.
func (x *exchange) encodeFault(f *fault) (status int, code string, body []byte) {
	switch x.proto {
	case awsapi.ProtocolQuery:
		namespace := ""
		if x.svc != nil {
			namespace = x.svc.XMLNamespace
		}
		return f.status, f.query, encodeQueryError(namespace, f, x.call.RequestID)
	case awsapi.ProtocolREST:
		x.w.Header().Set("x-amzn-ErrorType", f.shape)
		return f.status, f.shape, x.restError(f)
	}
	status = x.rpcStatus(f)
	if x.svc != nil && x.svc.QueryCompatible {
		x.w.Header().Set("x-amzn-query-error", f.query+";"+faultType(f))
	}
	name := x.qualified(f)
	if x.proto == awsapi.ProtocolCBOR {
		e := cborEncoder{}
		e.head(cborMap, 2)
		e.text("__type")
		e.text(name)
		e.text("message")
		e.text(f.message)
		return status, f.shape, e.buf
	}
	body = appendJSONString([]byte(`{"__type":`), name)
	body = appendJSONString(append(body, `,"message":`...), f.message)
	return status, f.shape, append(body, '}')
}

// restError is the body of a restJson1 error. Pinpoint spells it differently.
func (x *exchange) restError(f *fault) []byte {
	if x.svc != nil && x.svc.Name == "pinpoint" {
		b := appendJSONString([]byte(`{"Message":`), f.message)
		b = appendJSONString(append(b, `,"RequestID":`...), x.call.RequestID)
		return append(b, '}')
	}
	return append(appendJSONString([]byte(`{"message":`), f.message), '}')
}

// rpcStatus collapses client errors to 400 for JSON clients of query-compatible
// services that do not ask for the query protocol's statuses.
func (x *exchange) rpcStatus(f *fault) int {
	compatible := x.svc != nil && x.svc.QueryCompatible
	if compatible && x.proto == awsapi.ProtocolJSON && f.status < 500 && f.status != http.StatusRequestEntityTooLarge &&
		x.r.Header.Get("X-Amzn-Query-Mode") != "true" {
		return http.StatusBadRequest
	}
	return f.status
}

// qualified returns the error's shape id: with the namespace where the service
// sends one, bare otherwise.
func (x *exchange) qualified(f *fault) string {
	if x.svc == nil || x.svc.Namespace == "" {
		return f.shape
	}
	if f.namespace != "" {
		return f.namespace + "#" + f.shape
	}
	return x.svc.Namespace + "#" + f.shape
}
