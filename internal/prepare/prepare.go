package prepare

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// ReasonBadContent is the one reason of a Reject event.
const ReasonBadContent = "Bad content"

// DefaultRemember is how many verdicts a Preparer keeps: 48 bytes and a list
// entry each.
const DefaultRemember = 4096

// A Scanner looks for what must not be sent in a message as stored. It reads
// as much as it needs. Errors are those of reading, or of a scanner that could
// not be asked; they give no verdict.
type Scanner interface {
	Scan(ctx context.Context, r io.Reader) (found bool, err error)
}

// EICAR is the built-in scanner: it knows the EICAR test file in any decoded
// part, and no real virus.
type EICAR struct{}

// Scan implements Scanner.
func (EICAR) Scan(_ context.Context, r io.Reader) (bool, error) {
	found, _, err := message.ScanEICAR(r)
	return found, err
}

var errNoVerdict = errors.New("the scanner gave no verdict")

// An Open opens the body of a message.
type Open func(ctx context.Context, id sestina.ID) (io.ReadCloser, error)

// A Preparer prepares messages. Make one with New; it may be used concurrently.
type Preparer struct {
	scanner  Scanner
	open     Open
	remember int

	mu      sync.Mutex
	entries map[sestina.ID]*list.Element
	recent  *list.List // of *verdict, the newest first
}

// verdict is one message's, made once; done is closed when it is there.
type verdict struct {
	id       sestina.ID
	done     chan struct{}
	rejected bool
	err      error
}

// New returns a Preparer that keeps the newest remember verdicts, or
// DefaultRemember when remember is 0.
func New(s Scanner, open Open, remember int) *Preparer {
	if remember <= 0 {
		remember = DefaultRemember
	}
	return &Preparer{
		scanner: s, open: open, remember: remember,
		entries: make(map[sestina.ID]*list.Element), recent: list.New(),
	}
}

// Prepare says whether m must be rejected. Calls for one message at a time
// share one scan. An error means that there is no verdict; ask again later.
func (p *Preparer) Prepare(ctx context.Context, m *store.Message) (rejected bool, err error) {
	for {
		v, mine := p.claim(m.ID)
		if mine {
			p.decide(ctx, v)
			return v.rejected, v.err
		}
		select {
		case <-v.done:
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the scan of message %s: %w", m.ID, ctx.Err())
		}
		if v.err == nil {
			return v.rejected, nil
		}
		// Whoever scanned could not, perhaps because its own context ended.
	}
}

// claim returns the verdict of a message and whether the caller must make it.
func (p *Preparer) claim(id sestina.ID) (v *verdict, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[id]; e != nil {
		p.recent.MoveToFront(e)
		return e.Value.(*verdict), false
	}
	v = &verdict{id: id, done: make(chan struct{})}
	p.entries[id] = p.recent.PushFront(v)
	for p.recent.Len() > p.remember {
		old := p.recent.Remove(p.recent.Back()).(*verdict)
		delete(p.entries, old.id)
	}
	return v, true
}

// decide makes the verdict. It is announced even when the scanner panics.
func (p *Preparer) decide(ctx context.Context, v *verdict) {
	v.err = errNoVerdict
	defer func() {
		if v.err != nil {
			p.forget(v.id, v)
		}
		close(v.done)
	}()
	v.rejected, v.err = p.scan(ctx, v.id)
}

func (p *Preparer) forget(id sestina.ID, v *verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[id]; e != nil && e.Value.(*verdict) == v {
		p.recent.Remove(e)
		delete(p.entries, id)
	}
}

func (p *Preparer) scan(ctx context.Context, id sestina.ID) (bool, error) {
	body, err := p.open(ctx, id)
	if err != nil {
		return false, fmt.Errorf("open body of message %s to scan it: %w", id, err)
	}
	found, err := p.scanner.Scan(ctx, body)
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return false, fmt.Errorf("scan message %s: %w", id, err)
	}
	return found, nil
}
