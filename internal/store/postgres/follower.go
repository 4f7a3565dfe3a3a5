package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sestina-mail/sestina/internal/store"
)

// How often documents are looked at without a notification, and how long to
// wait before the listening connection is made again.
const (
	followInterval = time.Second
	reconnectPause = 100 * time.Millisecond
	reconnectMost  = 2 * time.Second
)

// documentsPerRead is how many documents are read at a time.
const documentsPerRead = 500

// A follower tells the listeners of all changes to documents, in order of
// revision, whichever node made them.
type follower struct {
	s        *Store
	interval time.Duration // of looking without a notification

	mu   sync.Mutex // held while changes are read and told, which keeps them in order
	told int64      // the newest revision that listeners know
}

// catchUp tells what is newer than what was told.
func (f *follower) catchUp(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(ctx)
}

func (f *follower) read(ctx context.Context) error {
	for {
		docs, err := f.s.Changed(ctx, f.told, documentsPerRead)
		if err != nil || len(docs) == 0 {
			return err
		}
		f.told = docs[len(docs)-1].Revision
		f.s.eachListener(func(l store.Listener) { l.DocumentsChanged(docs) })
		if len(docs) < documentsPerRead {
			return nil
		}
	}
}

// wrote tells of documents that this node has just committed, after what
// others committed before.
func (f *follower) wrote(docs []store.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := docs[len(docs)-1].Revision
	if f.told >= last {
		return // the notification was quicker
	}
	ctx, cancel := context.WithTimeout(context.Background(), acquireTimeout)
	defer cancel()
	err := f.read(ctx)
	if f.told >= last {
		return
	}
	// Whoever wrote must know it. What others wrote before is told when the
	// database answers again, and these once more: listeners keep the newest.
	f.s.log.Warn("documents cannot be read after a commit", "error", err)
	f.s.eachListener(func(l store.Listener) { l.DocumentsChanged(docs) })
}

// channel is where documents are announced. Schemas of one database have
// channels of their own.
func (s *Store) channel() string { return fmt.Sprintf("sestina_documents_%016x", s.key) }

// startFollowing finds the newest revision and follows from there.
func (s *Store) startFollowing(ctx context.Context) error {
	err := s.reads.run(ctx, stmt(`SELECT revision FROM documents ORDER BY revision DESC LIMIT 1`, nil).
		rows(func(r *row) error { s.follow.told = r.int(); return nil }))
	if err != nil {
		return err
	}
	s.background.Go(s.follow.loop)
	return nil
}

// loop listens until the store is closed. While there is no connection to
// listen on, documents are still looked at.
func (f *follower) loop() {
	ctx := f.s.life
	wait := reconnectPause
	for ctx.Err() == nil {
		err := f.listen(ctx, func() { wait = reconnectPause })
		if ctx.Err() != nil {
			return
		}
		f.s.log.Warn("not notified of changed documents for now", "error", err)
		f.s.pause(wait)
		wait = min(2*wait, reconnectMost)
		f.look(ctx)
	}
}

// listen follows with a connection of its own until that fails.
func (f *follower) listen(ctx context.Context, connected func()) error {
	c, err := pgx.ConnectConfig(ctx, f.s.config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = c.Close(end)
	}()
	if err := c.PgConn().Exec(ctx, `LISTEN "`+f.s.channel()+`"`).Close(); err != nil {
		return err
	}
	connected()
	for {
		f.look(ctx) // what was committed before, too
		wait, cancel := context.WithTimeout(ctx, f.interval)
		err := c.PgConn().WaitForNotification(wait)
		timeout := wait.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (!timeout || c.IsClosed()):
			return err
		}
	}
}

// look is catchUp where nobody can be told of a failure; the next one will
// do.
func (f *follower) look(ctx context.Context) {
	if err := f.catchUp(ctx); err != nil && ctx.Err() == nil {
		f.s.log.Warn("changed documents cannot be read for now", "error", err)
	}
}
