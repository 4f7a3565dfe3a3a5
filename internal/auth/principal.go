package auth

import (
	"context"
	"errors"
	"strings"
)

// RootName is the user name of the account itself.
const RootName = "root"

// ErrCredentials is returned for a user or password that is wrong.
var ErrCredentials = errors.New("the credentials are not valid")

// A Principal is who an access key belongs to.
type Principal struct {
	Account     string // 12 digits
	UserName    string // an IAM user name, or "" for the account itself
	AccessKeyID string
}

// ARN returns arn:aws:iam::ACCOUNT:user/NAME or arn:aws:iam::ACCOUNT:root.
func (p Principal) ARN() string { return PrincipalARN(p.Account, p.UserName) }

// PrincipalARN returns the ARN of a user, or of the account itself when
// userName is "" or RootName.
func PrincipalARN(account, userName string) string {
	if userName == "" || userName == RootName {
		return "arn:aws:iam::" + account + ":root"
	}
	return "arn:aws:iam::" + account + ":user/" + userName
}

// Anyone accepts every user and password, as dev does. The user name becomes
// the principal's. The value is the account.
type Anyone string

// AuthenticateSMTP implements smtpd.Authenticator.
func (a Anyone) AuthenticateSMTP(_ context.Context, user, _ string) (Principal, error) {
	return Principal{Account: string(a), UserName: asUserName(user), AccessKeyID: asUserName(user)}, nil
}

const maxUserName = 64

// asUserName makes any text into an IAM user name: 1 to 64 letters, digits and
// _+=,.@-; every other character becomes an underscore. iam-model:userNameType
func asUserName(s string) string {
	s = strings.Map(func(r rune) rune {
		if isUserNameRune(r) {
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return RootName
	}
	return s[:min(len(s), maxUserName)]
}

func isUserNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && strings.ContainsRune("_+=,.@-", r)
}

func validUserName(s string) bool {
	return s != "" && len(s) <= maxUserName && strings.IndexFunc(s, func(r rune) bool { return !isUserNameRune(r) }) < 0
}
