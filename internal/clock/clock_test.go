package clock_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1500 * time.Microsecond) // fake time of the bubble
		var c clock.Clock
		want := time.Now().UTC().Truncate(time.Millisecond) // fake time of the bubble
		if got := c.Now(); !got.Equal(want) || got.Location() != time.UTC {
			t.Fatalf("Now = %v, want %v in UTC", got, want)
		}
		ahead := clock.New(48 * time.Hour)
		if got := ahead.Now().Sub(c.Now()); got != 48*time.Hour {
			t.Fatalf("a clock with an offset is ahead by %v", got)
		}
		if got := ahead.Since(want); got != 48*time.Hour {
			t.Fatalf("Since = %v, want 48h", got)
		}
	})
}

func TestNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := clock.New(-time.Hour)
	c.Advance(-time.Minute)
	c.Advance(0)
	if c.Offset() != 0 {
		t.Fatalf("offset %v after moves back, want 0", c.Offset())
	}
	c.Advance(time.Minute)
	c.Advance(time.Hour)
	if want := 61 * time.Minute; c.Offset() != want {
		t.Fatalf("offset %v, want %v", c.Offset(), want)
	}
}

func TestMovedIsClosedByEachMove(t *testing.T) {
	t.Parallel()
	var c clock.Clock
	first, same := c.Moved(), c.Moved()
	if first != same {
		t.Fatal("two listeners of one move got different channels")
	}
	select {
	case <-first:
		t.Fatal("moved before a move")
	default:
	}
	c.Advance(time.Second)
	<-first
	select {
	case <-c.Moved():
		t.Fatal("the next move was announced before it happened")
	default:
	}
}

// sleep runs SleepUntil in a goroutine of the bubble and returns where its
// answer arrives.
func sleep(ctx context.Context, c *clock.Clock, until time.Time, wake <-chan struct{}) <-chan bool {
	done := make(chan bool, 1)
	go func() { done <- c.SleepUntil(ctx, until, wake) }()
	synctest.Wait()
	return done
}

func TestSleepUntil(t *testing.T) {
	t.Parallel()
	t.Run("Past", func(t *testing.T) {
		t.Parallel()
		var c clock.Clock
		if !c.SleepUntil(t.Context(), c.Now(), nil) {
			t.Fatal("a time that has come was not reached")
		}
	})
	t.Run("TimePasses", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var c clock.Clock
			start := c.Now()
			if !c.SleepUntil(t.Context(), start.Add(3*time.Hour), nil) {
				t.Fatal("not reached")
			}
			if took := c.Since(start); took != 3*time.Hour {
				t.Fatalf("slept %v, want 3h", took)
			}
		})
	})
	t.Run("ClockMoves", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var c clock.Clock
			start := c.Now()
			done := sleep(t.Context(), &c, start.Add(time.Hour), nil)
			c.Advance(time.Hour - time.Second)
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("woke one second early")
			default:
			}
			c.Advance(time.Second)
			if !<-done {
				t.Fatal("not reached after the move")
			}
		})
	})
	t.Run("Woken", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var c clock.Clock
			wake := make(chan struct{}, 1)
			done := sleep(t.Context(), &c, c.Now().Add(time.Hour), wake)
			wake <- struct{}{}
			if <-done {
				t.Fatal("a wake-up was taken for the end of the wait")
			}
		})
	})
	t.Run("ContextEnds", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var c clock.Clock
			ctx, cancel := context.WithCancel(t.Context())
			done := sleep(ctx, &c, c.Now().Add(time.Hour), nil)
			cancel()
			if <-done {
				t.Fatal("the end of the context was taken for the end of the wait")
			}
		})
	})
}

// Every sleeper sees every move, however moves and naps interleave.
func TestManySleepersWake(t *testing.T) {
	t.Parallel()
	var c clock.Clock
	start := c.Now()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if !c.SleepUntil(context.Background(), start.Add(time.Duration(i)*time.Hour), nil) {
				t.Errorf("sleeper %d was not woken", i)
			}
		})
	}
	for range 100 {
		c.Advance(time.Hour)
	}
	wg.Wait()
}

func TestStopwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		took := clock.Stopwatch()
		time.Sleep(1234 * time.Microsecond) // fake time of the bubble
		if got := took(); got != 1234*time.Microsecond {
			t.Fatalf("measured %v", got)
		}
	})
}
