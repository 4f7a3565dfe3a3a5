package awswire

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// Options configure a Mux. The zero value accepts every signature without
// checking it and is meant for development.
type Options struct {
	// Account and Region are those of calls that name none. Default:
	// 000000000000 and us-east-1.
	Account, Region string
	// Regions are the regions that are served; empty means all.
	Regions []string
	// Credentials make the Mux check signatures. Nil: any key and signature is
	// accepted, but requests must still be signed.
	Credentials Credentials
	// ClockSkew is how far a signature's time may be from ours. Default 15
	// minutes.
	ClockSkew time.Duration

	// BaseURL is the address that callers reach us at, such as
	// https://ses.example.com. Default: what the Host header says.
	BaseURL string
	// TrustedProxies may say with X-Forwarded-For, -Proto and -Host who the
	// caller is. From anyone else these headers are ignored.
	TrustedProxies []netip.Prefix

	// MaxMailBody and MaxBody limit request bodies, in bytes, as sent and
	// after decompression: of SES, and of the other services. Default 64 MiB
	// and 4 MiB.
	MaxMailBody, MaxBody int64
	// MaxBodiesInFlight limits the bytes of all bodies being read or handled
	// at once; beyond it calls are answered 503. Default 512 MiB.
	MaxBodiesInFlight int64
	// BodyTimeout is how long a request's body may take to arrive. Default one
	// minute.
	BodyTimeout time.Duration

	// Logger gets one record for each internal failure. Default slog.Default.
	Logger *slog.Logger
	// Observe is called once for each request after it was answered, with the
	// HTTP status and the error code as the client saw it ("" for success).
	// The call may lack service, operation and principal. It is called
	// concurrently.
	Observe func(c *Call, status int, code string, d time.Duration)
}

func (o Options) withDefaults() Options {
	set(&o.Account, "000000000000")
	set(&o.Region, "us-east-1")
	set(&o.ClockSkew, 15*time.Minute)
	set(&o.MaxMailBody, 64<<20)
	set(&o.MaxBody, 4<<20)
	set(&o.MaxBodiesInFlight, 512<<20)
	set(&o.BodyTimeout, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(*Call, int, string, time.Duration) {}
	}
	return o
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// A Mux is the http.Handler of all AWS APIs. Handlers are registered before it
// serves; after that it may be used concurrently.
type Mux struct {
	opt      Options
	services []*service
	keys     signingKeys
	bodies   bodyBudget
}

// A service is an API with its handlers and what was worked out about it.
type service struct {
	*awsapi.Service
	handlers []handler // by operation index; zero: none
	router   *router   // restJson1 only
	profile  profile
}

// A handler calls a registered function with decoded input.
type handler struct {
	newInput func() any
	call     func(ctx context.Context, in any) (any, error)
}

// NewMux returns a Mux that knows all services and handles none of their
// operations yet.
func NewMux(opt Options) *Mux {
	m := &Mux{opt: opt.withDefaults()}
	m.bodies.max = m.opt.MaxBodiesInFlight
	for _, api := range apis {
		s := &service{Service: api, handlers: make([]handler, len(api.Operations)), profile: profiles[api.Name]}
		if api.Protocols&awsapi.ProtocolREST != 0 {
			s.router = newRouter(api)
		}
		m.services = append(m.services, s)
	}
	return m
}

// Handle registers the function that answers an operation. The input is never
// nil and satisfies the constraints that the service's profile leaves to this
// package; the output may be nil when the operation has no members to return.
// Handle panics when the operation has a handler already.
func Handle[In, Out any](m *Mux, op awsapi.Operation[In, Out], f func(ctx context.Context, in *In) (*Out, error)) {
	s := m.serviceOf(op.Service)
	if s.handlers[op.Index].call != nil {
		panic(fmt.Sprintf("awswire: two handlers for %s.%s", s.Name, op.Info().Name))
	}
	s.handlers[op.Index] = handler{
		newInput: func() any { return new(In) },
		call: func(ctx context.Context, in any) (any, error) {
			out, err := f(ctx, in.(*In))
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = new(Out)
			}
			return out, nil
		},
	}
}

func (m *Mux) serviceOf(api *awsapi.Service) *service {
	for _, s := range m.services {
		if s.Service == api {
			return s
		}
	}
	panic("awswire: unknown service " + api.Name)
}

// An OperationName names an operation of a service.
type OperationName struct{ Service, Operation string }

// Unimplemented lists the operations without a handler, by service and name.
func (m *Mux) Unimplemented() []OperationName {
	var out []OperationName
	for _, s := range m.services {
		for i, h := range s.handlers {
			if h.call == nil {
				out = append(out, OperationName{s.Name, s.Operations[i].Name})
			}
		}
	}
	return out
}

var _ http.Handler = (*Mux)(nil)
