package work

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/store"
)

func TestCutAnswer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", store.MaxAnswer)
	for name, c := range map[string]struct{ in, want string }{
		"Short":         {"250 Ok", "250 Ok"},
		"Empty":         {"", ""},
		"Exact":         {long, long},
		"OneTooLong":    {long + "b", long},
		"RuneAcrossCut": {long[1:] + "é", long[1:]},
		"RuneBeforeCut": {long[2:] + "é", long[2:] + "é"},
		"Latin1":        {"554 na\xefve", "554 na\ufffdve"},
		"ZeroByte":      {"a\x00b", "a b"},
	} {
		if got := cutAnswer(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzCutAnswer(f *testing.F) {
	f.Add("250 Ok")
	f.Add(strings.Repeat("日本", 1000))
	f.Add(strings.Repeat("\xff", 3000))
	f.Add(strings.Repeat("a", store.MaxAnswer-1) + "\xe6\x97")
	f.Fuzz(func(t *testing.T, s string) {
		got := cutAnswer(s)
		switch {
		case len(got) > store.MaxAnswer:
			t.Errorf("%d bytes", len(got))
		case !utf8.ValidString(got) || strings.ContainsRune(got, 0):
			t.Errorf("not storable: %q", got)
		case cutAnswer(got) != got:
			t.Errorf("a second cut changes %q", got)
		case len(s) <= store.MaxAnswer && utf8.ValidString(s) && !strings.Contains(s, "\x00") && got != s:
			t.Errorf("%q became %q", s, got)
		}
	})
}
