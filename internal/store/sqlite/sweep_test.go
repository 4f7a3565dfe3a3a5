package sqlite

import (
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// TestSweepMeetsARedrivenPublication: an old publication that is published while
// a sweep is looking for envelopes keeps the envelope it makes, which has its
// old id.
func TestSweepMeetsARedrivenPublication(t *testing.T) {
	t.Parallel()
	for _, state := range []store.State{store.Waiting, store.Dead} {
		x := newStopped(t)
		x.release()
		do := func(c store.Command) {
			t.Helper()
			if err := x.Do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		old, before := testTime.Add(-30*24*time.Hour), testTime.Add(-14*24*time.Hour)
		message, ids := x.ids.New(old), &sestina.IDs{}
		unit := store.Unit{ID: ids.New(old), Scope: testScope, Kind: store.KindPublication, Lane: "destination", Due: old, MessageID: message, State: state}
		if state == store.Dead {
			unit.FinishedAt = testTime
		}
		do(&store.Write{Effects: store.Effects{Units: []store.Unit{unit}}})

		needed, err := x.neededEnvelopes(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		do(&store.Redrive{Kind: store.KindPublication, Scope: testScope, Now: testTime})
		claimed, err := x.Claim(t.Context(), store.KindPublication, "destination", testTime, 1)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %d: %v", len(claimed), err)
		}
		notification := store.Unit{
			ID: x.ids.New(testTime), Scope: testScope, Kind: store.KindNotification, Lane: "subscription", Due: testTime,
			MessageID: message, Envelope: unit.ID,
		}
		do(&store.Finish{Unit: claimed[0], State: store.Done, Attempts: 1, At: testTime, Effects: store.Effects{
			Units: []store.Unit{notification}, Envelopes: []store.Envelope{{ID: unit.ID, Scope: testScope, Data: []byte(`{}`)}},
		}})
		if _, err := x.deleteEnvelopes(t.Context(), before, needed); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Envelope(t.Context(), unit.ID); err != nil {
			t.Errorf("state %d: the notification lost its envelope: %v", state, err)
		}
		// When the notification is done the next sweep takes it.
		claimed, err = x.Claim(t.Context(), store.KindNotification, "subscription", testTime, 1)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %d: %v", len(claimed), err)
		}
		do(&store.Finish{Unit: claimed[0], State: store.Done, Attempts: 1, At: testTime})
		if n, err := x.sweepEnvelopes(t.Context(), before); err != nil || n != 1 {
			t.Errorf("state %d: %d envelopes swept, want 1: %v", state, n, err)
		}
	}
}
