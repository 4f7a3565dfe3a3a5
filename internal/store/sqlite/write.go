package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/store"
)

// Do carries out a command. Commands that may touch any number of rows run in
// chunks of their own, so that others are not held up.
func (s *Store) Do(ctx context.Context, cmd store.Command) error {
	switch c := cmd.(type) {
	case *store.Write:
		if c.Accepting {
			if err := s.disk.check(); err != nil {
				return err
			}
		}
		return s.write(ctx, &op{cmd: cmd, size: c.Effects.Size()})
	case *store.Finish:
		return s.write(ctx, &op{cmd: cmd, size: store.RowOverhead + len(c.Payload) + c.Effects.Size()})
	case *store.Release:
		return s.write(ctx, &op{cmd: cmd, pure: true})
	case *store.SendQueued: // new input, as an accepting Write is
		if err := s.disk.check(); err != nil {
			return err
		}
		size := 0
		for i := range c.Messages {
			size += store.RowOverhead + len(c.Messages[i].Body)
		}
		return s.write(ctx, &op{cmd: cmd, size: size})
	case *store.Redrive:
		return s.redrive(ctx, c)
	case *store.PurgeQueued:
		return s.purge(ctx, c)
	default:
		return s.write(ctx, &op{cmd: cmd, size: store.RowOverhead})
	}
}

// command runs one command inside the transaction. It may be called again for
// the same command after a rollback.
func (t *txn) command(cmd store.Command) error {
	switch c := cmd.(type) {
	case *store.Write:
		return t.effects(&c.Effects)
	case *store.Finish:
		return t.finish(c)
	case *store.Release:
		return t.release(c)
	case *store.SetLane:
		return t.setLane(c)
	case *store.SendQueued:
		return t.sendQueued(c)
	case *store.ReceiveQueued:
		return t.receiveQueued(c)
	case *store.DeleteQueued:
		return t.deleteQueued(c)
	case *store.HideQueued:
		return t.hideQueued(c)
	case *store.MoveQueued:
		return t.moveQueued(c)
	}
	return fmt.Errorf("storage does not know the command %T", cmd)
}

// effects adds the rows of e.
func (t *txn) effects(e *store.Effects) error {
	for i := range e.Messages {
		if err := t.addMessage(&e.Messages[i]); err != nil {
			return fmt.Errorf("add message %s: %w", e.Messages[i].ID, err)
		}
	}
	for i := range e.Events {
		if err := t.addEvent(&e.Events[i]); err != nil {
			return fmt.Errorf("add event %s: %w", e.Events[i].ID, err)
		}
	}
	for i := range e.Envelopes {
		if err := t.addEnvelope(&e.Envelopes[i]); err != nil {
			return fmt.Errorf("add envelope %s: %w", e.Envelopes[i].ID, err)
		}
	}
	for i := range e.Units {
		if err := t.addUnit(&e.Units[i]); err != nil {
			return fmt.Errorf("add unit %s: %w", e.Units[i].ID, err)
		}
	}
	for i := range e.Queued {
		if _, err := t.enqueue(&e.Queued[i], dedupScope(&e.Queued[i], false)); err != nil {
			return fmt.Errorf("queue message %s: %w", e.Queued[i].ID, err)
		}
	}
	for i := range e.Attempts {
		if err := t.addAttempt(&e.Attempts[i]); err != nil {
			return fmt.Errorf("add attempt of unit %s: %w", e.Attempts[i].Unit, err)
		}
	}
	return nil
}

func (t *txn) addMessage(m *store.NewMessage) error {
	scope, err := t.s.scopes.add(t.c, m.Scope)
	if err != nil {
		return err
	}
	recipients, err := json.Marshal(m.Recipients)
	if err != nil {
		return err
	}
	err = t.c.sql(`
		INSERT INTO messages (id, scope, recipient_count, configuration_set, identity, source, return_path,
			subject, size, recipients, mail, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		id(m.ID).int(scope).int(int64(len(m.Recipients))).text(m.ConfigurationSet).text(m.Identity).text(m.Source).
		text(m.ReturnPath).text(m.Subject).int(m.Size).text(string(recipients)).blob(orEmpty(m.Mail)).blob(m.Payload).run()
	if err != nil || m.Body.ID.IsZero() {
		return err
	}
	var data []byte
	if m.Body.Size > store.InlineBody {
		t.staged = append(t.staged, m.Body.ID)
	} else {
		data = orEmpty(m.Body.Inline)
	}
	return t.c.sql(`INSERT INTO bodies (seq, message_id, size, data) VALUES (?, ?, ?, ?)`).
		int(t.c.db.LastInsertRowID()).id(m.ID).int(m.Body.Size).blob(data).run()
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (t *txn) addEvent(e *store.Event) error {
	scope, err := t.s.scopes.add(t.c, e.Scope)
	if err != nil {
		return err
	}
	t.events = append(t.events, *e)
	return t.c.sql(`INSERT INTO events (id, scope, message_id, type, at, object, late_tags) VALUES (?, ?, ?, ?, ?, ?, ?)`).
		id(e.ID).int(scope).id(e.MessageID).text(string(e.Type)).time(e.At).blob(e.Object).blob(e.LateTags).run()
}

func (t *txn) addEnvelope(e *store.Envelope) error {
	scope, err := t.s.scopes.add(t.c, e.Scope)
	if err != nil {
		return err
	}
	return t.c.sql(`INSERT INTO envelopes (id, scope, data) VALUES (?, ?, ?)`).id(e.ID).int(scope).blob(orEmpty(e.Data)).run()
}

// keptAttempts is how many attempts are kept from a unit's beginning, and how
// many from its end.
const keptAttempts = 10

func (t *txn) addAttempt(a *store.Attempt) error {
	err := t.c.sql(`INSERT OR REPLACE INTO attempts (unit, n, at, took, answer) VALUES (?, ?, ?, ?, ?)`).
		id(a.Unit).int(int64(a.N)).time(a.At).int(a.Took.Milliseconds()).text(cutAnswer(a.Answer)).run()
	if err != nil || a.N <= 2*keptAttempts {
		return err
	}
	return t.c.sql(`DELETE FROM attempts WHERE unit = ? AND n > ? AND n <= ?`).
		id(a.Unit).int(keptAttempts).int(int64(a.N - keptAttempts)).run()
}

// cutAnswer returns s as valid UTF-8 of at most store.MaxAnswer bytes.
func cutAnswer(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= store.MaxAnswer {
		return s
	}
	n := store.MaxAnswer
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
