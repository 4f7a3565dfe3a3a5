package awswire

import (
	"net/http"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// identify works out protocol, service and, if the head of the request says
// it, the operation's name. The credential scope is the most reliable sign,
// because the query protocol's operation names overlap between services. It is
// evaluated in this order: CBOR header, X-Amz-Target, REST path, query.
//
// It always sets the protocol, so that even a refusal has the right form.
func (x *exchange) identify(sig *signature) *fault {
	r := x.r
	switch target := r.Header.Get("X-Amz-Target"); {
	case strings.EqualFold(r.Header.Get("Smithy-Protocol"), "rpc-v2-cbor"):
		x.proto = awsapi.ProtocolCBOR
		return x.identifyCBOR()
	case target != "":
		x.proto = awsapi.ProtocolJSON
		x.identifyTarget(target)
	case x.isREST(sig):
		x.proto = awsapi.ProtocolREST
	default:
		x.proto = awsapi.ProtocolQuery
		x.identifyQuery(sig)
	}
	return nil
}

// identifyCBOR reads …/service/<service>/operation/<operation>: any prefix may
// come before it, and the service may be qualified.
func (x *exchange) identifyCBOR() *fault {
	seg := strings.Split(strings.Trim(x.r.URL.Path, "/"), "/")
	n := len(seg)
	if n < 4 || seg[n-4] != "service" || seg[n-2] != "operation" || x.r.Method != http.MethodPost {
		return errUnknownOp.fault(x.proto, "The path names no operation.")
	}
	name := seg[n-3][strings.LastIndexAny(seg[n-3], "#.")+1:]
	x.operation = seg[n-1]
	x.svc = x.m.find(func(s *service) bool {
		return s.TargetPrefix == name && s.Protocols&awsapi.ProtocolCBOR != 0
	})
	return nil
}

func (x *exchange) identifyTarget(target string) {
	dot := strings.LastIndexByte(target, '.')
	x.operation = target[dot+1:]
	x.svc = x.m.find(func(s *service) bool {
		return s.TargetPrefix == target[:max(dot, 0)] && s.Protocols&awsapi.ProtocolJSON != 0
	})
	// Either version is understood, and answered in kind.
	version := "1.1"
	if x.svc != nil {
		version = x.svc.JSONVersion
	}
	content := x.r.Header.Get("Content-Type")
	for _, v := range []string{"1.0", "1.1"} {
		if strings.HasPrefix(content, "application/x-amz-json-"+v) {
			version = v
		}
	}
	x.jsonType = "application/x-amz-json-" + version
}

// isREST recognises the paths of the REST services, and finds the service.
func (x *exchange) isREST(sig *signature) bool {
	scope, path := "", x.r.URL.Path
	if sig != nil {
		scope = sig.service
	}
	name := ""
	switch {
	case strings.HasPrefix(path, "/v2/email/"), scope == "ses" && strings.HasPrefix(path, "/v2/"):
		name = "sesv2"
	case scope == "ses" && strings.HasPrefix(path, "/v1/email"):
		return true // the retired Pinpoint Email API: REST, but not ours
	case scope == "mobiletargeting":
		name = "pinpoint"
	case scope == "" && isPinpointPath(path):
		name = "pinpoint"
	default:
		return false
	}
	x.svc = x.m.find(func(s *service) bool { return s.Name == name })
	return true
}

func isPinpointPath(p string) bool {
	for _, prefix := range []string{"/v1/apps", "/v1/tags/", "/v1/phone/", "/v1/recommenders", "/v1/templates"} {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// identifyQuery finds the service by the credential scope. A service that does
// not speak the query protocol is answered in its own.
func (x *exchange) identifyQuery(sig *signature) {
	if sig == nil {
		return
	}
	x.svc = x.m.find(func(s *service) bool {
		return s.SigningName == sig.service && s.Protocols&awsapi.ProtocolQuery != 0
	})
	if x.svc != nil {
		return
	}
	if s := x.m.find(func(s *service) bool { return s.SigningName == sig.service }); s != nil {
		x.svc, x.proto = s, awsapi.ProtocolJSON
		x.jsonType = "application/x-amz-json-" + s.JSONVersion
	}
}

func (m *Mux) find(f func(*service) bool) *service {
	for _, s := range m.services {
		if f(s) {
			return s
		}
	}
	return nil
}

// unsignedActions are the operations that need no signature: the links in
// confirmation and notification messages lead there.
var unsignedActions = map[string]bool{"ConfirmSubscription": true, "Unsubscribe": true}

// identifyUnsigned lets in an unsigned query request for one of the operations
// that allow it.
func (x *exchange) identifyUnsigned() *fault {
	missing := errMissingAuth.fault(x.proto, "Missing Authentication Token")
	if x.proto != awsapi.ProtocolQuery {
		return missing
	}
	if f := x.readBody(maxUnsignedBody); f != nil {
		return f
	}
	if f := x.parseForm(); f != nil {
		return f
	}
	action, _ := x.form.get("Action")
	if !unsignedActions[action] {
		return missing
	}
	x.svc = x.m.find(func(s *service) bool { return s.Name == "sns" })
	if version, ok := x.form.get("Version"); ok && version != x.svc.Version {
		x.svc = nil
		return missing
	}
	return nil
}

// maxUnsignedBody bounds what is read of a request that is not signed.
const maxUnsignedBody = 64 << 10

// route finds the operation. It is called with the service known and the body
// read.
func (x *exchange) route() *fault {
	switch x.proto {
	case awsapi.ProtocolREST:
		m, ok := x.svc.router.find(x.r.Method, sentPath(x.r))
		if !ok {
			return errUnknownOp.fault(x.proto, "No operation is at "+x.r.Method+" "+printable(sentPath(x.r)))
		}
		x.match, x.op = m, m.op
		x.operation = x.svc.Operations[m.op].Name
		x.call.Operation = x.operation
	case awsapi.ProtocolQuery:
		if f := x.routeQuery(); f != nil {
			return f
		}
	}
	if x.proto != awsapi.ProtocolREST {
		x.op = x.svc.OperationIndex(x.operation)
		if x.op < 0 {
			return errUnknownOp.fault(x.proto, x.unknownText())
		}
		x.call.Operation = x.operation
	}
	if x.svc.handlers[x.op].call == nil {
		return errUnknownOp.fault(x.proto, "The operation "+x.operation+" of "+x.svc.Name+" is not available here.")
	}
	return nil
}

func (x *exchange) unknownText() string {
	if x.operation == "" {
		return "The request names no operation."
	}
	if x.proto == awsapi.ProtocolQuery {
		return "Could not find operation " + printable(x.operation) + " for version " + x.svc.Version
	}
	return "Unknown operation: " + printable(x.operation)
}

func (x *exchange) routeQuery() *fault {
	if f := x.parseForm(); f != nil {
		return f
	}
	action, ok := x.form.get("Action")
	if !ok || action == "" {
		return errNoAction.fault(x.proto, "The request must contain the parameter Action.")
	}
	x.operation = action
	// Old SQS clients post to the queue's URL and leave QueueUrl out.
	if _, has := x.form.get("QueueUrl"); x.svc.Name == "sqs" && !has && strings.Count(strings.Trim(x.r.URL.Path, "/"), "/") == 1 {
		x.form = x.form.with("QueueUrl", x.call.BaseURL+strings.TrimSuffix(x.r.URL.Path, "/"))
	}
	return nil
}

// parseForm parses the query string and, of a POST, the body, once.
func (x *exchange) parseForm() *fault {
	if x.form != nil {
		return nil
	}
	body := ""
	if x.r.Method == http.MethodPost {
		body = string(x.body.plain)
	}
	f, err := parseForm(x.r.URL.RawQuery, body)
	switch err {
	case nil:
		x.form = f
		return nil
	case errFormSize:
		return errTooLarge.fault(x.proto, "The request has too many parameters.")
	}
	return errSerialization.fault(x.proto, "The request is not valid URL encoding.")
}
