package sestina

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// UserID returns the unique id of the principal with the ARN, in the forms that
// AWS shows: the account for its root, AIDA and 17 characters for a user, AROA,
// 17 characters and :session for a role session. It depends only on the ARN, so
// that it stays when access keys are changed. An ARN of another kind gives the
// account alone.
func UserID(principalARN string) string {
	arn, err := ParseARN(principalARN)
	if err != nil {
		return ""
	}
	kind, rest, _ := strings.Cut(arn.Resource, "/")
	switch {
	case arn.Service == "iam" && kind == "user" && rest != "":
		return "AIDA" + uniqueID(principalARN)
	case arn.Service == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		arn.Resource = kind + "/" + role
		return "AROA" + uniqueID(arn.String()) + ":" + session
	}
	return arn.Account
}

// uniqueID makes 17 upper-case letters and digits out of a name.
func uniqueID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base32.StdEncoding.EncodeToString(sum[:])[:17]
}
