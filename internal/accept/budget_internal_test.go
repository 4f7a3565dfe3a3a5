package accept

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// TestByteBudget: messages beyond the budget wait for room, not longer than
// their caller nor than ten seconds; then they are told to come again.
func TestByteBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{ByteBudget: 100})
		big := &Submission{Raw: make([]byte, 1000)} // takes all there is
		release, err := d.reserve(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := d.reserve(t.Context(), &Submission{Raw: make([]byte, 1)}); !errors.Is(err, store.ErrUnavailable) || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.reserve(ctx, &Submission{Raw: make([]byte, 1)}); !errors.Is(err, store.ErrUnavailable) || time.Since(start) != 11*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		got := make(chan error)
		go func() {
			again, err := d.reserve(t.Context(), &Submission{Formatted: &message.Simple{Text: &message.Content{Data: "hello"}}})
			if err == nil {
				again()
			}
			got <- err
		}()
		synctest.Wait()
		release()
		if err := <-got; err != nil {
			t.Errorf("after there was room: %v", err)
		}
	})
}

// TestFormattedSize: what is certainly too large is refused before it is
// composed.
func TestFormattedSize(t *testing.T) {
	t.Parallel()
	d := New(Options{})
	s := &Submission{MaxBytes: 100, Formatted: &message.Simple{
		Subject: message.Content{Data: "0123456789"}, HTML: &message.Content{Data: "0123456789"}, Attachments: []message.Attachment{{Data: make([]byte, 75)}},
	}}
	var e *sestina.Error
	if _, err := d.reserve(t.Context(), s); !errors.As(err, &e) || e.Message != "Message length is more than 100 bytes long: '120'." {
		t.Errorf("error %v", err)
	}
}
