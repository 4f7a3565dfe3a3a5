package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const messageColumns = `id, scope, configuration_set, source, subject, recipients, mail, identity, return_path, size, payload`

// messageRows are messages as they are read, with the numbers of their scopes.
type messageRows struct {
	list   []store.Message
	scopes []int64
}

func (x *messageRows) scan(r *row) error {
	m := store.Message{ID: r.id()}
	x.scopes = append(x.scopes, r.int())
	m.ConfigurationSet, m.Source, m.Subject = r.text(), r.text(), r.text()
	recipients := r.bytes()
	m.Mail, m.Identity, m.ReturnPath, m.Size, m.Payload = r.bytes(), r.text(), r.text(), r.int(), r.bytes()
	x.list = append(x.list, m)
	if err := json.Unmarshal(recipients, &x.list[len(x.list)-1].Recipients); err != nil {
		return fmt.Errorf("decode recipients of message %s: %w", m.ID, err)
	}
	return nil
}

func (s *Store) queryMessages(ctx context.Context, sql string, a *args) ([]store.Message, error) {
	var found messageRows
	if err := s.reads.run(ctx, stmt(sql, a).rows(found.scan)); err != nil {
		return nil, err
	}
	for i, n := range found.scopes {
		var err error
		if found.list[i].Scope, err = s.scopeName(ctx, n); err != nil {
			return nil, err
		}
	}
	return found.list, nil
}

// Message returns one message.
func (s *Store) Message(ctx context.Context, sc sestina.Scope, id sestina.ID) (store.Message, error) {
	found, err := s.queryMessages(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, new(args).id(id))
	if err == nil && (len(found) == 0 || sc != sestina.Scope{} && sc != found[0].Scope) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Message{}, fmt.Errorf("read message %s: %w", id, err)
	}
	return found[0], nil
}

// rowsPerRead is how many rows a search looks at per query.
const rowsPerRead = 1000

