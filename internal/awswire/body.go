package awswire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// errBodyTooLarge and errBodyBudget are why a body was not read to its end.
var (
	errBodyTooLarge = errors.New("body is larger than allowed")
	errBodyBudget   = errors.New("too many bytes of requests in flight")
	errBodyEncoding = errors.New("content encoding is not supported")
	errBodyGzip     = errors.New("body is not valid gzip")
)

// A bodyBudget limits the bytes of all bodies held at once.
type bodyBudget struct {
	max  int64
	used atomic.Int64
}

func (b *bodyBudget) take(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *bodyBudget) give(n int64) { b.used.Add(-n) }

// A body is a request's body with its place in the budget.
type body struct {
	sent  []byte // as sent: what the signature covers
	plain []byte // after decompression
	held  int64
}

// guardBody gives the body of a request its time to arrive. The deadline also
// covers what net/http discards of a body that nobody read.
func (m *Mux) guardBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		// Not every writer has deadlines.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(m.opt.BodyTimeout)) //permit:time.Now network timeout
	}
}

// readBody reads at most limit bytes. The caller releases what it got, also
// after an error.
func (m *Mux) readBody(w http.ResponseWriter, r *http.Request, b *body, limit int64) error {
	if r.ContentLength > limit {
		return errBodyTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	sent, err := m.slurp(b, r.Body, r.ContentLength, limit)
	if err != nil {
		return err // the deadline stays: the connection is given up
	}
	b.sent, b.plain = sent, sent
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // handlers may take longer
	return nil
}

// slurp reads src into memory, growing as bytes arrive so that a large
// Content-Length alone costs nothing.
func (m *Mux) slurp(b *body, src io.Reader, hint, limit int64) ([]byte, error) {
	size := int64(4 << 10)
	if hint >= 0 && hint < 256<<10 {
		size = hint + 1
	}
	if !m.bodies.take(size) {
		return nil, errBodyBudget
	}
	b.held += size
	buf := make([]byte, 0, size)
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, errBodyTooLarge
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		if len(buf) < cap(buf) {
			continue
		}
		grow := min(max(int64(cap(buf)), 64<<10), limit+1-int64(cap(buf)))
		if !m.bodies.take(grow) {
			return nil, errBodyBudget
		}
		b.held += grow
		next := make([]byte, len(buf), int64(cap(buf))+grow)
		copy(next, buf)
		buf = next
	}
}

// inflate replaces plain by the decompressed body if the request says that it
// is compressed.
func (m *Mux) inflate(b *body, encoding string, limit int64) error {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil
	case "gzip":
	default:
		return errBodyEncoding
	}
	z, err := gzip.NewReader(bytes.NewReader(b.sent))
	if err != nil {
		return errBodyGzip
	}
	plain, err := m.slurp(b, z, -1, limit)
	if err != nil && !errors.Is(err, errBodyTooLarge) && !errors.Is(err, errBodyBudget) {
		return errBodyGzip
	}
	b.plain = plain
	return err
}

// release gives the body's bytes back to the budget.
func (m *Mux) release(b *body) {
	m.bodies.give(b.held)
	*b = body{}
}
