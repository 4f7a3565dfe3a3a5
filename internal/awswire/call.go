package awswire

import (
	"context"
	"net/netip"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// A Call says who called what, and how. Handlers get it with CallFrom.
type Call struct {
	// Scope is the account of the access key and the region of the credential
	// scope; unsigned calls have the configured account and region.
	Scope sestina.Scope
	// Service is the package name of the service, such as sesv2 or sns.
	Service string
	// Operation is the operation's name, such as SendEmail. It is empty in
	// Observe when the request named none.
	Operation string
	// Protocol is how the request was written: awsapi.ProtocolQuery and so on.
	Protocol awsapi.Protocol
	// RequestID is the UUID that the response carries in x-amzn-RequestId.
	RequestID string

	// Signed reports whether the request was signed. Only SNS
	// ConfirmSubscription and Unsubscribe are let in unsigned.
	Signed bool
	// AccessKeyID is the access key the request was signed with.
	AccessKeyID string
	// PrincipalARN is who the key belongs to, such as
	// arn:aws:iam::000000000000:user/app or arn:aws:iam::000000000000:root.
	PrincipalARN string
	// UserName is the IAM user name, or empty for the root of the account.
	UserName string

	// SourceIP is the caller's address: the peer's, or what a trusted proxy
	// says it is.
	SourceIP netip.Addr
	// TLSVersion is TLSv1.2 or TLSv1.3, or empty when the request came without
	// TLS.
	TLSVersion string
	// BaseURL is scheme, host and port as the caller reached us, without a
	// trailing slash; URLs in responses begin with it.
	BaseURL string
	// UserAgent is the caller's User-Agent header.
	UserAgent string
}

type callKey struct{}

// WithCall returns a context that carries the call. Tests and callers inside
// the process use it to reach handlers without HTTP.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom returns the call that a handler's context carries. It panics when
// there is none, which is a mistake in the program.
func CallFrom(ctx context.Context) *Call {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		panic("awswire: context carries no call")
	}
	return c
}
