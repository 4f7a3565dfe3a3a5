package sestina_test

import (
	"regexp"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
)

func TestUserID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, arn, want string }{
		{"Root", "arn:aws:iam::123456789012:root", `^123456789012$`},
		{"User", "arn:aws:iam::123456789012:user/mail/app", `^AIDA[A-Z2-7]{17}$`},
		{"RoleSession", "arn:aws:sts::123456789012:assumed-role/sender/s1", `^AROA[A-Z2-7]{17}:s1$`},
		{"NoARN", "somebody", `^$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := sestina.UserID(c.arn); !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
}

func TestUserIDOfRoleIsSharedBySessions(t *testing.T) {
	t.Parallel()
	a := sestina.UserID("arn:aws:sts::123456789012:assumed-role/sender/one")
	b := sestina.UserID("arn:aws:sts::123456789012:assumed-role/sender/two")
	if a[:21] != b[:21] || a == b {
		t.Errorf("sessions of one role: %s and %s", a, b)
	}
	if u, v := sestina.UserID("arn:aws:iam::1:user/a"), sestina.UserID("arn:aws:iam::1:user/b"); u == v {
		t.Errorf("two users are both %s", u)
	}
}
