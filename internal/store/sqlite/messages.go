package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// What a filter is looked at with comes first, see store.MessageMatcher.
const messageColumns = `id, scope, configuration_set, source, subject, recipients, mail, identity, return_path, size, payload`

// Message returns one message.
func (s *Store) Message(ctx context.Context, sc sestina.Scope, id sestina.ID) (m store.Message, err error) {
	found := false
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`SELECT ` + messageColumns + ` FROM messages WHERE id = ?`).id(id)
		var err error
		if q.next() {
			m, found, err = s.scanMessage(c, q, nil)
		}
		return cmp.Or(q.done(), err)
	})
	if err == nil && (!found || sc != sestina.Scope{} && sc != m.Scope) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Message{}, fmt.Errorf("read message %s: %w", id, err)
	}
	return m, nil
}

// scanMessage reads the current row of q. It reports false, without reading
// the rest, when the row does not match.
func (s *Store) scanMessage(c *conn, q *query, match *store.MessageMatcher) (m store.Message, ok bool, err error) {
	m.ID = q.getID()
	scope := q.getInt()
	m.ConfigurationSet, m.Source, m.Subject = q.getText(), q.getText(), q.getText()
	if err := json.Unmarshal([]byte(q.getText()), &m.Recipients); err != nil {
		return m, false, fmt.Errorf("decode recipients of message %s: %w", m.ID, err)
	}
	if match != nil && !match.Fits(&m) {
		return m, false, nil
	}
	m.Mail = q.getBlob()
	if match != nil && !match.TagsFit(&m) {
		return m, false, nil
	}
	m.Identity, m.ReturnPath, m.Size, m.Payload = q.getText(), q.getText(), q.getInt(), q.getBlob()
	m.Scope, err = s.scopes.name(c, scope)
	return m, err == nil, err
}

// rowsPerRead is how many rows a search looks at before it lets go of its
// snapshot, so that a long one does not keep the WAL from being checkpointed.
const rowsPerRead = 1000

// Messages lists messages newest first. Text is compared in Go, since SQLite
// folds the case of ASCII only.
func (s *Store) Messages(ctx context.Context, f store.MessageFilter) (out []store.Message, err error) {
	from, to := idRange(f.Since, f.Until)
	if !f.Before.IsZero() && string(f.Before[:]) < string(to[:]) {
		to = f.Before
	}
	limit := store.PageSize(f.Limit)
	match := store.NewMessageMatcher(f)
	for more := true; more && len(out) < limit; {
		err := s.reads.do(ctx, func(c *conn) (err error) {
			more, err = s.searchMessages(c, f.Scope, match, from, &to, limit, &out)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("search messages: %w", err)
		}
	}
	return out, nil
}

// searchMessages looks at the next rows below to, lowers to past them, and
// reports whether there may be more.
func (s *Store) searchMessages(c *conn, sc sestina.Scope, match *store.MessageMatcher, from sestina.ID, to *sestina.ID, limit int, out *[]store.Message) (more bool, err error) {
	var scope int64
	if sc.Account != "" {
		if scope, err = s.scopes.find(c, sc); scope == 0 || err != nil {
			return false, err
		}
	}
	q := c.sql(`
		SELECT ` + messageColumns + ` FROM messages INDEXED BY messages_id
		WHERE id >= ?1 AND id < ?2 AND (?3 = 0 OR scope = ?3)
		ORDER BY id DESC LIMIT ?4`).id(from).id(*to).int(scope).int(rowsPerRead)
	rows := 0
	for len(*out) < limit && q.next() {
		rows++
		m, ok, err := s.scanMessage(c, q, match)
		if err != nil {
			_ = q.done()
			return false, err
		}
		if *to = m.ID; ok {
			*out = append(*out, m)
		}
	}
	return rows == rowsPerRead, q.done()
}

// idRange returns the ids of the time from since up to, but not including,
// until. A zero time is no bound.
func idRange(since, until time.Time) (from, to sestina.ID) {
	for i := range to {
		to[i] = 0xff
	}
	if !since.IsZero() {
		from = sestina.FloorID(since)
	}
	if !until.IsZero() {
		to = sestina.FloorID(until)
	}
	return from, to
}

// CountMessages counts the messages and recipients accepted in a scope since a
// time.
func (s *Store) CountMessages(ctx context.Context, sc sestina.Scope, since time.Time) (messages, recipients int, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		scope, err := s.scopes.find(c, sc)
		if scope == 0 || err != nil {
			return err
		}
		from, _ := idRange(since, time.Time{})
		q := c.sql(`
			SELECT count(*), coalesce(sum(recipient_count), 0) FROM messages INDEXED BY messages_id
			WHERE id >= ? AND scope = ?`).id(from).int(scope)
		if q.next() {
			messages, recipients = int(q.getInt()), int(q.getInt())
		}
		return q.done()
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count messages of %s: %w", sc, err)
	}
	return messages, recipients, nil
}

