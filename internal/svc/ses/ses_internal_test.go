package ses

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
)

func TestPageTokens(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "ä b/c", strings.Repeat("x", 1000)} {
		if got, err := pageStart(pageToken(name)); err != nil || got != name {
			t.Errorf("%q became %q, %v", name, got, err)
		}
	}
	if got, err := pageStart(nil); err != nil || got != "" {
		t.Errorf("no token: %q, %v", got, err)
	}
	bad := "not a token!"
	var e *sestina.Error
	if _, err := pageStart(&bad); !errors.As(err, &e) || e.REST != "BadRequestException" {
		t.Errorf("a bad token: %v", err)
	}
}

func TestPageSizes(t *testing.T) {
	t.Parallel()
	n := func(v int32) *int32 { return &v }
	for _, c := range []struct {
		asked *int32
		want  int
	}{{nil, 20}, {n(0), 20}, {n(-1), 20}, {n(1), 1}, {n(100), 100}, {n(101), 100}} {
		if got := pageSize(c.asked, 20, 100); got != c.want {
			t.Errorf("asked for %v: %d, want %d", c.asked, got, c.want)
		}
	}
}

// TestCheckDimensions is about the rules that the SDK's own checks do not let
// through.
func TestCheckDimensions(t *testing.T) {
	t.Parallel()
	good := sestina.Dimension{Name: "a", Source: "MESSAGE_TAG", Default: "x"}
	for name, c := range map[string]struct {
		dims []sestina.Dimension
		ok   bool
	}{
		"Good":           {[]sestina.Dimension{good}, true},
		"None":           {nil, false},
		"EmptyName":      {[]sestina.Dimension{{Source: "MESSAGE_TAG", Default: "x"}}, false},
		"EmptyDefault":   {[]sestina.Dimension{{Name: "a", Source: "MESSAGE_TAG"}}, false},
		"Twice":          {[]sestina.Dimension{good, good}, false},
		"LongestName":    {[]sestina.Dimension{{Name: strings.Repeat("n", 256), Source: "LINK_TAG", Default: strings.Repeat("v", 256)}}, true},
		"ForbiddenAsTag": {[]sestina.Dimension{{Name: "To", Source: "MESSAGE_TAG", Default: "x"}}, true},
		"ForbiddenField": {[]sestina.Dimension{{Name: "DKIM-Signature", Source: "EMAIL_HEADER", Default: "x"}}, false},
	} {
		if err := checkDimensions(c.dims); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzIdentityName(f *testing.F) {
	for _, s := range []string{"example.com", "Ana@Example.com", "arn:aws:ses:us-east-1:000000000000:identity/example.com", "münchen.example", "a..b", "", "@", "x@", " a.b ", "example.com.", "0\xbc.", "\"a b\"@c.d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := identityName(s)
		if err != nil {
			var e *sestina.Error
			if !errors.As(err, &e) {
				t.Errorf("%q: not a refusal: %v", s, err)
			}
			return
		}
		again, err := identityName(name)
		if err != nil || again != name {
			t.Errorf("%q became %q, and that %q, %v", s, name, again, err)
		}
		if strings.ContainsAny(name, "\r\n\x00") || name == "" {
			t.Errorf("%q became %q", s, name)
		}
	})
}

func FuzzCheckPolicy(f *testing.F) {
	for _, s := range []string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ses:SendEmail","Resource":"*"}]}`,
		`{"Statement":{"Effect":"Deny","Principal":{"AWS":"1"},"Action":["a"],"Resource":["b"]}}`, `{}`, `[]`, `{"Statement":[null]}`, `{"Statement":1}`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := checkPolicy(s)
		if err == nil && (len(s) > maxPolicySize || !json.Valid([]byte(s)) || !strings.Contains(s, "{")) {
			t.Errorf("accepted %q", s)
		}
		var e *sestina.Error
		if err != nil && (!errors.As(err, &e) || e.Code != "InvalidPolicy") {
			t.Errorf("%q: %v", s, err)
		}
	})
}