// Messages lists messages newest first. Text is compared in Go, so that case is
// folded the same way by every engine; only the messages that fit are read as a
// whole.
func (s *Store) Messages(ctx context.Context, f store.MessageFilter) (out []store.Message, err error) {
	defer func() {
		if err != nil {
			out, err = nil, fmt.Errorf("search messages: %w", err)
		}
	}()
	var scope int64
	if f.Scope.Account != "" {
		if scope, err = s.findScope(ctx, f.Scope); scope == 0 || err != nil {
			return nil, err
		}
	}
	from, to := idRange(f.Since, f.Until)
	if !f.Before.IsZero() && slices.Compare(f.Before[:], to[:]) < 0 {
		to = f.Before
	}
	limit := store.PageSize(f.Limit)
	match := store.NewMessageMatcher(f)
	for more := true; more && len(out) < limit; {
		var ids []sestina.ID
		if ids, more, err = s.searchMessages(ctx, scope, match, from, &to, limit-len(out)); err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			continue
		}
		found, err := s.queryMessages(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = ANY ($1) ORDER BY id DESC`, new(args).ids(ids))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// searchMessages looks at the next rows below to, lowers to past those that it
// decided on, and reports whether there may be more.
func (s *Store) searchMessages(ctx context.Context, scope int64, match *store.MessageMatcher, from sestina.ID, to *sestina.ID, limit int) (ids []sestina.ID, more bool, err error) {
	page := rowsPerRead
	if match.All() {
		page = limit
	}
	rows := 0
	var last sestina.ID
	err = s.reads.run(ctx, stmt(`
		SELECT id, configuration_set, source, subject, recipients, CASE WHEN $5 THEN mail END FROM messages
		WHERE id >= $1 AND id < $2 AND ($3 = 0 OR scope = $3)
		ORDER BY id DESC LIMIT $4`,
		new(args).id(from).id(*to).int(scope).int(int64(page)).bool(match.NeedsMail())).rows(func(r *row) error {
		if len(ids) == limit {
			return nil
		}
		rows++
		m := store.Message{ID: r.id(), ConfigurationSet: r.text(), Source: r.text(), Subject: r.text()}
		last = m.ID
		if err := json.Unmarshal(r.value(), &m.Recipients); err != nil {
			return fmt.Errorf("decode recipients of message %s: %w", m.ID, err)
		}
		if m.Mail = r.value(); match.Fits(&m) && match.TagsFit(&m) {
			ids = append(ids, m.ID)
		}
		return nil
	}))
	if rows > 0 {
		*to = last
	}
	return ids, rows == page || len(ids) == limit, err
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
	scope, err := s.findScope(ctx, sc)
	if scope != 0 && err == nil {
		from, _ := idRange(since, time.Time{})
		err = s.reads.run(ctx, stmt(`
			SELECT count(*), coalesce(sum(recipient_count), 0) FROM messages
			WHERE id >= $1 AND scope = $2`, new(args).id(from).int(scope)).rows(func(r *row) error {
			messages, recipients = int(r.int()), int(r.int())
			return nil
		}))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count messages of %s: %w", sc, err)
	}
	return messages, recipients, nil
}

const eventColumns = `id, scope, message_id, type, at, object, late_tags`

func (s *Store) queryEvents(ctx context.Context, sql string, a *args) (out []store.Event, err error) {
	var scopes []int64
	err = s.reads.run(ctx, stmt(sql, a).rows(func(r *row) error {
		e := store.Event{ID: r.id()}
		scopes = append(scopes, r.int())
		e.MessageID, e.Type, e.At, e.Object, e.LateTags = r.id(), sestina.EventType(r.text()), r.time(), r.bytes(), r.bytes()
		out = append(out, e)
		return nil
	}))
	for i, n := range scopes {
		if err != nil {
			return nil, err
		}
		out[i].Scope, err = s.scopeName(ctx, n)
	}
	return out, err
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id sestina.ID) (store.Event, error) {
	found, err := s.queryEvents(ctx, `SELECT `+eventColumns+` FROM events WHERE id = $1`, new(args).id(id))
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Event{}, fmt.Errorf("read event %s: %w", id, err)
	}
	return found[0], nil
}

// eventLag is how much later than the event its id may have been made. Ids
// bound the search by time; nothing is recorded before it happened.
const eventLag = time.Hour

// Events lists events in order of id.
func (s *Store) Events(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	var scope int64
	if f.Scope.Account != "" {
		var err error
		if scope, err = s.findScope(ctx, f.Scope); err != nil {
			return nil, fmt.Errorf("search events: %w", err)
		}
		if scope == 0 {
			return nil, nil
		}
	}
	found, err := s.queryEvents(ctx, eventQuery(f), eventArgs(f, scope))
	if err != nil {
		return nil, fmt.Errorf("search events: %w", err)
	}
	return found, nil
}

// eventQuery returns the statement of a filter: one for the events of a
// message, one for all others.
func eventQuery(f store.EventFilter) string {
	where := `WHERE `
	if !f.MessageID.IsZero() {
		where = `WHERE message_id = $7 AND `
	}
	return `SELECT ` + eventColumns + ` FROM events ` + where + `id > $1 AND ($2 = 0 OR scope = $2)
		AND at >= $3 AND at < $4 AND (cardinality($5) = 0 OR type = ANY ($5))
		ORDER BY id LIMIT $6`
}

func eventArgs(f store.EventFilter, scope int64) *args {
	after := f.After
	if !f.Since.IsZero() {
		if floor := sestina.FloorID(f.Since.Add(-eventLag)); slices.Compare(floor[:], after[:]) > 0 {
			after = floor
		}
	}
	var types []string
	for _, t := range f.Types {
		types = append(types, string(t))
	}
	since := int64(-1 << 62)
	if !f.Since.IsZero() {
		since = f.Since.UnixMilli()
	}
	a := new(args).id(after).int(scope).int(since).int(expiry(f.Until)).texts(types).int(int64(store.PageSize(f.Limit)))
	if !f.MessageID.IsZero() {
		a.id(f.MessageID)
	}
	return a
}
