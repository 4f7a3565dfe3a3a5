package sts_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	api "github.com/sestina-mail/sestina/internal/awsapi/sts"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/svc/sts"
)

const account = "123456789012"

func caller(t *testing.T, principal string) context.Context {
	return awswire.WithCall(t.Context(), &awswire.Call{Scope: sestina.Scope{Account: account, Region: "us-east-1"}, PrincipalARN: principal})
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, principal, arn, userID string }{
		{"Root", "arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root", account},
		{"NoPrincipalIsRoot", "", "arn:aws:iam::123456789012:root", account},
		{"User", "arn:aws:iam::123456789012:user/app", "arn:aws:iam::123456789012:user/app", "AIDA"},
		{"RoleSession", "arn:aws:sts::123456789012:assumed-role/r/s", "arn:aws:sts::123456789012:assumed-role/r/s", "AROA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := sts.New(sts.Options{}).GetCallerIdentity(caller(t, c.principal), &api.GetCallerIdentityInput{})
			if err != nil {
				t.Fatal(err)
			}
			if *out.Account != account || *out.Arn != c.arn || !strings.HasPrefix(*out.UserId, c.userID) {
				t.Errorf("account %s, arn %s, user id %s", *out.Account, *out.Arn, *out.UserId)
			}
		})
	}
}

type keys map[string]string

func (k keys) Lookup(_ context.Context, id string) (awswire.Key, error) {
	switch account := k[id]; account {
	case "":
		return awswire.Key{}, awswire.ErrUnknownKey
	case "broken":
		return awswire.Key{}, errors.New("no connection")
	default:
		return awswire.Key{Account: account}, nil
	}
}

func TestGetAccessKeyInfo(t *testing.T) {
	t.Parallel()
	known := keys{"AKIAOTHER": "999999999999", "AKIABROKEN": "broken"}
	for _, c := range []struct {
		name        string
		credentials awswire.Credentials
		key         string
		account     string
		code        string
		fails       bool
	}{
		{"Known", known, "AKIAOTHER", "999999999999", "", false},
		{"Unknown", known, "AKIANOBODY", "", "InvalidClientTokenId", true},
		{"CannotTell", known, "AKIABROKEN", "", "", true},
		{"AnyKeyWithoutCredentials", nil, "AKIANOBODY", account, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := sts.New(sts.Options{Credentials: c.credentials}).GetAccessKeyInfo(caller(t, ""), &api.GetAccessKeyInfoInput{AccessKeyId: &c.key})
			if (err != nil) != c.fails || sestina.CodeOf(err) != c.code {
				t.Fatalf("error %v", err)
			}
			if err == nil && *out.Account != c.account {
				t.Errorf("account %s, want %s", *out.Account, c.account)
			}
		})
	}
}
