package publish_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/publish/publishtest"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dest is a definition of the kind that these tests script.
func dest(name string, enabled bool, types ...sestina.EventType) sestina.EventDestination {
	return sestina.EventDestination{Name: name, Enabled: enabled, EventTypes: types, Kind: sestina.DestinationEventBridge}
}

// TestOutboxMatches: one publication per enabled destination of the message's
// set that lists the type.
func TestOutboxMatches(t *testing.T) {
	t.Parallel()
	r := publishtest.NewRig(t)
	ds := r.Destinations(
		dest("send", true, sestina.Send), dest("off", false, sestina.Send, sestina.Bounce), dest("both", true, sestina.Bounce, sestina.Send), dest("bounce", true, sestina.Bounce),
	)
	m := r.Message()
	other, none, elsewhere := m, m, m
	other.ConfigurationSet, none.ConfigurationSet = "never made", ""
	elsewhere.Scope.Region = "eu-west-1"
	for _, c := range []struct {
		name    string
		message store.Message
		typ     sestina.EventType
		want    []int // of ds
	}{
		{"Send", m, sestina.Send, []int{0, 2}},
		{"Bounce", m, sestina.Bounce, []int{2, 3}},
		{"UnlistedType", m, sestina.Delivery, nil},
		{"UnknownSet", other, sestina.Send, nil},
		{"NoSet", none, sestina.Send, nil},
		{"SetOfAnotherRegion", elsewhere, sestina.Send, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := r.Clock.Now()
			var e store.Effects
			if err := r.Outbox.Add(&e, &c.message, c.typ, now, event.Send{}, event.Tags{{Name: "ses:outgoing-ip", Value: "198.51.100.7"}}); err != nil {
				t.Fatal(err)
			}
			if len(e.Events) != 1 || len(e.Units) != len(c.want) {
				t.Fatalf("%d events, %d publications, want 1 and %d", len(e.Events), len(e.Units), len(c.want))
			}
			ev := e.Events[0]
			var late event.Tags
			if err := json.Unmarshal(ev.LateTags, &late); err != nil || len(late) != 1 {
				t.Errorf("late tags %s: %v", ev.LateTags, err)
			}
			if ev.Type != c.typ || ev.MessageID != c.message.ID || ev.Scope != c.message.Scope || !ev.At.Equal(now) || string(ev.Object) != "{}" {
				t.Errorf("event %+v", ev)
			}
			for i, u := range e.Units {
				d := ds[c.want[i]]
				if u.Kind != store.KindPublication || u.Target != d.ID || u.Lane != d.ID.String() || u.EventID != ev.ID || u.MessageID != c.message.ID || !u.Due.Equal(now) || u.Scope != c.message.Scope {
					t.Errorf("publication to %s: %+v", d.Name, u)
				}
			}
		})
	}
}

func TestOutboxWithoutLateTags(t *testing.T) {
	t.Parallel()
	r := publishtest.NewRig(t)
	m := r.Message()
	var e store.Effects
	if err := r.Outbox.Add(&e, &m, sestina.Send, r.Clock.Now(), event.Send{}, nil); err != nil {
		t.Fatal(err)
	}
	if e.Events[0].LateTags != nil {
		t.Errorf("late tags %s", e.Events[0].LateTags)
	}
}
