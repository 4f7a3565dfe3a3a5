package sts

import (
	"context"
	"errors"
	"fmt"

	"github.com/sestina-mail/sestina/internal/awsapi/sts"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Options are what a Service needs.
type Options struct {
	// Credentials find the account of an access key. Nil means that any key is
	// accepted, and then all belong to the caller's account.
	Credentials awswire.Credentials
}

// A Service is the embedded STS. It may be used concurrently.
type Service struct {
	credentials awswire.Credentials
}

// New returns a service.
func New(opt Options) *Service { return &Service{credentials: opt.Credentials} }

// Register makes m answer the operations of STS that s has.
func Register(m *awswire.Mux, s *Service) {
	awswire.Handle(m, sts.OpGetCallerIdentity, s.GetCallerIdentity)
	awswire.Handle(m, sts.OpGetAccessKeyInfo, s.GetAccessKeyInfo)
}

// GetCallerIdentity implements sts-model:GetCallerIdentity. No permission is
// needed for it: a valid signature is enough.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	call := awswire.CallFrom(ctx)
	arn := call.PrincipalARN
	if arn == "" {
		arn = "arn:aws:iam::" + call.Scope.Account + ":root"
	}
	return &sts.GetCallerIdentityOutput{
		Account: new(call.Scope.Account), Arn: new(arn), UserId: new(sestina.UserID(arn)),
	}, nil
}

// GetAccessKeyInfo implements sts-model:GetAccessKeyInfo.
func (s *Service) GetAccessKeyInfo(ctx context.Context, in *sts.GetAccessKeyInfoInput) (*sts.GetAccessKeyInfoOutput, error) {
	account := awswire.CallFrom(ctx).Scope.Account
	if s.credentials != nil {
		key, err := s.credentials.Lookup(ctx, *in.AccessKeyId)
		if errors.Is(err, awswire.ErrUnknownKey) {
			return nil, &sestina.Error{Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid.", Status: 403}
		}
		if err != nil {
			return nil, fmt.Errorf("look up the account of an access key: %w", err)
		}
		if key.Account != "" {
			account = key.Account
		}
	}
	return &sts.GetAccessKeyInfoOutput{Account: new(account)}, nil
}
