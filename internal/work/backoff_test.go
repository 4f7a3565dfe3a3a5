package work_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/work"
)

func TestExponential(t *testing.T) {
	t.Parallel()
	b := work.Exponential(time.Second, 10*time.Second)
	for n, want := range []time.Duration{
		time.Second, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second,
	} {
		low, high := want*8/10, want*12/10
		var least, most time.Duration = time.Hour, 0
		for range 500 {
			d := b(n)
			if d < low || d > high {
				t.Fatalf("backoff(%d) = %v, want %v ±20 %%", n, d, want)
			}
			least, most = min(least, d), max(most, d)
		}
		if most-least < want/10 {
			t.Errorf("backoff(%d) hardly varies: %v to %v", n, least, most)
		}
	}
	if d := b(1 << 30); d > 12*time.Second {
		t.Errorf("backoff of a great many failures = %v", d)
	}
}

func TestExponentialDoesNotOverflow(t *testing.T) {
	t.Parallel()
	b := work.Exponential(time.Hour, 200*365*24*time.Hour)
	for n := range 100 {
		if d := b(n); d <= 0 {
			t.Fatalf("backoff(%d) = %v", n, d)
		}
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	b := work.Schedule(time.Second, time.Minute, time.Hour)
	for n, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: time.Minute, 3: time.Hour, 4: time.Hour, 1000: time.Hour,
	} {
		if got := b(n); got != want {
			t.Errorf("schedule(%d) = %v, want %v", n, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a schedule without durations was accepted")
		}
	}()
	work.Schedule()
}

func TestVerdictNames(t *testing.T) {
	t.Parallel()
	var names []string
	for v := work.Retry; v <= work.Busy+1; v++ {
		names = append(names, v.String())
	}
	if got := strings.Join(names, " "); got != "retry done dead continue hold busy unknown" {
		t.Errorf("names %q", got)
	}
}
