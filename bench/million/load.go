package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

var scope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// perWrite is how many messages go into one command; several commands wait at a
// time so that the writer always has the next one.
const (
	perWrite = 500
	loaders  = 4
)

// load adds messages, each delivered, with a Send and a Delivery event and a
// waiting publication of each to the only event destination of the set: the
// rows that the program itself leaves when that destination does not take
// events, written by its own storage engine. Message bodies are gone, as after
// delivery in serve.
func load(ctx context.Context, dir, setName string, publications int) (err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	doc, err := s.Get(ctx, scope, "configuration-set", setName)
	if err != nil {
		return err
	}
	var set sestina.ConfigurationSet
	if err := json.Unmarshal(doc.Data, &set); err != nil {
		return fmt.Errorf("read configuration set %s: %w", setName, err)
	}
	if len(set.Destinations) != 1 {
		return fmt.Errorf("configuration set %s has %d event destinations, want 1", setName, len(set.Destinations))
	}
	l := loader{store: s, destination: set.Destinations[0], set: setName, at: time.Now()}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, loaders)
	for i := range loaders {
		wg.Go(func() {
			for int(next.Add(1))*perWrite*2 <= publications {
				if errs[i] = l.write(ctx); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

type loader struct {
	store       store.Store
	ids         sestina.IDs
	destination sestina.EventDestination
	set         string
	at          time.Time
}

func (l *loader) write(ctx context.Context) error {
	var e store.Effects
	for range perWrite {
		if err := l.add(&e); err != nil {
			return err
		}
	}
	if err := l.store.Do(ctx, &store.Write{Effects: e}); err != nil {
		return fmt.Errorf("write %d messages: %w", perWrite, err)
	}
	return nil
}

// add adds one message with what belongs to it.
func (l *loader) add(e *store.Effects) error {
	id := l.ids.New(l.at)
	name := sestina.MessageID(id, scope.Region)
	to := "reader+" + strconv.Itoa(int(id[7])) + "@example.net"
	mail := event.Mail{
		Timestamp: event.Time(l.at), Source: "sender@example.com",
		SourceARN:        sestina.NewARN("ses", scope, "identity/example.com"),
		SendingAccountID: scope.Account, MessageID: name, Destination: []string{to},
		Headers: []event.Header{
			{Name: "From", Value: "sender@example.com"}, {Name: "To", Value: to},
			{Name: "Subject", Value: "A message of four kibibytes"}, {Name: "MIME-Version", Value: "1.0"},
			{Name: "Content-Type", Value: "text/plain; charset=UTF-8"}, {Name: "Content-Transfer-Encoding", Value: "7bit"},
		},
		CommonHeaders: event.CommonHeaders{From: []string{"sender@example.com"}, To: []string{to}, MessageID: name, Subject: "A message of four kibibytes"},
		Tags: event.Tags{
			{Name: "ses:operation", Value: "SendEmail"}, {Name: "ses:configuration-set", Value: l.set},
			{Name: "ses:source-ip", Value: "127.0.0.1"}, {Name: "ses:from-domain", Value: "example.com"},
			{Name: "ses:caller-identity", Value: "root"}, {Name: "campaign", Value: "bench"},
		},
	}
	frozen, err := mail.Encode()
	if err != nil {
		return err
	}
	m := store.Message{
		ID: id, Scope: scope, ConfigurationSet: l.set, Identity: "example.com", Source: "sender@example.com", ReturnPath: "sender@example.com",
		Recipients: []string{to}, Subject: "A message of four kibibytes", Mail: frozen, Size: 4500, Payload: []byte(`{"v":1}`),
	}
	e.Messages = append(e.Messages, store.NewMessage{Message: m})
	e.Units = append(e.Units, store.Unit{
		ID: l.ids.New(l.at), Scope: scope, Kind: store.KindDelivery, Lane: "/" + l.set + "/example.net", Due: l.at, Attempts: 1,
		MessageID: id, State: store.Done, FinishedAt: l.at, Answer: "250 ok",
	})
	for _, what := range []struct {
		t      sestina.EventType
		object event.Object
	}{
		{sestina.Send, event.Send{}},
		{sestina.Delivery, event.Delivery{
			Timestamp: event.Time(l.at), ProcessingTimeMillis: 12, Recipients: []string{to}, SMTPResponse: "250 ok",
			RemoteMTAIP: "127.0.0.1", ReportingMTA: "a8-31.smtp-out.amazonses.com",
		}},
	} {
		object, err := event.Encode(what.object)
		if err != nil {
			return err
		}
		ev := store.Event{ID: l.ids.New(l.at), Scope: scope, MessageID: id, Type: what.t, At: l.at, Object: object}
		e.Events = append(e.Events, ev)
		e.Units = append(e.Units, (&publish.Outbox{IDs: &l.ids}).Publication(&ev, l.destination, l.at))
	}
	return nil
}
