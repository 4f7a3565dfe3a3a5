package work_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/work"
)

func TestLimiterBoundsEachKey(t *testing.T) {
	t.Parallel()
	l := work.NewLimiter(3)
	var inside [2]atomic.Int32
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			key := i % 2
			release, err := l.Acquire(context.Background(), fmt.Sprint(key))
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside[key].Add(1); n > 3 {
				t.Errorf("%d holders of one key", n)
			}
			inside[key].Add(-1)
			release()
			release() // the second changes nothing
		})
	}
	wg.Wait()
	if n := l.Len(); n != 0 {
		t.Errorf("%d idle keys kept", n)
	}
}

func TestLimiterServesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := work.NewLimiter(1)
		release, _ := l.Acquire(t.Context(), "mx")
		var order []int
		for i := range 10 {
			go func() {
				release, err := l.Acquire(t.Context(), "mx")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i) // one holder at a time
				release()
			}()
			synctest.Wait()
		}
		if _, ok := l.TryAcquire("mx"); ok {
			t.Fatal("TryAcquire overtook those who wait")
		}
		release()
		synctest.Wait()
		if fmt.Sprint(order) != "[0 1 2 3 4 5 6 7 8 9]" {
			t.Fatalf("served in the order %v", order)
		}
	})
}

func TestLimiterCancelledWaiterLeavesNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := work.NewLimiter(1)
		release, _ := l.Acquire(t.Context(), "mx")
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := l.Acquire(ctx, "mx"); failed <- err }()
		synctest.Wait()
		next := make(chan func(), 1)
		go func() { r, _ := l.Acquire(t.Context(), "mx"); next <- r }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled waiter got %v", err)
		}
		if _, err := l.Acquire(ctx, "other"); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended context got %v", err)
		}
		release()
		(<-next)()
		if l.Len() != 0 {
			t.Fatalf("%d keys kept", l.Len())
		}
	})
}

// A waiter may be granted its place in the moment its context ends: the place
// must reach somebody else.
func TestLimiterPlaceIsNeverLost(t *testing.T) {
	t.Parallel()
	l := work.NewLimiter(1)
	for range 500 {
		release, err := l.Acquire(context.Background(), "mx")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := l.Acquire(ctx, "mx"); err == nil {
				r()
			}
		})
		wg.Go(cancel)
		wg.Go(release)
		wg.Wait()
		r, ok := l.TryAcquire("mx")
		if !ok {
			t.Fatal("the place was lost")
		}
		r()
	}
}

func TestLimiterPerKey(t *testing.T) {
	t.Parallel()
	l := work.NewLimiter(1, work.PerKey(func(key string) int { return len(key) }))
	for range 3 {
		if _, ok := l.TryAcquire("abc"); !ok {
			t.Fatal("fewer places than the key has")
		}
	}
	if _, ok := l.TryAcquire("abc"); ok {
		t.Fatal("more places than the key has")
	}
	if _, ok := l.TryAcquire(""); !ok {
		t.Fatal("a key has at least one place")
	}
}

func TestLimiterRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New(0)
		l := work.NewLimiter(100, work.PerSecond(clk, 10, 5))
		start := clk.Now()
		for i := range 25 {
			release, err := l.Acquire(t.Context(), "mx")
			if err != nil {
				t.Fatal(err)
			}
			release()
			want := time.Duration(max(0, i-4)) * 100 * time.Millisecond
			if at := clk.Since(start); at != want {
				t.Fatalf("acquisition %d after %v, want %v", i, at, want)
			}
		}
		if _, ok := l.TryAcquire("mx"); ok {
			t.Fatal("TryAcquire ignores the rate")
		}
		if l.Len() != 1 {
			t.Fatal("a key was forgotten whose rate is used up")
		}

		// Who gives up gives the time back too.
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := l.Acquire(ctx, "mx"); failed <- err }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		clk.Advance(100 * time.Millisecond)
		release, ok := l.TryAcquire("mx")
		if !ok {
			t.Fatal("the next time did not come")
		}
		release()
		clk.Advance(time.Minute)
		if l.Len() != 0 {
			t.Fatal("an idle key was kept")
		}
	})
}

func TestLimiterForgetsManyKeys(t *testing.T) {
	t.Parallel()
	clk := clock.New(0)
	l := work.NewLimiter(1, work.PerSecond(clk, 1, 1))
	for i := range 100_000 {
		release, ok := l.TryAcquire(fmt.Sprint(i))
		if !ok {
			t.Fatal("a fresh key was refused")
		}
		release()
		if i%100 == 0 {
			clk.Advance(time.Second)
		}
	}
	clk.Advance(time.Second)
	if l.Len() != 0 {
		t.Fatalf("%d keys kept", l.Len())
	}
}
