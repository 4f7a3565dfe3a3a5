package message

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// text returns the client text of a refusal and checks its codes.
func text(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *sestina.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is not a *sestina.Error", err)
	}
	if e.Code != "InvalidParameterValue" || e.REST != "BadRequestException" {
		t.Errorf("codes %s and %s", e.Code, e.REST)
	}
	return e.Message
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Address{
		"ana@example.com":                               {"", "ana", "example.com"},
		"<ana@example.com>":                             {"", "ana", "example.com"},
		" Ana  Lima\t<ana@example.com> ":                {"Ana Lima", "ana", "example.com"},
		`"Lima, Ana" <ana@example.com>`:                 {"Lima, Ana", "ana", "example.com"},
		`"Ana \"A\" Lima"<ana@Example.COM>`:             {`Ana "A" Lima`, "ana", "Example.COM"},
		"=?UTF-8?Q?Zo=C3=AB?= <zoe@example.com>":        {"Zoë", "zoe", "example.com"},
		"=?UTF-8?Q?Zo?= =?utf-8?b?w6s=?= <z@example.c>": {"Zoë", "z", "example.c"},
		"=?ISO-8859-15?Q?=A4?= <z@example.com>":         {"€", "z", "example.com"},
		"Zoë <zoe@example.com>":                         {"Zoë", "zoe", "example.com"},
		"Dr. Ana <ana@example.com>":                     {"Dr. Ana", "ana", "example.com"},
		"ana@example.com (Ana)":                         {"Ana", "ana", "example.com"},
		"Ana (work) Lima <ana@example.com> (hi)":        {"Ana Lima", "ana", "example.com"},
		`"ana lima"@example.com`:                        {"", "ana lima", "example.com"},
		`<"a\"b@c"@example.com>`:                        {"", `a"b@c`, "example.com"},
		`"ana"@example.com`:                             {"", "ana", "example.com"},
		"ana+tag@bücher.example":                        {"", "ana+tag", "xn--bcher-kva.example"},
		"ana@localhost":                                 {"", "ana", "localhost"},
		"a--b@x--y.example":                             {"", "a--b", "x--y.example"},
		"=?UTF-8?Q?a=0D=0ABcc:_x?= <ana@example.com>":   {"a  Bcc: x", "ana", "example.com"},
		"Note: Ana <ana@example.com>":                   {"Note: Ana", "ana", "example.com"},
		"[Bot] <bot@example.com>":                       {"[Bot]", "bot", "example.com"},
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                  "Empty address",
		"ana":                               "Missing final '@domain'",
		"Ana <ana>":                         "Missing final '@domain'",
		"Ana Lima":                          "Local address contains control or whitespace",
		"ana @example.com":                  "Local address contains control or whitespace",
		"ana@example.com\r\nBcc: x@y":       "Local address contains control or whitespace",
		"Ana\n <ana@example.com>":           "Local address contains control or whitespace",
		"a\x00b@example.com":                "Local address contains control or whitespace",
		"github:ana":                        "Local address contains illegal character",
		"a,b@example.com":                   "Local address contains illegal character",
		"josé@example.com":                  "Local address contains non-ASCII characters",
		`"josé"@example.com`:                "Local address contains non-ASCII characters",
		"@example.com":                      "Missing local name",
		`""@example.com`:                    "Missing local name",
		".a@example.com":                    "Local address starts with dot",
		"a..b@example.com":                  "Local address contains dot-dot",
		"a.@example.com":                    "Local address ends with dot",
		"ana@":                              "Missing domain",
		"ana@example .com":                  "Domain contains control or whitespace",
		"ana@exa_mple.com":                  "Domain contains illegal character",
		"ana@a@b":                           "Domain contains illegal character",
		"ana@[127.0.0.1]":                   "Domain contains illegal character",
		"a@example.com, b@example.com":      "Domain contains illegal character",
		"ana@.example.com":                  "Domain starts with dot",
		"ana@example..com":                  "Domain contains dot-dot",
		"ana@example.com.":                  "Domain ends with dot",
		"ana@" + strings.Repeat("x", 64):    "Domain label is longer than 63 characters",
		strings.Repeat("x", 320) + "@a.com": "Address is longer than 320 characters",
		"Ana <ana@example.com":              "Missing '>'",
		`"Ana <ana@example.com>`:            `Missing '"'`,
		"Ana (x <ana@example.com>":          "Missing ')'",
		"Ana <ana@example.com> x":           "Extra route-addr",
		"<@a.com,@b.com:ana@example.com>":   "Illegal route-addr",
	} {
		a, err := ParseAddress(in)
		if got := text(t, err); got != want {
			t.Errorf("%q: %q (%+v), want %q", in, got, a, want)
		}
	}
}

