package sdk

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type ownMessage struct {
	ID         string
	From       string
	Recipients []string
	Subject    string
	Tags       map[string][]string
	Events     []string
	BodyKept   bool
	Text, HTML string
}

func (s *spine) ownMessages(t *testing.T, query string) []ownMessage {
	t.Helper()
	var out struct{ Messages []ownMessage }
	check(t, json.Unmarshal(s.Own(t.Context(), "GET", "messages?"+query, ""), &out))
	return out.Messages
}

func TestCapturedMessages(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	id := s.send(t, "Lena <lena@example.net>")
	other := s.send(t, "karl@example.net")
	s.hook.Records(4) // both delivered

	for query, want := range map[string][]string{
		"":                             {other, id},
		"recipient=LENA@example.net":   {id},
		"recipient=nobody@example.net": nil,
		"subject=spring":               {other, id},
		"from=a@example.com&limit=1":   {other},
		"tag=campaign:spring":          {other, id},
		"tag=campaign:autumn":          nil,
		"configurationSet=spring":      {other, id},
		"before=" + other:              {id},
	} {
		var got []string
		for _, m := range s.ownMessages(t, query) {
			got = append(got, m.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("messages?%s: %v, want %v", query, got, want)
		}
	}

	var m ownMessage
	check(t, json.Unmarshal(s.Own(t.Context(), "GET", "messages/"+id, ""), &m))
	if !m.BodyKept || strings.TrimSpace(m.Text) != "hello" || strings.TrimSpace(m.HTML) != "<p>hello</p>" || !slices.Equal(m.Events, []string{"Send", "Delivery"}) {
		t.Errorf("message: %+v", m)
	}
	raw := string(s.Own(t.Context(), "GET", "messages/"+id+"/raw", ""))
	if !strings.Contains(raw, "Message-ID: <"+id+"@email.amazonses.com>") {
		t.Errorf("raw message:\n%s", raw)
	}
	if _, err := s.TryOwn(t.Context(), "GET", "messages?colour=red", ""); err == nil || !strings.Contains(err.Error(), "Unknown parameter colour") {
		t.Errorf("unknown parameter: %v", err)
	}
	if _, err := s.TryOwn(t.Context(), "GET", "messages/"+strings.Replace(id, "0100", "0101", 1)[:59]+"1", ""); err == nil {
		t.Error("a wrong message id was found")
	}
}

func TestWaitForMessage(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	got := make(chan []ownMessage)
	go func() { got <- s.ownMessages(t, "recipient=late@example.net&wait=20s") }()
	id := s.send(t, "late@example.net")
	if m := <-got; len(m) != 1 || m[0].ID != id {
		t.Errorf("waited for: %+v, want %s", m, id)
	}
	if m := s.ownMessages(t, "recipient=never@example.net&wait=10ms"); len(m) != 0 {
		t.Errorf("got %+v", m)
	}
}

func TestTimelineHasEveryHop(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	id := s.send(t, "bounce@simulator.amazonses.com")
	s.hook.Records(2)
	type hop struct {
		Kind, Target, State, Answer string
		Hops                        []hop
	}
	var timeline struct {
		Deliveries []hop
		Events     []struct {
			Type         string
			Publications []hop
		}
	}
	check(t, json.Unmarshal(s.Own(t.Context(), "GET", "messages/"+id+"/timeline", ""), &timeline))
	if d := timeline.Deliveries; len(d) != 1 || d[0].Target != "simulator.amazonses.com" || d[0].State != "done" {
		t.Errorf("deliveries: %+v", d)
	}
	if len(timeline.Events) != 2 {
		t.Fatalf("events: %+v", timeline.Events)
	}
	for _, e := range timeline.Events {
		if len(e.Publications) != 1 || e.Publications[0].Target != "all" || e.Publications[0].State != "done" {
			t.Errorf("publications of %s: %+v", e.Type, e.Publications)
			continue
		}
		var protocols []string
		for _, h := range e.Publications[0].Hops {
			protocol, _, _ := strings.Cut(h.Target, " ")
			protocols = append(protocols, protocol)
		}
		slices.Sort(protocols)
		if !slices.Equal(protocols, []string{"http", "sqs"}) {
			t.Errorf("subscribers of %s: %+v", e.Type, e.Publications[0].Hops)
		}
	}
}

func TestSimulatedOutcomes(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	id := s.send(t, "lena@example.net")
	s.hook.Records(2)
	for kind, event := range map[string]string{"bounce": "Bounce", "complaint": "Complaint", "delay": "DeliveryDelay"} {
		s.Own(t.Context(), "POST", "messages/"+id+"/simulate", `{"type":"`+kind+`"}`)
		if r := s.hook.Records(1)[0]; r.EventType != event || r.Mail.MessageID != id {
			t.Errorf("simulated %s: %+v", kind, r)
		}
	}
	if _, err := s.TryOwn(t.Context(), "POST", "messages/"+id+"/simulate", `{"type":"bounce","recipient":"x@example.net"}`); err == nil {
		t.Error("a recipient that the message has not was accepted")
	}
}

func TestEventsAndStream(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.HTTP+"/sestina/v1/events/stream?type=DELIVERY", nil)
	check(t, err)
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != ": connected" {
		t.Fatalf("stream begins with %q", lines.Text())
	}
	id := s.send(t, "lena@example.net")
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if !strings.Contains(data, id) || !strings.Contains(data, `"type":"DELIVERY"`) {
				t.Errorf("streamed: %s", data)
			}
			break
		}
	}
	var out struct {
		Events []struct {
			Type   string
			Record struct{ EventType string }
		}
	}
	check(t, json.Unmarshal(s.Own(t.Context(), "GET", "events?messageId="+id+"&type=SEND,BOUNCE", ""), &out))
	if len(out.Events) != 1 || out.Events[0].Record.EventType != "Send" {
		t.Errorf("events: %+v", out.Events)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	s.send(t, "lena@example.net")
	s.hook.Records(2)
	s.Own(t.Context(), "POST", "reset", "")
	if m := s.ownMessages(t, ""); len(m) != 0 {
		t.Errorf("after reset: %+v", m)
	}
	id := s.send(t, "karl@example.net") // configuration sets, topics and identities stay
	wantTypes(t, s.hook.Records(2), id, "Delivery", "Send")
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	s.send(t, "lena@example.net")
	s.hook.Records(2)
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/metrics": `sestina_events_total{type="DELIVERY"} 1`,
	} {
		resp, err := http.Get(s.HTTP + path)
		check(t, err)
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, want %q in\n%s", path, resp.Status, want, body)
		}
	}
}

// TestClockMovesForward: a retry that is an hour away is due at once when the
// clock is moved, and the clock stays there after a restart.
func TestClockMovesForward(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	var before, after struct{ Now string }
	check(t, json.Unmarshal(s.Own(t.Context(), "POST", "clock", `{"advance":"0s"}`), &before))
	s.Own(t.Context(), "POST", "clock", `{"advance":"48h"}`)
	s.Stop()
	s.Restart()
	check(t, json.Unmarshal(s.Own(t.Context(), "POST", "clock", `{"advance":"0s"}`), &after))
	if after.Now[:10] <= before.Now[:10] {
		t.Errorf("the clock went from %s to %s over a restart", before.Now, after.Now)
	}
}
