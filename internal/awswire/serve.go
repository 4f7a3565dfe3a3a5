package awswire

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// An exchange is one request on its way to a response.
type exchange struct {
	m    *Mux
	w    http.ResponseWriter
	r    *http.Request
	call *Call

	proto     awsapi.Protocol
	svc       *service // nil: unknown
	operation string   // as the request names it
	op        int
	match     *match // REST
	form      form   // query
	jsonType  string // JSON: content type, echoed
	body      body
}

// ServeHTTP answers one request.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	took := clock.Stopwatch()
	x := &exchange{m: m, w: w, r: r, call: &Call{RequestID: newRequestID()}}
	m.setPeer(x.call, r)
	m.guardBody(w, r)
	defer m.release(&x.body)
	body, f := x.answer()
	status, code := x.respond(body, f)
	x.call.Protocol = x.proto
	if x.svc != nil {
		x.call.Service = x.svc.Name
	}
	m.opt.Observe(x.call, status, code, took())
}

// answer returns the response body or what went wrong.
func (x *exchange) answer() (body []byte, f *fault) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { // a sentinel that panics carry as is
			panic(p)
		}
		x.m.opt.Logger.ErrorContext(x.r.Context(), "panic in an AWS call", "request_id", x.call.RequestID,
			"service", x.call.Service, "operation", x.call.Operation, "panic", p, "stack", string(debug.Stack()))
		body, f = nil, x.internalFault()
	}()
	if f := x.admit(); f != nil {
		return nil, f
	}
	x.call.Service, x.call.Protocol = x.svc.Name, x.proto
	if f := x.route(); f != nil {
		return nil, f
	}
	in := x.svc.handlers[x.op].newInput()
	if f := x.decode(reflect.ValueOf(in).Elem()); f != nil {
		return nil, f
	}
	if f := validate(x.svc, x.proto, x.svc.Operations[x.op].Input, reflect.ValueOf(in).Elem()); f != nil {
		return nil, f
	}
	// The input has copies of all it needs; a large body need not live as long
	// as the handler runs.
	x.body.sent, x.body.plain, x.form = nil, nil, nil
	out, err := x.svc.handlers[x.op].call(WithCall(x.r.Context(), x.call), in)
	if err != nil {
		return nil, x.errorFault(err)
	}
	return x.encode(reflect.ValueOf(out).Elem()), nil
}

// admit identifies the service and checks the signature. After it the body has
// been read and decompressed. Nothing of a body is read before the access key
// was found to exist.
func (x *exchange) admit() *fault {
	sig, bad := parseSignature(x.r, x.m.opt.Credentials != nil)
	if bad != "" {
		x.identifyQuietly(sig)
		if bad == oldSignature {
			return errBadSignature.fault(x.proto, bad)
		}
		return errIncompleteAuth.fault(x.proto, bad)
	}
	if f := x.identify(sig); f != nil {
		return f
	}
	if sig == nil {
		x.call.Scope = sestina.Scope{Account: x.m.opt.Account, Region: x.m.opt.Region}
		return x.identifyUnsigned()
	}
	if f := x.checkScope(sig); f != nil {
		return f
	}
	key, f := x.lookup(sig)
	if f != nil {
		return f
	}
	limit := x.m.opt.MaxBody
	if x.svc.profile.mail {
		limit = x.m.opt.MaxMailBody
	}
	if f := x.readBody(limit); f != nil {
		return f
	}
	if key != nil {
		if f := x.verify(sig, key); f != nil {
			return f
		}
	}
	if e := x.r.Header.Get("Content-Encoding"); e != "" {
		return x.bodyFault(x.m.inflate(&x.body, e, limit))
	}
	return nil
}

// identifyQuietly sets the protocol for a refusal.
func (x *exchange) identifyQuietly(sig *signature) {
	if f := x.identify(sig); f != nil {
		x.svc = nil
	}
}

// checkScope compares the credential scope with what the request is for.
func (x *exchange) checkScope(sig *signature) *fault {
	switch {
	case x.svc == nil && (x.proto == awsapi.ProtocolJSON || x.proto == awsapi.ProtocolCBOR):
		return errUnknownOp.fault(x.proto, "Unknown operation: "+printable(x.operation))
	case x.svc == nil && x.proto == awsapi.ProtocolREST:
		return errUnknownOp.fault(x.proto, "No operation is at "+x.r.Method+" "+printable(sentPath(x.r)))
	case x.svc == nil:
		return errBadSignature.fault(x.proto, "Credential should be scoped to correct service.")
	case x.svc.SigningName != sig.service:
		return errBadSignature.fault(x.proto, "Credential should be scoped to correct service: '"+x.svc.SigningName+"'.")
	case len(x.m.opt.Regions) > 0 && !slices.Contains(x.m.opt.Regions, sig.region):
		return errBadSignature.fault(x.proto, "Credential should be scoped to a valid region, not '"+printable(sig.region)+"'.")
	}
	return nil
}

