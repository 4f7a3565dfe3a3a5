package work_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// BenchmarkEngine drains b.N units with a handler that does nothing: what the
// engine and the store's group commit cost. Give it a fixed number, such as
// -benchtime 50000x.
func BenchmarkEngine(b *testing.B) {
	for _, c := range []struct{ lanes, batch, concurrency int }{
		{1, 1, 4}, {1, 1, 64}, {1, 100, 4}, {10_000, 1, 4}, {10_000, 100, 4},
	} {
		b.Run(fmt.Sprintf("lanes=%d/batch=%d/concurrency=%d", c.lanes, c.batch, c.concurrency), func(b *testing.B) {
			benchmark(b, c.lanes, c.batch, c.concurrency)
		})
	}
}

func benchmark(b *testing.B, lanes, batch, concurrency int) {
	r := newRig(b)
	for i := 0; i < b.N; {
		var e store.Effects
		for ; i < b.N && len(e.Units) < 1000; i++ {
			u := r.units(fmt.Sprint("lane ", i%lanes), 1, r.clock.Now())[0]
			u.MessageID = r.ids.New(r.clock.Now()) // an email each
			e.Units = append(e.Units, u)
		}
		if err := r.store.Do(context.Background(), &store.Write{Effects: e}); err != nil {
			b.Fatal(err)
		}
	}
	var finished atomic.Int64
	all := make(chan struct{})
	k := delivery(each(done))
	k.Batch, k.Concurrency = limits(batch), limits(concurrency)
	e := work.New(work.Options{Store: counting{r.store.Store, func() {
		if finished.Add(1) == int64(b.N) {
			close(all)
		}
	}}, Clock: r.clock, Kinds: []work.Kind{k}})
	r.store.Subscribe(e)
	b.ResetTimer()
	stop := r.run(e)
	<-all
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	s := e.Snapshot()[0]
	b.ReportMetric(s.Claim.Sum/float64(s.Claim.Count)*1e6, "µs/claim")
	b.ReportMetric(float64(b.N)/float64(s.Claim.Count), "units/claim")
}

// BenchmarkLatency measures from the command that adds a unit to its handler,
// one unit at a time in a lane that has nothing else: two reads and a commit.
func BenchmarkLatency(b *testing.B) {
	r := newRig(b)
	began := make(chan struct{}, 1)
	r.start(delivery(each(func(context.Context, store.Unit) work.Result {
		began <- struct{}{}
		return work.Result{Verdict: work.Done}
	})))
	for i := 0; b.Loop(); i++ {
		r.add(fmt.Sprint("lane ", i%100), 1)
		<-began
	}
}

// counting tells of every finished unit.
type counting struct {
	store.Store
	finished func()
}

func (c counting) Do(ctx context.Context, cmd store.Command) error {
	err := c.Store.Do(ctx, cmd)
	if _, ok := cmd.(*store.Finish); ok && err == nil {
		c.finished()
	}
	return err
}
