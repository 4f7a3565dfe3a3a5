package awswire

import (
	"bytes"
	"io"
	"net/http"
	"slices"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Authenticate checks the signature of a request that is not for an AWS
// protocol: its credential scope must name the given service. It reads at most
// maxBody bytes of body and puts them back for the handler. The error is a
// *sestina.Error with the code and status of REST services.
func (m *Mux) Authenticate(w http.ResponseWriter, r *http.Request, signingName string, maxBody int64) (*Call, error) {
	x := &exchange{m: m, w: w, r: r, proto: awsapi.ProtocolREST, call: &Call{RequestID: newRequestID(), Service: signingName}}
	m.setPeer(x.call, r)
	m.guardBody(w, r)
	defer m.release(&x.body)
	if f := x.authenticate(signingName, maxBody); f != nil {
		return nil, &sestina.Error{Code: f.shape, Message: f.message, Status: f.status}
	}
	r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(x.body.sent)))
	return x.call, nil
}

func (x *exchange) authenticate(signingName string, maxBody int64) *fault {
	sig, bad := parseSignature(x.r, true)
	switch {
	case bad != "":
		return errIncompleteAuth.fault(x.proto, bad)
	case sig == nil:
		return errMissingAuth.fault(x.proto, "Missing Authentication Token")
	case sig.service != signingName:
		return errBadSignature.fault(x.proto, "Credential should be scoped to correct service: '"+signingName+"'.")
	case len(x.m.opt.Regions) > 0 && !slices.Contains(x.m.opt.Regions, sig.region):
		return errBadSignature.fault(x.proto, "Credential should be scoped to a valid region, not '"+printable(sig.region)+"'.")
	}
	key, f := x.lookup(sig)
	if f != nil {
		return f
	}
	if f := x.readBody(maxBody); f != nil || key == nil {
		return f
	}
	return x.verify(sig, key)
}
