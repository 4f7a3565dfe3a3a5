package storetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Benchmark measures an engine with the rows that emails cause. open returns a
// new, empty store and arranges for its end.
//
//   - Accept: a 5 KB message, its delivery, its Send event and one publication,
//     durable, by 1, 64 and 256 callers.
//   - Email: the whole way: accept; claim and finish the delivery (Delivery
//     event, a second publication); claim and finish both publications (an
//     envelope and a notification each); claim and finish both notifications.
//   - Million: 1,000,000 waiting units, half of them in one lane and the others
//     spread over 1,000: adding them, the skip scan over the lanes, a claim and
//     a count in the midst of them, memory.
func Benchmark(b *testing.B, open func(b *testing.B) store.Store) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("Accept/callers=%d", callers), func(b *testing.B) {
			benchmarkCallers(b, callers, &traffic{s: open(b)}, (*traffic).accept)
		})
	}
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("Email/callers=%d", callers), func(b *testing.B) {
			benchmarkCallers(b, callers, &traffic{s: open(b)}, (*traffic).email)
		})
	}
	b.Run("Million", func(b *testing.B) { benchmarkMillion(b, open) })
}

// traffic makes emails. Ids are made for the time start and unique.
type traffic struct {
	s   store.Store
	ids sestina.IDs
}

var (
	benchBody = bytesOf(5000)
	benchMail = []byte(`{"headers":"` + strings.Repeat("x", 1300) + `","tags":{}}`)
)

// benchmarkCallers shares b.N calls of one among callers and reports the rate
// and how long the slow ones took.
func benchmarkCallers(b *testing.B, callers int, tr *traffic, one func(tr *traffic, ctx context.Context, caller string) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var c clock.Clock
	took := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range callers {
		wg.Go(func() {
			name := numbered("caller", i)
			for next.Add(1) <= int64(b.N) {
				began := c.Now()
				if err := one(tr, b.Context(), name); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], c.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)*99/100].Milliseconds()), "p99-ms")
	}
}

func (tr *traffic) unit(k store.Kind, lane string, message sestina.ID) store.Unit {
	return store.Unit{ID: tr.ids.New(start), Scope: virginia, Kind: k, Lane: lane, Due: start, MessageID: message}
}

// happened returns an event and its publication.
func (tr *traffic) happened(t sestina.EventType, message sestina.ID, lane string) (store.Event, store.Unit) {
	ev := store.Event{
		ID: tr.ids.New(start), Scope: virginia, MessageID: message, Type: t, At: start,
		Object: []byte(`{"timestamp":"2026-03-14T15:09:26.535Z","smtpResponse":"250 2.0.0 Ok: queued"}`),
	}
	u := tr.unit(store.KindPublication, lane, message)
	u.EventID = ev.ID
	return ev, u
}

func (tr *traffic) accept(ctx context.Context, caller string) error {
	id := tr.ids.New(start)
	body, err := tr.s.Stage(ctx, id, int64(len(benchBody)), bytes.NewReader(benchBody))
	if err != nil {
		return err
	}
	m := messageWith(id)
	m.Body, m.Mail = body, benchMail
	ev, publication := tr.happened(sestina.Send, id, caller)
	return tr.s.Do(ctx, &store.Write{Accepting: true, Effects: store.Effects{
		Messages: []store.NewMessage{m}, Events: []store.Event{ev},
		Units: []store.Unit{tr.unit(store.KindDelivery, caller, id), publication},
	}})
}

func (tr *traffic) email(ctx context.Context, caller string) error {
	if err := tr.accept(ctx, caller); err != nil {
		return err
	}
	steps := []struct {
		kind    store.Kind
		effects func(u store.Unit) store.Effects
	}{
		{store.KindDelivery, func(u store.Unit) store.Effects {
			ev, publication := tr.happened(sestina.Delivery, u.MessageID, caller)
			return store.Effects{Events: []store.Event{ev}, Units: []store.Unit{publication}}
		}},
		{store.KindPublication, func(u store.Unit) store.Effects {
			n := tr.unit(store.KindNotification, caller, u.MessageID)
			n.EventID, n.Envelope = u.EventID, tr.ids.New(start)
			return store.Effects{
				Units:     []store.Unit{n},
				Envelopes: []store.Envelope{{ID: n.Envelope, Scope: virginia, Data: benchMail}},
			}
		}},
		{store.KindNotification, func(store.Unit) store.Effects { return store.Effects{} }},
	}
	for _, step := range steps {
		units, err := tr.s.Claim(ctx, step.kind, caller, start, 10)
		if err != nil {
			return err
		}
		errs := make([]error, len(units))
		parallel(len(units), func(i int) {
			errs[i] = tr.s.Do(ctx, &store.Finish{
				Unit: units[i], State: store.Done, Attempts: 1, At: start, Answer: "250 2.0.0 Ok", Effects: step.effects(units[i]),
			})
		})
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func benchmarkMillion(b *testing.B, open func(b *testing.B) store.Store) {
	const total, lanes, perWrite = 1_000_000, 1001, 10_000
	ctx := b.Context()
	var c clock.Clock
	var adding, scanning, claiming, counting time.Duration
	var grown int64
	for range b.N {
		tr := &traffic{s: open(b)}
		before := resident()
		began := c.Now()
		for n := 0; n < total; n += perWrite {
			units := make([]store.Unit, perWrite)
			for i := range units {
				units[i] = tr.unit(store.KindPublication, numbered("lane", (n+i)%2*(1+(n+i)/2%(lanes-1))), tr.ids.New(start))
				units[i].EventID, units[i].Payload = tr.ids.New(start), []byte(`{"v":1}`)
			}
			if err := tr.s.Do(ctx, &store.Write{Effects: store.Effects{Units: units}}); err != nil {
				b.Fatal(err)
			}
		}
		adding += c.Since(began)

		began = c.Now()
		found := 0
		err := tr.s.LanesWithWork(ctx, store.KindPublication, func(string, time.Time, store.LaneState) bool { found++; return true })
		if err != nil || found != lanes {
			b.Fatalf("found %d lanes: %v", found, err)
		}
		scanning += c.Since(began)

		const claims = 200
		began = c.Now()
		for i := range claims {
			units, err := tr.s.Claim(ctx, store.KindPublication, numbered("lane", i), start, 10)
			if err != nil || len(units) != 10 {
				b.Fatalf("claimed %d units: %v", len(units), err)
			}
		}
		claiming += c.Since(began) / claims

		began = c.Now()
		backlog, err := tr.s.Backlog(ctx, store.KindPublication, numbered("lane", 0))
		if err != nil || backlog.Waiting != total/2 {
			b.Fatalf("backlog is %+v: %v", backlog, err)
		}
		counting += c.Since(began)
		grown = max(grown, resident()-before)
	}
	n := float64(b.N)
	b.ReportMetric(n*total/adding.Seconds(), "added/s")
	b.ReportMetric(float64(scanning.Milliseconds())/n, "scan-ms")
	b.ReportMetric(float64(claiming.Microseconds())/n, "claim-µs")
	b.ReportMetric(float64(counting.Milliseconds())/n, "count-ms")
	b.ReportMetric(float64(grown)/(1<<20), "grown-MB")
}

// resident returns the resident memory of this process in bytes, or 0 where
// the system does not tell.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