const eventColumns = `id, scope, message_id, type, at, object, late_tags`

func (s *Store) scanEvent(c *conn, q *query) (e store.Event, err error) {
	e.ID = q.getID()
	scope := q.getInt()
	e.MessageID, e.Type, e.At = q.getID(), sestina.EventType(q.getText()), q.getTime()
	e.Object, e.LateTags = q.getBlob(), q.getBlob()
	e.Scope, err = s.scopes.name(c, scope)
	return e, err
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id sestina.ID) (e store.Event, err error) {
	found := false
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`SELECT ` + eventColumns + ` FROM events WHERE id = ?`).id(id)
		var err error
		if found = q.next(); found {
			e, err = s.scanEvent(c, q)
		}
		return cmp.Or(q.done(), err)
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Event{}, fmt.Errorf("read event %s: %w", id, err)
	}
	return e, nil
}

// eventLag is how much later than the event its id may have been made. Ids
// bound the search by time; nothing is recorded before it happened.
const eventLag = time.Hour

// Events lists events in order of id.
func (s *Store) Events(ctx context.Context, f store.EventFilter) (out []store.Event, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		var scope int64
		if f.Scope.Account != "" {
			var err error
			if scope, err = s.scopes.find(c, f.Scope); scope == 0 || err != nil {
				return err
			}
		}
		q := eventQuery(c, f, scope)
		for q.next() {
			e, err := s.scanEvent(c, q)
			if err != nil {
				_ = q.done()
				return err
			}
			out = append(out, e)
		}
		return q.done()
	})
	if err != nil {
		return nil, fmt.Errorf("search events: %w", err)
	}
	return out, nil
}

// eventQuery writes the statement of a filter and binds it. There are few
// forms, so each stays prepared.
func eventQuery(c *conn, f store.EventFilter, scope int64) *query {
	after := f.After
	if !f.Since.IsZero() {
		if floor := sestina.FloorID(f.Since.Add(-eventLag)); string(floor[:]) > string(after[:]) {
			after = floor
		}
	}
	var sql strings.Builder
	sql.WriteString(`SELECT ` + eventColumns + ` FROM events`)
	if !f.MessageID.IsZero() {
		sql.WriteString(` INDEXED BY events_message WHERE id > ? AND message_id = ?`)
	} else {
		sql.WriteString(` WHERE id > ?`)
	}
	if scope != 0 {
		sql.WriteString(` AND scope = ?`)
	}
	if !f.Since.IsZero() {
		sql.WriteString(` AND at >= ?`)
	}
	if !f.Until.IsZero() {
		sql.WriteString(` AND at < ?`)
	}
	if len(f.Types) > 0 {
		sql.WriteString(` AND type IN (?` + strings.Repeat(`, ?`, len(f.Types)-1) + `)`)
	}
	sql.WriteString(` ORDER BY id LIMIT ?`)

	q := c.sql(sql.String()).id(after)
	if !f.MessageID.IsZero() {
		q.id(f.MessageID)
	}
	if scope != 0 {
		q.int(scope)
	}
	if !f.Since.IsZero() {
		q.time(f.Since)
	}
	if !f.Until.IsZero() {
		q.time(f.Until)
	}
	for _, t := range f.Types {
		q.text(string(t))
	}
	return q.int(int64(store.PageSize(f.Limit)))
}
