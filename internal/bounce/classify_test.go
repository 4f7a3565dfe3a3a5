package bounce

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parse reads a reply as testdata has it: a code, an enhanced code, a text,
// each of which may be missing.
func parse(s string) *Outcome {
	var o Outcome
	code, rest, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		n, rest = 0, s
	}
	o.SetReply(n, []string{rest})
	switch {
	case n/100 == 4:
		o.Kind = Deferred
	case n/100 == 5:
		o.Kind = Failed
	}
	return &o
}

// Every rule has a file of replies that it takes and of replies that it leaves
// to others.
func TestRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, rule := range Rules {
		if seen[rule.Name] {
			t.Fatalf("two rules are called %s", rule.Name)
		}
		seen[rule.Name] = true
		if !validPair(rule.Type, rule.SubType) || rule.Delay == "" {
			t.Errorf("rule %s gives %s/%s, delay %q", rule.Name, rule.Type, rule.SubType, rule.Delay)
		}
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", "smtp", rule.Name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			var c Classifier
			takes := 0
			for line := range strings.Lines(string(data)) {
				verb, text, ok := strings.Cut(strings.TrimSpace(line), " ")
				if !ok {
					t.Fatalf("bad line %q", line)
				}
				text = strings.TrimSpace(text)
				got := c.Classify(parse(text))
				switch {
				case verb == "takes" && got.Rule != rule.Name:
					t.Errorf("%q is taken by rule %s", text, got.Rule)
				case verb == "leaves" && got.Rule == rule.Name:
					t.Errorf("%q is taken", text)
				case verb == "takes":
					takes++
					if got.Type != rule.Type || got.SubType != rule.SubType || got.Delay != rule.Delay {
						t.Errorf("%q means %+v, the rule says %+v", text, got, rule)
					}
				case verb != "leaves":
					t.Errorf("bad line %q", line)
				}
			}
			if takes == 0 {
				t.Error("no reply shows the rule at work")
			}
		})
	}
	files, err := filepath.Glob("testdata/smtp/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[strings.TrimSuffix(filepath.Base(f), ".txt")] {
			t.Errorf("%s belongs to no rule", f)
		}
	}
}

// An operator's rules come first, and one that says only a part leaves the
// rest to the table.
func TestOwnRulesComeFirst(t *testing.T) {
	t.Parallel()
	c := Classifier{First: []Rule{
		{Name: "ours", Codes: []string{"554"}, Text: []string{"house rule"}, Type: Transient, SubType: ContentRejected, Delay: SendingDeferral},
		{Name: "slow", Text: []string{"busy day"}, Delay: SpamDetected},
		{Name: "nonsense", Text: []string{"nonsense"}, Type: Permanent, SubType: MailboxFull, Delay: General},
	}}
	for text, want := range map[string]Meaning{
		"554 5.7.1 House Rule 7":    {"ours", Transient, ContentRejected, SendingDeferral},
		"451 4.3.0 busy day":        {"server-code", Transient, General, SpamDetected},
		"550 5.1.1 nonsense":        {"bad-address-code", Permanent, General, General},
		"550 5.1.1 no house rule":   {"bad-address-code", Permanent, General, General},
		"554 5.1.1 no, house rules": {"ours", Transient, ContentRejected, SendingDeferral},
	} {
		if got := c.Classify(parse(text)); got != want {
			t.Errorf("%q means %+v, want %+v", text, got, want)
		}
	}
}

// What is given up is Transient whatever it would have been as a final answer.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	var c Classifier
	for text, want := range map[string]string{
		"450 4.1.1 Nobody":                General,
		"452 4.2.2 full":                  MailboxFull,
		"451 4.7.1 looks like spam to us": ContentRejected,
		"":                                General,
	} {
		m := c.Classify(parse(text)).GivenUp()
		if m.Type != Transient || m.SubType != want {
			t.Errorf("%q given up is %s/%s, want Transient/%s", text, m.Type, m.SubType, want)
		}
	}
}

func TestSetReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code     int
		lines    []string
		enhanced string
		text     string
		reply    string
	}{
		{250, []string{"2.0.0 Ok: queued as 4Xy1"}, "2.0.0", "Ok: queued as 4Xy1", "250 2.0.0 Ok: queued as 4Xy1"},
		{550, []string{"5.1.1 Nobody of that", "5.1.1 name lives here."}, "5.1.1", "Nobody of that name lives here.", "550 5.1.1 Nobody of that name lives here."},
		{250, []string{"Ok"}, "", "Ok", "250 Ok"},
		{250, []string{""}, "", "", "250"},
		{550, []string{"5.1 no", "5.1.1111 no"}, "", "5.1 no 5.1.1111 no", "550 5.1 no 5.1.1111 no"},
		{550, []string{"5.1.1"}, "5.1.1", "", "550 5.1.1"},
		{550, []string{"tab\there\x00 \xff"}, "", "tab here  ?", "550 tab here  ?"},
		{554, []string{strings.Repeat("ü", MaxText)}, "", strings.Repeat("ü", MaxText/2), "554 " + strings.Repeat("ü", MaxText/2)},
	}
	for _, tt := range tests {
		var o Outcome
		o.SetReply(tt.code, tt.lines)
		if o.Code != tt.code || o.Enhanced != tt.enhanced || o.Text != tt.text || o.Reply() != tt.reply {
			t.Errorf("%d %q: got %d %q %q, reply %q", tt.code, tt.lines, o.Code, o.Enhanced, o.Text, o.Reply())
		}
	}
}

var diagnostic = regexp.MustCompile(`^smtp; [^\x00-\x1f]*$`)

// Whatever a server says, there is a documented pair of type and subtype, and a
// text that fits in one line of a record.
func FuzzClassify(f *testing.F) {
	f.Add(550, "5.1.1 <a@example.net>: user unknown")
	f.Add(452, "4.2.2 over quota\r\n250 ok")
	f.Add(0, "")
	f.Add(-1, "\xff\x00*.*.*")
	f.Add(554, "5..1 mailbox*full")
	f.Fuzz(func(t *testing.T, code int, text string) {
		var o Outcome
		o.SetReply(code, strings.Split(text, "\n"))
		for _, m := range []Meaning{new(Classifier).Classify(&o), new(Classifier).Classify(&o).GivenUp()} {
			if !validPair(m.Type, m.SubType) {
				t.Fatalf("%d %q means %s/%s", code, text, m.Type, m.SubType)
			}
			if m.Delay == "" {
				t.Fatalf("%d %q has no delay type", code, text)
			}
		}
		if len(o.Text) > MaxText || !diagnostic.MatchString(o.Diagnostic()) {
			t.Fatalf("%d %q gives the diagnostic %q", code, text, o.Diagnostic())
		}
	})
}
