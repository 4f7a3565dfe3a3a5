package bench

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Closed runs a closed loop: clients that each do one thing after the other
// without a pause, for d. open prepares a client and returns what it does and
// how it ends. It returns how many were done and the time from the first start
// to the last end.
func Closed(clients int, d time.Duration, open func(client int) (do func() error, end func(), err error)) (int, time.Duration, error) {
	deadline := time.Time{}
	return loop(clients, open, func(int64) bool { return time.Now().Before(deadline) }, func() { deadline = time.Now().Add(d) })
}

// Fixed is Closed for a number of things instead of a time.
func Fixed(clients, total int, open func(client int) (do func() error, end func(), err error)) (time.Duration, error) {
	_, took, err := loop(clients, open, func(n int64) bool { return n <= int64(total) }, func() {})
	return took, err
}

func loop(clients int, open func(int) (func() error, func(), error), again func(n int64) bool, start func()) (int, time.Duration, error) {
	type client struct {
		do  func() error
		end func()
	}
	all := make([]client, clients)
	for i := range all {
		do, end, err := open(i)
		if err != nil {
			return 0, 0, err
		}
		defer end()
		all[i] = client{do, end}
	}
	var begun, done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start()
	began := time.Now()
	for _, c := range all {
		wg.Go(func() {
			for failed.Load() == nil && again(begun.Add(1)) {
				if err := c.do(); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return int(done.Load()), took, nil
}

// Median returns the middle value, of an even number the lower of the two.
func Median[T int | float64 | time.Duration](values []T) T {
	return Quantile(values, 0.5)
}

// Quantile returns the smallest value that at least q of the values do not
// exceed.
func Quantile[T int | float64 | time.Duration](values []T, q float64) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	v := slices.Sorted(slices.Values(values))
	i := int(q*float64(len(v))+0.999999) - 1
	return v[min(max(i, 0), len(v)-1)]
}

// Poll asks every 50 ms until done says yes, at most for limit, and returns
// whether it did.
func Poll(limit time.Duration, done func() (bool, error)) (bool, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return ok, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
	}
}
