package prepare

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// body opens the same text for every message.
func body(text string) Open {
	return func(context.Context, sestina.ID) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}
}

// A scanner by a function.
type scanner func(ctx context.Context, r io.Reader) (bool, error)

func (s scanner) Scan(ctx context.Context, r io.Reader) (bool, error) { return s(ctx, r) }

func newMessage(ids *sestina.IDs) *store.Message { return &store.Message{ID: ids.New(time.Now())} }

func TestEICAR(t *testing.T) {
	t.Parallel()
	const head = "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\r\n"
	virus := `X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
	for text, want := range map[string]bool{
		head + virus + "\r\n":      true,
		head + virus[1:] + "\r\n":  false,
		head + "nothing here\r\n":  false,
		"Subject: " + "hi\r\n\r\n": false,
	} {
		got, err := New(EICAR{}, body(text), 0).Prepare(t.Context(), newMessage(new(sestina.IDs)))
		if err != nil || got != want {
			t.Errorf("%q: %t, %v", text, got, err)
		}
	}
}

// Fifty deliveries of one message share a scan.
func TestScannedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var scans atomic.Int32
		ready := make(chan struct{})
		p := New(scanner(func(context.Context, io.Reader) (bool, error) {
			scans.Add(1)
			<-ready
			return true, nil
		}), body(""), 0)
		m := newMessage(new(sestina.IDs))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if rejected, err := p.Prepare(t.Context(), m); !rejected || err != nil {
					t.Error(rejected, err)
				}
			})
		}
		synctest.Wait()
		close(ready)
		wg.Wait()
		if n := scans.Load(); n != 1 {
			t.Errorf("%d scans", n)
		}
	})
}

// Verdicts are kept for the newest messages, and read again for others.
func TestVerdictsAreForgotten(t *testing.T) {
	t.Parallel()
	scans := 0
	p := New(scanner(func(context.Context, io.Reader) (bool, error) { scans++; return false, nil }), body(""), 2)
	ids := new(sestina.IDs)
	a, b, c := newMessage(ids), newMessage(ids), newMessage(ids)
	for i, step := range []struct {
		m     *store.Message
		scans int
	}{{a, 1}, {b, 2}, {a, 2}, {c, 3}, {a, 3}, {b, 4}, {b, 4}, {c, 5}} {
		if _, err := p.Prepare(t.Context(), step.m); err != nil {
			t.Fatal(err)
		}
		if scans != step.scans {
			t.Errorf("step %d: %d scans, want %d", i, scans, step.scans)
		}
	}
	if len(p.entries) != 2 || p.recent.Len() != 2 {
		t.Errorf("%d and %d verdicts are kept", len(p.entries), p.recent.Len())
	}
}

// What failed is not remembered; who waited for it asks again.
func TestErrorsAreNotRemembered(t *testing.T) {
	t.Parallel()
	t.Run("scanner", func(t *testing.T) {
		t.Parallel()
		bad := errors.New("scanner down")
		n := 0
		p := New(scanner(func(context.Context, io.Reader) (bool, error) {
			if n++; n == 1 {
				return false, bad
			}
			return true, nil
		}), body(""), 0)
		m := newMessage(new(sestina.IDs))
		if _, err := p.Prepare(t.Context(), m); !errors.Is(err, bad) {
			t.Error(err)
		}
		if rejected, err := p.Prepare(t.Context(), m); !rejected || err != nil {
			t.Error(rejected, err)
		}
	})
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		p := New(EICAR{}, func(context.Context, sestina.ID) (io.ReadCloser, error) { return nil, store.ErrNotFound }, 0)
		if _, err := p.Prepare(t.Context(), newMessage(new(sestina.IDs))); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("the first caller goes away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			p := New(scanner(func(ctx context.Context, _ io.Reader) (bool, error) {
				if n.Add(1) == 1 {
					<-ctx.Done()
					return false, ctx.Err()
				}
				return true, nil
			}), body(""), 0)
			m := newMessage(new(sestina.IDs))
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := p.Prepare(ctx, m); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			synctest.Wait()
			wg.Go(func() {
				if rejected, err := p.Prepare(t.Context(), m); !rejected || err != nil {
					t.Error(rejected, err)
				}
			})
			synctest.Wait()
			cancel()
			wg.Wait()
		})
	})
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		n := 0
		p := New(scanner(func(context.Context, io.Reader) (bool, error) {
			if n++; n == 1 {
				panic("scanner")
			}
			return false, nil
		}), body(""), 0)
		m := newMessage(new(sestina.IDs))
		func() {
			defer func() { _ = recover() }()
			_, _ = p.Prepare(t.Context(), m)
		}()
		if rejected, err := p.Prepare(t.Context(), m); rejected || err != nil {
			t.Error(rejected, err)
		}
	})
}

// A caller that waits for another's scan stops waiting when its own time ends.
func TestWaiterLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := New(scanner(func(context.Context, io.Reader) (bool, error) { <-release; return false, nil }), body(""), 0)
		m := newMessage(new(sestina.IDs))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Prepare(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Prepare(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(release)
		wg.Wait()
	})
}
