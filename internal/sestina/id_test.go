package sestina

import (
	"regexp"
	"testing"
	"time"
)

func TestIDsAreOrderedAlsoWhenTheClockStepsBack(t *testing.T) {
	t.Parallel()
	var g IDs
	now := time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)
	last := g.New(now)
	for i := range 10_000 {
		id := g.New(now.Add(-time.Duration(i) * time.Millisecond))
		if id.String() <= last.String() {
			t.Fatalf("id %d: %s is not after %s", i, id, last)
		}
		last = id
	}
}

func TestIDTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 3, 10, 15, 0, 123e6, time.UTC)
	if got := new(IDs).New(now).Time(); !got.Equal(now) {
		t.Errorf("Time() = %s, want %s", got, now)
	}
}

var messageIDForm = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}-000000$`)

func TestMessageIDHoldsTheInternalID(t *testing.T) {
	t.Parallel()
	var g IDs
	now := time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)
	for _, region := range []string{"us-east-1", "eu-west-1", "us-east-2", "moon-1"} {
		for range 1000 {
			id := g.New(now)
			s := MessageID(id, region)
			if !messageIDForm.MatchString(s) {
				t.Fatalf("message id %q has not SES's form", s)
			}
			if got, ok := ParseMessageID(s); !ok || got != id {
				t.Fatalf("ParseMessageID(%q) = %s, %v, want %s", s, got, ok, id)
			}
		}
	}
	if got := MessageID(g.New(now), "eu-west-1")[:4]; got != "0102" {
		t.Errorf("region mark of eu-west-1 is %s", got)
	}
}

func FuzzParseMessageID(f *testing.F) {
	f.Add(MessageID(new(IDs).New(time.Unix(1e9, 0)), "us-east-1"))
	f.Add("0102019c4d2f8a31-5b0c7e19-3d41-4f6a-9a7b-2f1c8e6d0b44-000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := ParseMessageID(s); ok && MessageID(id, "")[4:] != s[4:] {
			t.Errorf("%q was read as %s, which is another message's", s, id)
		}
	})
}

func TestMatchIdentity(t *testing.T) {
	t.Parallel()
	got := MatchIdentity("ana+x@Mail.Example.COM")
	want := []string{"ana+x@Mail.Example.COM", "ana@Mail.Example.COM", "mail.example.com", "example.com", "com"}
	if len(got) != len(want) {
		t.Fatalf("MatchIdentity = %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("MatchIdentity[%d] = %q, want %q", i, got[i], want[i])
		}
	}
}