// lookup fills in who calls. The key is nil where signatures are not checked.
func (x *exchange) lookup(sig *signature) (*Key, *fault) {
	c, opt := x.call, &x.m.opt
	c.Signed, c.AccessKeyID = true, sig.accessKeyID
	c.Scope = sestina.Scope{Account: opt.Account, Region: sig.region}
	if opt.Credentials == nil {
		c.PrincipalARN = rootARN(opt.Account)
		return nil, nil
	}
	now := time.Now() //permit:time.Now SigV4 skew is about real time
	if f := sig.checkTime(now, opt.ClockSkew, x.proto); f != nil {
		return nil, f
	}
	key, err := opt.Credentials.Lookup(x.r.Context(), sig.accessKeyID)
	invalid := errUnknownKeyID.fault(x.proto, "The security token included in the request is invalid.")
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, invalid
	case err != nil:
		return nil, x.errorFault(err)
	case subtle.ConstantTimeCompare([]byte(key.SessionToken), []byte(sig.token)) != 1:
		return nil, invalid
	case !key.Expires.IsZero() && now.After(key.Expires):
		return nil, errExpiredToken.fault(x.proto, "The security token included in the request is expired")
	}
	if key.Account != "" {
		c.Scope.Account = key.Account
	}
	c.PrincipalARN, c.UserName = key.PrincipalARN, key.UserName
	if c.PrincipalARN == "" {
		c.PrincipalARN = rootARN(c.Scope.Account)
	}
	return &key, nil
}

func rootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// verify checks the signature over the request and its body as sent.
func (x *exchange) verify(sig *signature, key *Key) *fault {
	hash := x.r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case hash == "UNSIGNED-PAYLOAD":
		if x.call.TLSVersion == "" {
			return errBadSignature.fault(x.proto, "UNSIGNED-PAYLOAD is accepted over TLS only.")
		}
	case strings.HasPrefix(hash, "STREAMING-"):
		return errBadSignature.fault(x.proto, "Chunked signatures are not supported by this service.")
	default:
		sum := sha256.Sum256(x.body.sent)
		computed := hex.EncodeToString(sum[:])
		if hash != "" && hash != computed {
			return errBadSignature.fault(x.proto, "The provided 'x-amz-content-sha256' header does not match what was computed.")
		}
		hash = computed
	}
	signing := x.m.keys.get(signingScope{sig.accessKeyID, sig.date, sig.region, sig.service}, key.Secret)
	if !sig.verify(x.r, hash, signing) {
		return errBadSignature.fault(x.proto, "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func (x *exchange) readBody(limit int64) *fault {
	return x.bodyFault(x.m.readBody(x.w, x.r, &x.body, limit))
}

func (x *exchange) bodyFault(err error) *fault {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errBodyTooLarge):
		return errTooLarge.fault(x.proto, "Request size exceeded the maximum allowed.")
	case errors.Is(err, errBodyBudget):
		return errUnavailable.fault(x.proto, "Too many requests are being handled. Try again.")
	case errors.Is(err, errBodyEncoding):
		return errSerialization.fault(x.proto, "The content encoding is not supported.")
	case errors.Is(err, errBodyGzip):
		return errSerialization.fault(x.proto, "The body is not valid gzip.")
	}
	f := errSerialization.fault(x.proto, "The request body could not be read to its end.")
	f.query, f.shape, f.status = "RequestTimeout", "RequestTimeoutException", http.StatusRequestTimeout
	return f
}

// decode reads the input from the request.
func (x *exchange) decode(in reflect.Value) *fault {
	shape := x.svc.Operations[x.op].Input
	var err error
	switch x.proto {
	case awsapi.ProtocolQuery:
		err = decodeQuery(x.svc, shape, x.form, in)
	case awsapi.ProtocolREST:
		err = decodeREST(x.svc, x.match, x.r, x.body.plain, in)
	case awsapi.ProtocolCBOR:
		err = decodeCBOR(x.svc, shape, x.body.plain, in)
	default:
		err = decodeJSON(x.svc, shape, x.body.plain, in, false)
	}
	if err == nil {
		return nil
	}
	var wrong typeError
	errors.As(err, &wrong) // malformed input has no text
	return errSerialization.fault(x.proto, string(wrong))
}

// errorFault turns a handler's error into what the client sees, and logs it if
// the client does not get to know.
func (x *exchange) errorFault(err error) *fault {
	var e *sestina.Error
	if errors.As(err, &e) {
		return domainFault(x.svc, x.proto, e)
	}
	if isUnavailable(err) {
		if !errors.Is(err, context.Canceled) { // the part that is unavailable says so once
			x.m.opt.Logger.DebugContext(x.r.Context(), "AWS call could not be served now", "request_id", x.call.RequestID, "error", err)
		}
		return errUnavailable.fault(x.proto, "The service is temporarily unavailable. Try again.")
	}
	x.log("AWS call failed", err)
	return x.internalFault()
}

func (x *exchange) log(text string, err error) {
	x.m.opt.Logger.ErrorContext(x.r.Context(), text, "request_id", x.call.RequestID, "service", x.call.Service,
		"operation", x.call.Operation, "protocol", protocolName(x.proto), "error", err)
}

// internalFault is the service's own internal error.
func (x *exchange) internalFault() *fault {
	f := errInternalFailure.fault(x.proto, "An internal error occurred.")
	if x.svc == nil || x.svc.profile.internal == "" {
		return f
	}
	if row := x.svc.ErrorByShape(x.svc.profile.internal); row != nil {
		f.shape, f.query, f.namespace = row.Shape, row.Code, ""
	}
	return f
}

// newRequestID returns a version 4 UUID. rfc9562#5.4
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}
