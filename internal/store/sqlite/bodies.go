package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// What becomes of body files that no message names: they are swept when they
// are orphanAge old, and not before stagedFor has passed when this process
// staged them, for their command may be on its way.
const (
	orphanAge = 10 * time.Minute
	stagedFor = time.Hour
)

// bodyFiles is the folder of large bodies, one file per body, named by the
// message's id. A name that ends with .tmp is not complete.
type bodyFiles struct {
	dir   string
	clock *clock.Clock

	mu     sync.Mutex
	staged map[sestina.ID]time.Time // by this process, without a message so far
}

func newBodyFiles(dir string, c *clock.Clock) *bodyFiles {
	return &bodyFiles{dir: dir, clock: c, staged: map[sestina.ID]time.Time{}}
}

func (b *bodyFiles) path(id sestina.ID) string { return filepath.Join(b.dir, id.String()) }

// write makes the file of a body durable: its bytes, then its name.
func (b *bodyFiles) write(id sestina.ID, r io.Reader) (size int64, err error) {
	b.mu.Lock()
	b.staged[id] = b.clock.Now()
	b.mu.Unlock()
	defer func() {
		if err != nil {
			b.discard(id)
		}
	}()
	temp := b.path(id) + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	src := &source{r: r}
	size, err = io.Copy(f, src)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, b.path(id))
	}
	if err == nil {
		err = syncDir(b.dir)
	}
	if err != nil && src.err == nil {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err) // the disk's fault, not the sender's
	}
	return size, err
}

// A source remembers whether reading failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// discard removes what was staged for id.
func (b *bodyFiles) discard(id sestina.ID) {
	_ = os.Remove(b.path(id) + ".tmp") // what cannot be removed now is swept later
	_ = os.Remove(b.path(id))
	b.named([]sestina.ID{id})
}

// named notes that the bodies have their messages now.
func (b *bodyFiles) named(ids []sestina.ID) {
	if len(ids) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		delete(b.staged, id)
	}
}

// onTheWay reports whether this process staged the body a short while ago and
// its message may still come.
func (b *bodyFiles) onTheWay(id sestina.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.staged[id]
	return ok && b.clock.Since(at) < stagedFor
}

// remove deletes the files of bodies whose rows are gone.
func (b *bodyFiles) remove(ids []sestina.ID, log *slog.Logger) {
	for _, id := range ids {
		if err := os.Remove(b.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("body file stays until the next sweep", "message", id, "error", err)
		}
	}
	b.named(ids)
}

// Stage takes a body in. A size below zero means that it is not known.
func (s *Store) Stage(ctx context.Context, id sestina.ID, size int64, r io.Reader) (store.Body, error) {
	if err := s.disk.check(); err != nil {
		return store.Body{}, err
	}
	r = &cancelable{ctx: ctx, r: r}
	if size >= 0 {
		r = io.LimitReader(r, size+1) // one more, to see that it is too long
	}
	head := bytes.NewBuffer(make([]byte, 0, headSize(size)))
	n, err := io.CopyN(head, r, store.InlineBody+1)
	switch {
	case err == nil: // more than fits inline
		if n, err = s.bodies.write(id, io.MultiReader(head, r)); err != nil {
			return store.Body{}, fmt.Errorf("write body of message %s: %w", id, err)
		}
	case err != io.EOF:
		return store.Body{}, fmt.Errorf("read body of message %s: %w", id, err)
	}
	if size >= 0 && n != size {
		s.bodies.discard(id)
		return store.Body{}, fmt.Errorf("body of message %s has not the %d bytes announced: %w", id, size, io.ErrUnexpectedEOF)
	}
	if n > store.InlineBody {
		return store.Body{ID: id, Size: n}, nil
	}
	return store.Body{ID: id, Size: n, Inline: head.Bytes()}, nil
}

// headSize is how much room reading a body of a size into memory takes.
func headSize(size int64) int64 {
	if size < 0 {
		size = 4096
	}
	return min(size, store.InlineBody) + bytes.MinRead + 1
}

