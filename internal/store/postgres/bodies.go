package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// chunkSize is how many bytes of a large body are in one row.
const chunkSize = 256 << 10

// orphanAge is how old a large body that no message names must be to be swept:
// its command may be on its way, on any node.
const orphanAge = time.Hour

// Stage takes a body in. A size below zero means that it is not known. The
// pieces of a large body reach the disk with the commit of its message at the
// latest, which comes after them in the database's log.
func (s *Store) Stage(ctx context.Context, id sestina.ID, size int64, r io.Reader) (store.Body, error) {
	r = &cancelable{ctx: ctx, r: r}
	if size >= 0 {
		r = io.LimitReader(r, size+1) // one more, to see that it is too long
	}
	head := bytes.NewBuffer(make([]byte, 0, headSize(size)))
	n, err := io.CopyN(head, r, store.InlineBody+1)
	large := err == nil // more than fits inline
	switch {
	case large:
		n, err = s.writeChunks(ctx, id, io.MultiReader(head, r))
		if err != nil {
			s.discard(ctx, id)
			return store.Body{}, fmt.Errorf("write body of message %s: %w", id, err)
		}
	case err != io.EOF:
		return store.Body{}, fmt.Errorf("read body of message %s: %w", id, err)
	}
	if size >= 0 && n != size {
		if large {
			s.discard(ctx, id)
		}
		return store.Body{}, fmt.Errorf("body of message %s has not the %d bytes announced: %w", id, size, io.ErrUnexpectedEOF)
	}
	if large {
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

// writeChunks writes a body in pieces, each a transaction of its own, so that a
// slow sender holds no connection.
func (s *Store) writeChunks(ctx context.Context, id sestina.ID, r io.Reader) (size int64, err error) {
	buf := make([]byte, chunkSize)
	for n := int64(0); ; n++ {
		got, last, err := fill(buf, r)
		if err != nil {
			return size, err
		}
		size += int64(got)
		if err := s.reads.run(ctx, s.chunkSteps(id, n, buf[:got])...); err != nil {
			return size, err
		}
		if last {
			return size, nil
		}
	}
}

// fill reads until buf is full or the reader ends, which is no error; any other
// end of the reader is one, io.ErrUnexpectedEOF too.
func fill(buf []byte, r io.Reader) (n int, last bool, err error) {
	for n < len(buf) {
		got, err := r.Read(buf[n:])
		n += got
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// chunkSteps writes one piece; the first one takes the place of what was staged
// before.
func (s *Store) chunkSteps(id sestina.ID, n int64, data []byte) []*step {
	steps := []*step{stmt(relaxed, nil)}
	if n == 0 {
		steps = append(steps, stmt(deleteStaged, new(args).id(id)))
	}
	return append(steps, stmt(`
		INSERT INTO body_chunks (message_id, n, staged_at, data) VALUES ($1, $2, $3, $4)
		ON CONFLICT (message_id, n) DO UPDATE SET staged_at = excluded.staged_at, data = excluded.data`,
		new(args).id(id).int(n).time(s.clock.Now()).bytes(data)))
}

const deleteStaged = `
	DELETE FROM body_chunks WHERE message_id = $1
		AND NOT EXISTS (SELECT 1 FROM bodies b WHERE b.message_id = $1)`

// discard removes what was staged for id. What cannot be removed now is swept.
func (s *Store) discard(ctx context.Context, id sestina.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout)
	defer cancel()
	if err := s.reads.run(ctx, stmt(deleteStaged, new(args).id(id))); err != nil {
		s.log.Warn("a staged body stays until the next sweep", "message", id, "error", err)
	}
}

// OpenBody opens the body of a message. A large one is read piece by piece.
func (s *Store) OpenBody(ctx context.Context, id sestina.ID) (io.ReadCloser, error) {
	var size int64
	var data []byte
	find := stmt(`SELECT size, data FROM bodies WHERE message_id = $1`, new(args).id(id)).rows(func(r *row) error {
		size, data = r.int(), r.bytes()
		return nil
	})
	err := s.reads.run(ctx, find)
	if err == nil && find.n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", id, err)
	}
	if data != nil {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	return &chunkReader{s: s, ctx: context.WithoutCancel(ctx), id: id, left: size}, nil
}

// A chunkReader reads a large body.
type chunkReader struct {
	s    *Store
	ctx  context.Context
	id   sestina.ID
	n    int64  // next piece
	data []byte // rest of the current one
	left int64  // bytes not yet returned
}

// Read implements io.Reader. A body that is deleted meanwhile ends with
// io.ErrUnexpectedEOF.
func (c *chunkReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if len(c.data) == 0 {
		err := c.s.reads.run(c.ctx, stmt(`SELECT data FROM body_chunks WHERE message_id = $1 AND n = $2`, new(args).id(c.id).int(c.n)).
			rows(func(r *row) error { c.data = r.bytes(); return nil }))
		if err != nil {
			return 0, fmt.Errorf("read body of message %s: %w", c.id, err)
		}
		if len(c.data) == 0 {
			return 0, fmt.Errorf("body of message %s was deleted: %w", c.id, io.ErrUnexpectedEOF)
		}
		c.n++
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	c.left -= int64(n)
	return n, nil
}

// Close implements io.Closer.
func (c *chunkReader) Close() error {
	c.data, c.left = nil, 0
	return nil
}

// DeleteBody deletes a body, also one that is only staged.
func (s *Store) DeleteBody(ctx context.Context, id sestina.ID) error {
	err := s.reads.run(ctx,
		stmt(`DELETE FROM bodies WHERE message_id = $1`, new(args).id(id)),
		stmt(`DELETE FROM body_chunks WHERE message_id = $1`, new(args).id(id)))
	if err != nil {
		return fmt.Errorf("delete body of message %s: %w", id, err)
	}
	return nil
}
