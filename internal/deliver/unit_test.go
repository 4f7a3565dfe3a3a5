package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	got := Split([]string{"a@Example.NET", "b@example.org", "A@example.net", `"x@y"@example.org`})
	want := []Group{
		{"example.net", []string{"a@Example.NET", "A@example.net"}},
		{"example.org", []string{"b@example.org", `"x@y"@example.org`}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if Split(nil) != nil {
		t.Error("groups of nobody")
	}
}

func TestNewUnits(t *testing.T) {
	t.Parallel()
	ids, now := new(sestina.IDs), time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)
	m := &store.Message{ID: ids.New(now), Scope: scope, ConfigurationSet: "spring"}
	units := NewUnits(ids, m, "blue", []string{"a@example.net", "b@example.org"}, now)
	if len(units) != 2 || bytes.Compare(units[0].ID[:], units[1].ID[:]) >= 0 {
		t.Fatalf("%+v", units)
	}
	u := units[1]
	if u.Lane != "000000000000/us-east-1/blue/spring/example.org" || u.Kind != store.KindDelivery || u.MessageID != m.ID || !u.Due.Equal(now) || u.Scope != scope {
		t.Errorf("%+v", u)
	}
	if LaneDomain(u.Lane) != "example.org" || LaneDomain("x") != "" || LaneDomain(Lane(scope, "", "", "example.net")) != "example.net" {
		t.Error("the domain of a lane is not found")
	}
	p, err := DecodePayload(u.Payload)
	if err != nil || !reflect.DeepEqual(p, Payload{V: 1, Recipients: []string{"b@example.org"}}) {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(`{"v":1,"rcpt":["a@example.net"],"last":[{"to":"a@example.net","kind":"deferred","code":451,"at":"2026-03-03T10:15:00Z"}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePayload(data)
		if err != nil {
			return
		}
		again, err := DecodePayload(p.Encode())
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", p) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	s := Schedule{Steps: []time.Duration{time.Second, time.Minute}}
	for n, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: time.Minute, 3: time.Minute, 1000: time.Minute} {
		if got := s.Delay(n); got != want {
			t.Errorf("after %d: %s, want %s", n, got, want)
		}
	}
	s.Jitter = 0.5
	different := map[time.Duration]bool{}
	for range 100 {
		d := s.Delay(2)
		different[d] = true
		if d < 30*time.Second || d > 90*time.Second {
			t.Fatalf("%s is beyond the jitter", d)
		}
	}
	if len(different) < 2 {
		t.Error("no jitter")
	}
	for range 100 {
		if d := DevSchedule().Delay(1); d > 10*time.Second {
			t.Fatalf("the first retry in dev comes after %s", d)
		}
	}
	var sum time.Duration
	serve := ServeSchedule()
	for n := range 13 {
		sum += serve.Steps[min(n, len(serve.Steps)-1)]
	}
	if sum < serve.Window || serve.Window != 14*time.Hour {
		t.Errorf("13 attempts take %s of %s", sum, serve.Window)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	accepted := time.Date(2026, 3, 3, 10, 15, 0, 0, time.UTC)
	s := Schedule{Window: 14 * time.Hour}
	set := func(n int64) *sestina.ConfigurationSet {
		return &sestina.ConfigurationSet{Delivery: &sestina.DeliveryOptions{MaxDeliverySeconds: n}}
	}
	for _, tt := range []struct {
		set    *sestina.ConfigurationSet
		after  time.Duration
		custom bool
	}{
		{nil, 14 * time.Hour, false},
		{&sestina.ConfigurationSet{}, 14 * time.Hour, false},
		{set(0), 14 * time.Hour, false},
		{set(300), 5 * time.Minute, true},
		{set(50400), 14 * time.Hour, false},
	} {
		at, window, custom := s.expiry(accepted, tt.set)
		if !at.Equal(accepted.Add(tt.after)) || window != tt.after || custom != tt.custom {
			t.Errorf("%+v: %s, %s, %t", tt.set, at, window, custom)
		}
	}
}

func TestParseRelayURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]RelayOptions{
		"smtp://127.0.0.1:2525":                       {Host: "127.0.0.1", Port: "2525"},
		"smtp://mx.example.net":                       {Host: "mx.example.net", Port: "25"},
		"smtps://mx.example.net/":                     {Host: "mx.example.net", Port: "465", ImplicitTLS: true},
		"smtp://[::1]:25":                             {Host: "::1", Port: "25"},
		"smtp://ana:s%40cret@mx.example.net:587":      {Host: "mx.example.net", Port: "587", Username: "ana", Password: "s@cret"},
		"smtp://ana:x@mx.example.net?insecure=true":   {Host: "mx.example.net", Port: "25", Username: "ana", Password: "x", Insecure: true},
		"smtps://ana:x@mx.example.net?insecure=false": {Host: "mx.example.net", Port: "465", ImplicitTLS: true, Username: "ana", Password: "x"},
	} {
		got, err := ParseRelayURL(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "mx.example.net:25", "http://mx.example.net", "smtp://", "smtp://:25", "smtp://mx.example.net/path",
		"smtp://ana:sesame@mx.example.net?tls=no", "smtp://ana:sesame@mx.example.net:port", "smtp://ana:ses%zzame@mx", "smtp://h?insecure=yes",
	} {
		_, err := ParseRelayURL(in)
		if err == nil || strings.Contains(err.Error(), "ses") && strings.Contains(err.Error(), "ame") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]reply{
		"250 Ok\r\n":                               {250, []string{"Ok"}},
		"250\r\n":                                  {250, []string{""}},
		"250-one\r\n250 two\r\n":                   {250, []string{"one", "two"}},
		"550-5.1.1 no\n550 5.1.1 way\n":            {550, []string{"5.1.1 no", "5.1.1 way"}},
		"250-\r\n250 \r\nnot this\r\n":             {250, []string{"", ""}},
		"421 " + long(4000) + "\r\n":               {421, []string{long(4000)}},
		strings.Repeat("250-x\n", 127) + "250 y\n": {250, append(strings.Split(strings.Repeat("x ", 127), " ")[:127:127], "y")},
	} {
		got, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxReplyLine))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.60q: %+v, %v", in, got, err)
		}
	}
	for in, bad := range map[string]bool{
		"":                             false,
		"250-more\r\n":                 false, // the end is missing
		"250 no end":                   false,
		"25 Ok\r\n":                    true,
		"150 Ok\r\n":                   true,
		"650 Ok\r\n":                   true,
		"2x0 Ok\r\n":                   true,
		"250_Ok\r\n":                   true,
		"250-one\r\n251 two\r\n":       true,
		"\r\n":                         true,
		"250 " + long(5000) + "\r\n":   true,
		strings.Repeat("250-x\n", 200): true,
	} {
		_, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxReplyLine))
		if err == nil || errors.Is(err, errBadReply) != bad {
			t.Errorf("%.60q: %v", in, err)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// A reply that is read can be written and read again, and becomes an outcome
// that fits in a record.
func FuzzReply(f *testing.F) {
	f.Add([]byte("250 Ok\r\n"))
	f.Add([]byte("550-5.1.1 no\r\n550 5.1.1 way\r\n"))
	f.Add([]byte("421\n"))
	f.Add([]byte("250-a\r\n251 b\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readReply(bufio.NewReaderSize(bytes.NewReader(data), maxReplyLine))
		if err != nil {
			return
		}
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 || len(r.lines) > maxReplyLines {
			t.Fatalf("%q gives %+v", data, r)
		}
		var b strings.Builder
		for i, l := range r.lines {
			sep := "-"
			if i == len(r.lines)-1 {
				sep = " "
			}
			fmt.Fprintf(&b, "%d%s%s\r\n", r.code, sep, l)
		}
		again, err := readReply(bufio.NewReaderSize(strings.NewReader(b.String()), 2*maxReplyLine))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
		if r.positive() {
			return
		}
		o := refusal(r).outcome
		if o.Kind != bounce.Deferred && o.Kind != bounce.Failed || strings.ContainsAny(o.Reply(), "\r\n\x00") {
			t.Fatalf("%+v gives %+v", r, o)
		}
	})
}

// What the dot writer writes ends once, with a line of one dot, and holds the
// lines of the message.
func FuzzDotWriter(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb"), 1)
	f.Add([]byte("\r\r\n\n.."), 3)
	f.Add([]byte(""), 0)
	f.Fuzz(func(t *testing.T, data []byte, split int) {
		var b bytes.Buffer
		bw := bufio.NewWriter(&b)
		d := &dotWriter{w: bw}
		split = min(max(split, 0), len(data))
		for _, p := range [][]byte{data[:split], data[split:]} {
			if n, err := d.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := errors.Join(d.finish(), d.dot()); err != nil {
			t.Fatal(err)
		}
		got, ended := strings.CutSuffix("\r\n"+b.String(), "\r\n.\r\n")
		if !ended || strings.Contains(got+"\r\n", "\r\n.\r\n") {
			t.Fatalf("%q is sent as %q", data, b.String())
		}
		if s := strings.ReplaceAll(got, "\r\n", ""); strings.ContainsAny(s, "\r\n") {
			t.Fatalf("%q is sent with bare line ends: %q", data, b.String())
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		back := strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(got, "\r\n.", "\r\n"), "\r\n", "\n"), "\n")
		if strings.TrimSuffix(want, "\n") != back {
			t.Fatalf("%q arrives as %q", data, back)
		}
	})
}

func BenchmarkDotWriter(b *testing.B) {
	message := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 10_000)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		d := &dotWriter{w: bufio.NewWriterSize(io.Discard, 32<<10)}
		if _, err := d.Write(message); err != nil {
			b.Fatal(err)
		}
	}
}