// A cancelable reader ends with its context.
type cancelable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// OpenBody opens the body of a message. A file that has not its size any more is
// an error: nobody shall get half a message for a whole one.
func (s *Store) OpenBody(ctx context.Context, id sestina.ID) (io.ReadCloser, error) {
	var data []byte
	var size int64
	found := false
	err := s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT b.size, b.data FROM messages m JOIN bodies b ON b.seq = m.seq
			WHERE m.id = ?`).id(id)
		if found = q.next(); found {
			size, data = q.getInt(), q.getBlob()
		}
		return q.done()
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", id, err)
	}
	if data != nil {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	f, err := s.bodies.open(id, size)
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", id, err)
	}
	return f, nil
}

// open opens the file of a body of a size.
func (b *bodyFiles) open(id sestina.ID, size int64) (*os.File, error) {
	f, err := os.Open(b.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, store.ErrNotFound // deleted since its row was read
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("the file is damaged: it has %d bytes in place of %d", info.Size(), size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// DeleteBody deletes a body, also one that is only staged.
func (s *Store) DeleteBody(ctx context.Context, id sestina.ID) error {
	return s.write(ctx, &op{size: store.RowOverhead, fn: func(t *txn) error {
		q := t.c.sql(`SELECT seq FROM messages WHERE id = ?`).id(id)
		var seq int64
		if q.next() {
			seq = q.getInt()
		}
		if err := q.done(); err != nil {
			return fmt.Errorf("delete body of message %s: %w", id, err)
		}
		if seq == 0 {
			t.unlinked = append(t.unlinked, id)
			return nil
		}
		_, err := t.deleteBody(seq)
		return err
	}})
}

// deleteBody deletes the body of the message with a seq and reports whether it
// was there.
func (t *txn) deleteBody(seq int64) (found bool, err error) {
	q := t.c.sql(`DELETE FROM bodies WHERE seq = ? RETURNING message_id, data IS NULL`).int(seq)
	for q.next() {
		found = true
		if id := q.getID(); q.getBool() {
			t.unlinked = append(t.unlinked, id)
		}
	}
	if err := q.done(); err != nil {
		return false, fmt.Errorf("delete body %d: %w", seq, err)
	}
	return found, nil
}

// sweepOrphans deletes files older than age that no message names.
func (s *Store) sweepOrphans(ctx context.Context, age time.Duration) (n int, err error) {
	entries, err := os.ReadDir(s.bodies.dir)
	if err != nil {
		return 0, fmt.Errorf("list body files: %w", err)
	}
	// Files carry the system's time, so compare them with that.
	limit := s.clock.Now().Add(-s.clock.Offset()).Add(-age)
	for _, e := range entries {
		id, err := sestina.ParseID(strings.TrimSuffix(e.Name(), ".tmp"))
		if err != nil || s.bodies.onTheWay(id) {
			continue // not ours, or not an orphan yet
		}
		info, err := e.Info()
		if err != nil || age > 0 && info.ModTime().After(limit) {
			continue // gone meanwhile, or young
		}
		orphan, err := s.isOrphan(ctx, id, e.Name())
		if err != nil {
			return n, fmt.Errorf("look for the message of body file %s: %w", e.Name(), err)
		}
		if !orphan {
			continue
		}
		if err := os.Remove(filepath.Join(s.bodies.dir, e.Name())); err == nil {
			s.bodies.named([]sestina.ID{id}) // nobody will name it now
			n++
		}
	}
	return n, nil
}

func (s *Store) isOrphan(ctx context.Context, id sestina.ID, name string) (orphan bool, err error) {
	if strings.HasSuffix(name, ".tmp") {
		return true, nil
	}
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT 1 FROM messages m JOIN bodies b ON b.seq = m.seq
			WHERE m.id = ? AND b.data IS NULL`).id(id)
		orphan = !q.next()
		return q.done()
	})
	return orphan, err
}
