package storetest

import (
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var messageTests = []test{
	{"NewestFirstWithPaging", testMessagePaging},
	{"Filters", testMessageFilters},
	{"ScopesAreSeparate", testMessageScopes},
	{"SearchFindsTheOldest", testMessageSearch},
	{"Counted", testCountMessages},
}

func messageIDs(messages []store.Message) []sestina.ID {
	out := []sestina.ID{}
	for _, m := range messages {
		out = append(out, m.ID)
	}
	return out
}

func (e *env) find(f store.MessageFilter) []sestina.ID {
	e.t.Helper()
	messages, err := e.Messages(e.ctx, f)
	e.ok(err)
	return messageIDs(messages)
}

func testMessagePaging(e *env) {
	const n = 7
	var newest []sestina.ID
	for range n {
		m := e.message()
		e.write(store.Effects{Messages: []store.NewMessage{m}})
		newest = append([]sestina.ID{m.ID}, newest...)
	}
	e.equal(e.find(store.MessageFilter{}), newest)
	var paged []sestina.ID
	for before := (sestina.ID{}); ; {
		page := e.find(store.MessageFilter{Before: before, Limit: 3})
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		before = page[len(page)-1]
	}
	e.equal(paged, newest)
}

func testMessageFilters(e *env) {
	a := messageWith(idAt(start))
	a.Recipients = []string{"Ann@Example.com", "bob@example.com"}
	a.Source, a.Subject, a.ConfigurationSet = `"Shop, The" <Shop@example.com>`, "Your ORDER 100% Überraschung", "spring"
	a.Mail = []byte(`{"subject":"x","tags":{"campaign":["one","two"],"ses:caller-identity":["me"]}}`)
	b := messageWith(idAt(start.Add(time.Minute)))
	b.Recipients, b.Source, b.Subject = []string{"bob@example.com.org"}, "noreply@example.com", "Newsletter"
	b.Mail = []byte(`{"tags":{"campaign":["Three"]}}`)
	c := messageWith(idAt(start.Add(2 * time.Minute)))
	c.Recipients, c.Subject = []string{"Österreich@example.com"}, ""
	e.write(store.Effects{Messages: []store.NewMessage{a, b, c}})
	for name, test := range map[string]struct {
		filter store.MessageFilter
		want   []sestina.ID
	}{
		"recipient in any case":       {store.MessageFilter{Recipient: "ANN@example.com"}, []sestina.ID{a.ID}},
		"recipient is not a part":     {store.MessageFilter{Recipient: "bob@example.com"}, []sestina.ID{a.ID}},
		"recipient with a name":       {store.MessageFilter{Recipient: "Bob <bob@example.com>"}, []sestina.ID{a.ID}},
		"recipient beyond ASCII":      {store.MessageFilter{Recipient: "österreich@example.com"}, []sestina.ID{c.ID}},
		"recipient no pattern":        {store.MessageFilter{Recipient: "%"}, []sestina.ID{}},
		"source by address":           {store.MessageFilter{Source: "shop@example.com"}, []sestina.ID{a.ID}},
		"subject by part":             {store.MessageFilter{Subject: "order 100%"}, []sestina.ID{a.ID}},
		"subject beyond ASCII":        {store.MessageFilter{Subject: "ÜBERRASCHUNG"}, []sestina.ID{a.ID}},
		"subject no pattern":          {store.MessageFilter{Subject: "n_wsletter"}, []sestina.ID{}},
		"configuration set":           {store.MessageFilter{ConfigurationSet: "Spring"}, []sestina.ID{a.ID}},
		"configuration set, no match": {store.MessageFilter{ConfigurationSet: "sprin"}, []sestina.ID{}},
		"tag exists":                  {store.MessageFilter{TagName: "campaign"}, []sestina.ID{b.ID, a.ID}},
		"tag value":                   {store.MessageFilter{TagName: "campaign", TagValue: "two"}, []sestina.ID{a.ID}},
		"tag value in any case":       {store.MessageFilter{TagName: "Campaign", TagValue: "three"}, []sestina.ID{b.ID}},
		"tag value, no match":         {store.MessageFilter{TagName: "campaign", TagValue: "me"}, []sestina.ID{}},
		"since is included":           {store.MessageFilter{Since: start.Add(time.Minute)}, []sestina.ID{c.ID, b.ID}},
		"until is not":                {store.MessageFilter{Until: start.Add(time.Minute)}, []sestina.ID{a.ID}},
		"between":                     {store.MessageFilter{Since: start.Add(1), Until: start.Add(90 * time.Second)}, []sestina.ID{b.ID, a.ID}},
		"all at once": {store.MessageFilter{Scope: virginia, Recipient: "bob@example.com", Source: "shop@example.com",
			Subject: "order", ConfigurationSet: "spring", TagName: "campaign", TagValue: "one", Until: start.Add(time.Second)}, []sestina.ID{a.ID}},
		"one of them not": {store.MessageFilter{Recipient: "bob@example.com", Subject: "newsletter"}, []sestina.ID{}},
	} {
		got, err := e.Messages(e.ctx, test.filter)
		e.ok(err)
		if ids := messageIDs(got); len(ids) != len(test.want) {
			e.t.Errorf("%s: found %d, want %d", name, len(ids), len(test.want))
			continue
		}
		for i, id := range messageIDs(got) {
			if id != test.want[i] {
				e.t.Errorf("%s: result %d is %s, want %s", name, i, id, test.want[i])
			}
		}
	}
}

func testMessageScopes(e *env) {
	mine, theirs := e.message(), e.message()
	theirs.Scope = ireland
	e.write(store.Effects{Messages: []store.NewMessage{mine, theirs}})
	e.equal(e.find(store.MessageFilter{Scope: virginia}), []sestina.ID{mine.ID})
	e.equal(e.find(store.MessageFilter{Scope: ireland}), []sestina.ID{theirs.ID})
	e.equal(e.find(store.MessageFilter{Scope: other}), []sestina.ID{})
	e.equal(e.find(store.MessageFilter{}), []sestina.ID{theirs.ID, mine.ID})
}

// One match behind thousands of others.
func testMessageSearch(e *env) {
	wanted := e.message()
	wanted.Subject = "the needle"
	messages := []store.NewMessage{wanted}
	for range 2500 {
		m := e.message()
		m.Body = store.Body{}
		messages = append(messages, m)
	}
	e.write(store.Effects{Messages: messages})
	e.equal(e.find(store.MessageFilter{Subject: "needle"}), []sestina.ID{wanted.ID})
	e.equal(len(e.find(store.MessageFilter{Limit: 5000})), 1000)
	e.equal(len(e.find(store.MessageFilter{})), 100)
}

func testCountMessages(e *env) {
	var all []store.NewMessage
	for i := range 5 {
		m := messageWith(idAt(start.Add(time.Duration(i) * time.Hour)))
		m.Recipients = make([]string, i)
		all = append(all, m)
	}
	all[4].Scope = other
	e.write(store.Effects{Messages: all})
	count := func(s sestina.Scope, since time.Time) [2]int {
		messages, recipients, err := e.CountMessages(e.ctx, s, since)
		e.ok(err)
		return [2]int{messages, recipients}
	}
	e.equal(count(virginia, time.Time{}), [2]int{4, 0 + 1 + 2 + 3})
	e.equal(count(virginia, start.Add(2*time.Hour)), [2]int{2, 2 + 3})
	e.equal(count(other, start), [2]int{1, 4})
	e.equal(count(ireland, start), [2]int{0, 0})
}

var eventTests = []test{
	{"InOrderWithPaging", testEventPaging},
	{"Filters", testEventFilters},
}

func (e *env) findEvents(f store.EventFilter) []sestina.ID {
	e.t.Helper()
	events, err := e.Events(e.ctx, f)
	e.ok(err)
	out := []sestina.ID{}
	for _, ev := range events {
		out = append(out, ev.ID)
	}
	return out
}

func testEventPaging(e *env) {
	message := e.id()
	var all, about []sestina.ID
	for i := range 9 {
		ev := e.event(sestina.ID{})
		if i%2 == 0 {
			ev.MessageID = message
			about = append(about, ev.ID)
		}
		e.write(store.Effects{Events: []store.Event{ev}})
		all = append(all, ev.ID)
	}
	e.equal(e.findEvents(store.EventFilter{}), all)
	e.equal(e.findEvents(store.EventFilter{After: all[2], Limit: 3}), all[3:6])
	e.equal(e.findEvents(store.EventFilter{MessageID: message}), about)
	e.equal(e.findEvents(store.EventFilter{MessageID: message, After: about[1], Limit: 2}), about[2:4])
	e.equal(e.findEvents(store.EventFilter{After: all[8]}), []sestina.ID{})
}

func testEventFilters(e *env) {
	at := func(minutes int, typ sestina.EventType, s sestina.Scope) store.Event {
		when := start.Add(time.Duration(minutes) * time.Minute)
		return store.Event{ID: idAt(when), Scope: s, MessageID: e.id(), Type: typ, At: when, Object: []byte(`{}`)}
	}
	send, bounce, click := at(0, sestina.Send, virginia), at(60, sestina.Bounce, virginia), at(300, sestina.Click, ireland)
	// Reported some time after it happened.
	late := at(400, sestina.Bounce, virginia)
	late.At = start.Add(50 * time.Minute)
	e.write(store.Effects{Events: []store.Event{send, bounce, click, late}})
	e.equal(e.findEvents(store.EventFilter{Types: []sestina.EventType{sestina.Bounce}}), []sestina.ID{bounce.ID, late.ID})
	e.equal(e.findEvents(store.EventFilter{Types: []sestina.EventType{sestina.Click, sestina.Send}}), []sestina.ID{send.ID, click.ID})
	e.equal(e.findEvents(store.EventFilter{Scope: virginia}), []sestina.ID{send.ID, bounce.ID, late.ID})
	e.equal(e.findEvents(store.EventFilter{Scope: other}), []sestina.ID{})
	e.equal(e.findEvents(store.EventFilter{Since: start.Add(time.Hour)}), []sestina.ID{bounce.ID, click.ID})
	e.equal(e.findEvents(store.EventFilter{Until: start.Add(time.Hour)}), []sestina.ID{send.ID, late.ID})
	e.equal(e.findEvents(store.EventFilter{Scope: virginia, MessageID: late.MessageID, Since: start, Until: start.Add(time.Hour),
		Types: []sestina.EventType{sestina.Bounce}}), []sestina.ID{late.ID})
	e.equal(e.findEvents(store.EventFilter{Scope: ireland, MessageID: late.MessageID}), []sestina.ID{})
}
