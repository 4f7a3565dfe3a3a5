package ownapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// maxWait is the longest a call may wait for what it asks for.
const maxWait = 60 * time.Second

// messageView is a message as the API shows it.
type messageView struct {
	ID               string     `json:"id"` // the SES message id
	Timestamp        string     `json:"timestamp"`
	Account          string     `json:"account"`
	Region           string     `json:"region"`
	From             string     `json:"from"`
	Recipients       []string   `json:"recipients"`
	Subject          string     `json:"subject"`
	ConfigurationSet string     `json:"configurationSet,omitempty"`
	Tags             event.Tags `json:"tags"`
	Size             int64      `json:"size"`
	Events           []string   `json:"events"` // in order, as record names: Send, Delivery …
}

func (a *API) view(ctx context.Context, m *store.Message) (messageView, error) {
	v := messageView{
		ID: sestina.MessageID(m.ID, m.Scope.Region), Timestamp: event.Time(m.ID.Time()), Account: m.Scope.Account, Region: m.Scope.Region,
		From: m.Source, Recipients: m.Recipients, Subject: m.Subject, ConfigurationSet: m.ConfigurationSet, Size: m.Size, Events: []string{},
	}
	var mail event.Mail
	if err := json.Unmarshal(m.Mail, &mail); err != nil {
		return v, fmt.Errorf("decode mail object of message %s: %w", v.ID, err)
	}
	v.Tags = mail.Tags
	events, err := a.Store.Events(ctx, store.EventFilter{Scope: m.Scope, MessageID: m.ID, Limit: 1000})
	if err != nil {
		return v, err
	}
	for _, e := range events {
		v.Events = append(v.Events, e.Type.RecordName())
	}
	return v, nil
}

// listMessages answers with the newest messages that fit the filter. With wait
// it answers as soon as there is one, at the latest after that time.
func (a *API) listMessages(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := &query{values: r.URL.Query()}
	f := store.MessageFilter{
		Scope: q.scope(), Recipient: q.text("recipient"), Source: q.text("from"), Subject: q.text("subject"),
		ConfigurationSet: q.text("configurationSet"), Since: q.time("since"), Until: q.time("until"),
		Limit: q.number("limit", 50, 1000),
	}
	f.TagName, f.TagValue, _ = strings.Cut(q.text("tag"), ":")
	if b := q.text("before"); b != "" {
		id, ok := sestina.ParseMessageID(b)
		if !ok {
			return nil, badRequest("The parameter before must be a message id, not %q.", b)
		}
		f.Before = id
	}
	wait := q.duration("wait", maxWait)
	if err := q.only("account", "region", "recipient", "from", "subject", "configurationSet", "tag", "since", "until", "limit", "before", "wait"); err != nil {
		return nil, err
	}
	messages, err := a.waitMessages(r.Context(), f, wait)
	if err != nil {
		return nil, err
	}
	out := struct {
		Messages []messageView `json:"messages"`
		Next     string        `json:"next,omitempty"` // give it as before
	}{Messages: []messageView{}}
	for i := range messages {
		v, err := a.view(r.Context(), &messages[i])
		if err != nil {
			return nil, err
		}
		out.Messages = append(out.Messages, v)
	}
	if len(messages) == f.Limit {
		out.Next = out.Messages[len(messages)-1].ID
	}
	return out, nil
}

func (a *API) waitMessages(ctx context.Context, f store.MessageFilter, wait time.Duration) ([]store.Message, error) {
	if wait == 0 {
		return a.Store.Messages(ctx, f)
	}
	events, stop := a.live.listen() // before the first look, so that none is missed
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		messages, err := a.Store.Messages(context.WithoutCancel(ctx), f)
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		if !a.awaitType(ctx, events, sestina.Send) {
			return nil, nil
		}
	}
}

// awaitType waits for an event of a type, or until it is time to look for what
// came from other nodes. It reports false when the wait is over.
func (a *API) awaitType(ctx context.Context, events <-chan store.Event, t sestina.EventType) bool {
	for {
		select {
		case e, ok := <-events:
			if !ok || e.Type == t {
				return ok
			}
		case <-a.otherNodes():
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// messageOf loads the message that the path names.
func (a *API) messageOf(r *http.Request) (*store.Message, error) {
	id, ok := sestina.ParseMessageID(r.PathValue("id"))
	if !ok {
		return nil, badRequest("%q is not a message id.", r.PathValue("id"))
	}
	m, err := a.Store.Message(r.Context(), sestina.Scope{}, id)
	if err != nil {
		return nil, fmt.Errorf("read message %s: %w", r.PathValue("id"), err)
	}
	return &m, nil
}

// attachmentView is a part of a message that is not its text.
type attachmentView struct {
	Index       int    `json:"index"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	ContentID   string `json:"contentId,omitempty"`
	Inline      bool   `json:"inline"`
	Size        int64  `json:"size"`
}

func (a *API) getMessage(_ http.ResponseWriter, r *http.Request) (any, error) {
	m, err := a.messageOf(r)
	if err != nil {
		return nil, err
	}
	v, err := a.view(r.Context(), m)
	if err != nil {
		return nil, err
	}
	out := struct {
		messageView
		Mail        json.RawMessage  `json:"mail"`
		BodyKept    bool             `json:"bodyKept"`
		Text        string           `json:"text,omitempty"`
		HTML        string           `json:"html,omitempty"`
		Attachments []attachmentView `json:"attachments"`
	}{messageView: v, Mail: m.Mail, Attachments: []attachmentView{}}
	body, err := a.Store.OpenBody(r.Context(), m.ID)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", v.ID, err)
	}
	defer body.Close()
	parts, err := message.Parts(body)
	if err != nil {
		return nil, fmt.Errorf("read body of message %s: %w", v.ID, err)
	}
	out.BodyKept, out.Text, out.HTML = true, parts.Text, parts.HTML
	for _, p := range parts.Attachments {
		out.Attachments = append(out.Attachments, attachmentView(p))
	}
	return out, nil
}

func (a *API) getRaw(w http.ResponseWriter, r *http.Request) (any, error) {
	m, err := a.messageOf(r)
	if err != nil {
		return nil, err
	}
	body, err := a.Store.OpenBody(r.Context(), m.ID)
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", r.PathValue("id"), err)
	}
	defer body.Close()
	download(w, "message/rfc822", r.PathValue("id")+".eml", m.Size)
	_, _ = io.Copy(w, body) // the caller went away
	return nil, nil
}

func (a *API) getAttachment(w http.ResponseWriter, r *http.Request) (any, error) {
	m, err := a.messageOf(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		return nil, badRequest("%q is not the index of an attachment.", r.PathValue("n"))
	}
	body, err := a.Store.OpenBody(r.Context(), m.ID)
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", r.PathValue("id"), err)
	}
	defer body.Close()
	download(w, "application/octet-stream", fmt.Sprintf("attachment-%d", n), 0)
	if _, err := message.WritePart(w, body, n); err != nil {
		if errors.Is(err, message.ErrNoPart) {
			return nil, fmt.Errorf("attachment %d: %w", n, store.ErrNotFound)
		}
		return nil, nil // the caller went away
	}
	return nil, nil
}

// download sets headers that make a browser save the content, never show it.
func download(w http.ResponseWriter, contentType, name string, size int64) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	h.Set("X-Content-Type-Options", "nosniff")
	if size > 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
}
