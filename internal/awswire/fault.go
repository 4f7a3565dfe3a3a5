package awswire

import (
	"context"
	"errors"
	"net/http"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// A fault is an error as a client will see it: what each protocol calls it.
type fault struct {
	query     string // code of the query protocol
	shape     string // exception name of the JSON, REST and CBOR protocols
	namespace string // Smithy namespace, if not the service's
	message   string
	status    int
	server    bool // the fault is ours
}

// Error makes a fault an error, so that codecs can return one.
func (f *fault) Error() string { return f.shape + ": " + f.message }

// A frameworkError is an error that no API model lists because the layer in
// front of every AWS service answers it.
type frameworkError struct {
	query, shape            string
	namespace               string
	onQuery, onJSON, onREST int // status per protocol; JSON includes CBOR
}

const (
	coralService  = "com.amazon.coral.service"
	coralValidate = "com.amazon.coral.validate"
)

var (
	errMissingAuth     = frameworkError{"MissingAuthenticationToken", "MissingAuthenticationTokenException", coralService, 403, 400, 403}
	errUnknownKeyID    = frameworkError{"InvalidClientTokenId", "UnrecognizedClientException", coralService, 403, 400, 403}
	errBadSignature    = frameworkError{"SignatureDoesNotMatch", "InvalidSignatureException", coralService, 403, 400, 403}
	errIncompleteAuth  = frameworkError{"IncompleteSignature", "IncompleteSignatureException", coralService, 400, 400, 400}
	errExpiredToken    = frameworkError{"ExpiredToken", "ExpiredTokenException", coralService, 403, 400, 403}
	errExpiredURL      = frameworkError{"RequestExpired", "RequestExpired", coralService, 403, 400, 403}
	errUnknownOp       = frameworkError{"InvalidAction", "UnknownOperationException", coralService, 400, 400, 404}
	errNoAction        = frameworkError{"MissingAction", "UnknownOperationException", coralService, 400, 400, 404}
	errSerialization   = frameworkError{"MalformedInput", "SerializationException", coralService, 400, 400, 400}
	errTooLarge        = frameworkError{"RequestEntityTooLarge", "RequestEntityTooLargeException", coralService, 413, 413, 413}
	errUnavailable     = frameworkError{"ServiceUnavailable", "ServiceUnavailableException", coralService, 503, 503, 503}
	errInternalFailure = frameworkError{"InternalFailure", "InternalFailure", coralService, 500, 500, 500}
)

// fault returns the error as the protocol answers it.
func (e frameworkError) fault(p awsapi.Protocol, message string) *fault {
	f := &fault{query: e.query, shape: e.shape, namespace: e.namespace, message: message}
	switch p {
	case awsapi.ProtocolQuery:
		f.status = e.onQuery
	case awsapi.ProtocolREST:
		f.status = e.onREST
	default:
		f.status = e.onJSON
	}
	f.server = f.status >= http.StatusInternalServerError
	return f
}

// domainFault returns what a client sees of an error that a handler returned
// for a reason of the domain.
func domainFault(s *service, p awsapi.Protocol, e *sestina.Error) *fault {
	f := &fault{query: e.Code, shape: e.Code, message: e.Message, status: e.Status}
	if p == awsapi.ProtocolREST && e.REST != "" {
		f.shape = e.REST
	}
	row := s.ErrorByShape(f.shape)
	if row == nil {
		row = s.ErrorByCode(f.shape)
	}
	if row != nil {
		f.shape, f.query, f.server = row.Shape, row.Code, row.Server
		if f.status == 0 {
			f.status = row.Status
		}
	}
	if f.status == 0 {
		f.status = http.StatusBadRequest
	}
	f.server = f.server || f.status >= http.StatusInternalServerError
	if p == awsapi.ProtocolQuery && s.profile.queryText != nil {
		f.message = s.profile.queryText(f.shape, f.message)
	}
	return f
}

// isUnavailable reports whether err says that we cannot answer now: the work
// was not done because of us, and trying again later may help.
func isUnavailable(err error) bool {
	var u interface{ Unavailable() bool }
	if errors.As(err, &u) && u.Unavailable() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