func TestParseAddressList(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]Address{
		"":                         nil,
		" , ":                      nil,
		"a@x.com":                  {{"", "a", "x.com"}},
		`"B, b" <b@x.com>,, a@x.c`: {{"B, b", "b", "x.com"}, {"", "a", "x.c"}},
		"Undisclosed-recipients:;": nil,
		"u: ;, a@x.com":            {{"", "a", "x.com"}},
		"a@x.com (one, two)":       {{"one, two", "a", "x.com"}},
		"Note: Ana <a@x.com>":      {{"Note: Ana", "a", "x.com"}},
	} {
		got, err := ParseAddressList(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"friends: a@x.com, b@x.com;": "Group address is not allowed",
		"a@x.com; b@x.com":           "Illegal semicolon, not in group",
		"a@x.com, b":                 "Missing final '@domain'",
		`g: a@x.com ";"`:             "Missing ';'",
		"a@x.com,\r\n b@x.com":       "Local address contains control or whitespace",
	} {
		_, err := ParseAddressList(in)
		if got := text(t, err); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAddressString(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Address{
		"ana@example.com":                          {"", "ana", "example.com"},
		"Ana Lima <ana@example.com>":               {"Ana Lima", "ana", "example.com"},
		`"Lima, Ana" <ana@example.com>`:            {"Lima, Ana", "ana", "example.com"},
		`"Dr. \"A\"" <ana@example.com>`:            {`Dr. "A"`, "ana", "example.com"},
		"=?UTF-8?Q?Zo=C3=AB?= <zoe@example.com>":   {"Zoë", "zoe", "example.com"},
		"=?UTF-8?B?5pel5pys?= <n@example.com>":     {"日本", "n", "example.com"},
		"=?UTF-8?B?PT94Pz0=?= <n@e.com>":           {"=?x?=", "n", "e.com"},
		`"a  b" <n@e.com>`:                         {"a  b", "n", "e.com"},
		`"ana lima"@example.com`:                   {"", "ana lima", "example.com"},
		`"\"" <"a\"b"@example.com>`:                {`"`, `a"b`, "example.com"},
		"=?UTF-8?Q?a=0Db?= <not-parsed@example.c>": {"a\rb", "not-parsed", "example.c"},
	} {
		if got := a.String(); got != want {
			t.Errorf("%+v: %q, want %q", a, got, want)
		}
	}
	if got := (Address{}).String(); got != "" {
		t.Errorf("zero address: %q", got)
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Ana <ana@Example.COM>": "example.com", "a@bücher.example": "xn--bcher-kva.example", "nobody": "", "": "",
	} {
		if got := Domain(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"ana@example.com", `"Lima, Ana" <ana@example.com>`, "=?UTF-8?Q?Zo=C3=AB?= <zoe@bücher.example>",
		`<"a\"b@c"@example.com>`, "a@b (c (d))", "g: a@b, c@d;", "=?UTF-8?Q?a=0D=0ABcc:_x?= <a@b>", `" a" "b" c <a@b>`, "0@\u00ad",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if list, err := ParseAddressList(s); err == nil && strings.ContainsAny(s, "\r\n") && len(list) > 0 {
			t.Errorf("line end accepted in list %q", s)
		}
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		out := a.String()
		if !isASCII(out) || hasControl(out) || hasControl(a.Name+a.Local+a.Domain) || !isASCII(a.Local+a.Domain) {
			t.Fatalf("%q: unsafe %q from %+v", s, out, a)
		}
		again, err := ParseAddress(out)
		if err != nil || again != a {
			t.Fatalf("%q: %+v formats as %q and reads as %+v, %v", s, a, out, again, err)
		}
		bare, err := ParseAddress(a.Addr())
		if err != nil || bare.Local != a.Local || bare.Domain != a.Domain {
			t.Fatalf("%q: envelope form %q reads as %+v, %v", s, a.Addr(), bare, err)
		}
		if list, err := ParseAddressList(out + ", " + out); err != nil || len(list) != 2 || list[1] != a {
			t.Fatalf("%q: twice %q reads as %+v, %v", s, out, list, err)
		}
	})
}
