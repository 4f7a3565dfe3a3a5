package work

import (
	"math/rand/v2"
	"time"
)

// Exponential returns a backoff that waits first after the first failure and
// twice as long after each further one, up to limit, each time with a jitter of
// ±20 % so that what failed together does not return together.
func Exponential(first, limit time.Duration) func(n int) time.Duration {
	first = max(first, 0)
	limit = max(limit, first)
	return func(n int) time.Duration {
		d := first
		for ; n > 1 && d > 0 && d < limit; n-- {
			if d > limit/2 {
				d = limit
				break
			}
			d *= 2
		}
		return jitter(d, 0.8, 1.2)
	}
}

// Schedule returns a backoff that waits the n-th duration after the n-th
// failure and the last one after all further ones, exactly. It panics without
// durations.
func Schedule(durations ...time.Duration) func(n int) time.Duration {
	if len(durations) == 0 {
		panic("work: a schedule without durations")
	}
	return func(n int) time.Duration {
		return durations[min(max(n, 1), len(durations))-1]
	}
}

// jitter returns d times a random factor between low and high.
func jitter(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + rand.Float64()*(high-low)))
}

// storeBackoff is the wait after the n-th failure in a row of the store.
var storeBackoff = Exponential(100*time.Millisecond, 10*time.Second)
