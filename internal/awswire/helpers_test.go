package awswire

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Names that the helpers' parameters would hide.
type (
	service_ = service
	context_ = context.Context
)

func sestinaError(code, message string) *sestina.Error {
	return &sestina.Error{Code: code, Message: message}
}

// errorExchange returns an exchange with a service that is about to answer an
// error in the protocol that the headers say.
func errorExchange(name string, w http.ResponseWriter, h http.Header) *exchange {
	m := NewMux(Options{})
	x := &exchange{m: m, w: w, r: httptest.NewRequest(http.MethodPost, "/", nil), call: &Call{RequestID: newRequestID()}}
	x.r.Header = h.Clone()
	x.svc = m.find(func(s *service) bool { return s.Name == name })
	switch content := h.Get("Content-Type"); {
	case h.Get("Smithy-Protocol") != "":
		x.proto = awsapi.ProtocolCBOR
	case strings.HasPrefix(content, "application/x-amz-json"):
		x.proto, x.jsonType = awsapi.ProtocolJSON, content
	case content == "application/json":
		x.proto = awsapi.ProtocolREST
	default:
		x.proto = awsapi.ProtocolQuery
	}
	return x
}
