package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/sestina-mail/sestina/internal/awswire"
)

// SMTPPassword returns the SMTP password that belongs to an access key's secret
// in a region: 44 characters, the first of them B. ses-guide:smtp-credentials
func SMTPPassword(secret, region string) string {
	k := []byte("AWS4" + secret)
	for _, step := range []string{"11111111", region, "ses", "aws4_request", "SendRawEmail"} {
		h := hmac.New(sha256.New, k)
		h.Write([]byte(step))
		k = h.Sum(nil)
	}
	return base64.StdEncoding.EncodeToString(append([]byte{0x04}, k...))
}

// SMTPLogin checks SMTP credentials: the user is an access key id, the password
// what SMTPPassword makes of its secret for the region.
type SMTPLogin struct {
	Keys   *Keys
	Region string
}

// AuthenticateSMTP implements smtpd.Authenticator. ErrCredentials, or another
// error when the keys cannot be read.
func (l SMTPLogin) AuthenticateSMTP(ctx context.Context, user, password string) (Principal, error) {
	key, err := l.Keys.Lookup(ctx, user)
	unknown := errors.Is(err, awswire.ErrUnknownKey)
	if err != nil && !unknown {
		return Principal{}, fmt.Errorf("look up access key for SMTP: %w", err)
	}
	// An unknown key costs the same time as a wrong password.
	want := SMTPPassword(key.Secret, l.Region)
	if subtle.ConstantTimeCompare([]byte(want), []byte(password)) != 1 || unknown {
		return Principal{}, ErrCredentials
	}
	return Principal{Account: key.Account, UserName: key.UserName, AccessKeyID: user}, nil
}
