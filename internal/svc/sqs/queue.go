package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// kindQueue is the kind of a queue's document; its name is the queue's.
const kindQueue = "queue"

// settings is a queue's document. Values that AWS shows as text in the form
// they were given in (policies) are kept in that form.
type settings struct {
	Format     int // 1
	ID         sestina.ID
	CreatedAt  time.Time
	ModifiedAt time.Time
	PurgedAt   time.Time // of the last PurgeQueue

	FIFO bool
	// Seconds and bytes, as the attributes of these names have them.
	DelaySeconds                  int
	MaximumMessageSize            int
	MessageRetentionPeriod        int
	ReceiveMessageWaitTimeSeconds int
	VisibilityTimeout             int

	ContentBasedDeduplication bool
	DeduplicationScope        string // queue or messageGroup; FIFO only
	FifoThroughputLimit       string // perQueue or perMessageGroupId; FIFO only

	Policy             string
	RedrivePolicy      string
	Redrive            *redrive // RedrivePolicy, read
	RedriveAllowPolicy string
	RedriveAllow       *redriveAllow // RedriveAllowPolicy, read

	SqsManagedSseEnabled         bool
	KmsMasterKeyID               string
	KmsDataKeyReusePeriodSeconds int // 0: the default

	Tags map[string]string
}

// A queue is a queue's document and where it is.
type queue struct {
	*settings
	scope sestina.Scope
	name  string
}

func (q queue) arn() string { return sestina.NewARN("sqs", q.scope, q.name) }

func (q *settings) retention() time.Duration { return seconds(q.MessageRetentionPeriod) }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// A QueueInfo is what other services need to know of a queue.
type QueueInfo struct {
	ID   sestina.ID
	FIFO bool
}

// Queue finds a queue by its ARN.
func (s *Service) Queue(queueARN string) (QueueInfo, bool) {
	q, ok := s.byARN(queueARN)
	if !ok {
		return QueueInfo{}, false
	}
	return QueueInfo{ID: q.ID, FIFO: q.FIFO}, true
}

// byARN finds a queue in the cache.
func (s *Service) byARN(queueARN string) (queue, bool) {
	arn, err := sestina.ParseARN(queueARN)
	if err != nil || arn.Service != "sqs" {
		return queue{}, false
	}
	q := queue{settings: s.queues.Get(arn.Scope(), arn.Resource), scope: arn.Scope(), name: arn.Resource}
	return q, q.settings != nil
}

// byName finds a queue; one that the cache does not know is looked for in the
// store, since another node may just have made it.
func (s *Service) byName(ctx context.Context, scope sestina.Scope, name string) (queue, error) {
	q := queue{settings: s.queues.Get(scope, name), scope: scope, name: name}
	if q.settings != nil {
		return q, nil
	}
	doc, err := s.store.Get(ctx, scope, kindQueue, name)
	if errors.Is(err, store.ErrNotFound) {
		return queue{}, errNoQueue()
	}
	if err != nil {
		return queue{}, fmt.Errorf("read queue %q of %s: %w", name, scope, err)
	}
	q.settings, err = decode(doc)
	return q, err
}

// byURL finds the queue that a request names by its URL.
func (s *Service) byURL(ctx context.Context, url *string) (queue, error) {
	call := awswire.CallFrom(ctx)
	account, name, ok := parseQueueURL(value(url))
	if !ok {
		return queue{}, sestina.Errorf("InvalidAddress", "The address %s is not valid for this endpoint.", value(url))
	}
	if account != call.Scope.Account {
		return queue{}, errNoQueue()
	}
	return s.byName(ctx, call.Scope, name)
}

// parseQueueURL returns the last two segments of a queue URL's path. Scheme,
// host and what precedes the two segments are ignored: clients reach Sestina
// by many names, and keep URLs.
func parseQueueURL(url string) (account, name string, ok bool) {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	if _, rest, found := strings.Cut(url, "://"); found {
		// What follows is host and path.
		_, url, found = strings.Cut(rest, "/")
		if !found {
			return "", "", false
		}
	}
	parts := strings.Split(strings.Trim(url, "/"), "/")
	if len(parts) < 2 {
		return "", "", false
	}
	account, name = parts[len(parts)-2], parts[len(parts)-1]
	return account, name, account != "" && name != ""
}

// queueURL is the URL of a queue as the caller can reach it.
func queueURL(call *awswire.Call, name string) string {
	return call.BaseURL + "/" + call.Scope.Account + "/" + name
}

// checkQueueName checks the name of a queue to be made.
func checkQueueName(name string, fifo bool) error {
	base, suffixed := strings.CutSuffix(name, ".fifo")
	switch {
	case name == "":
		return invalidParameter("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
	case fifo && (!suffixed || !isName(base) || len(name) > 80):
		return invalidParameter("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	case !fifo && !isName(name):
		return invalidParameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	return nil
}

// errUnchanged ends a transaction that has nothing to write.
var errUnchanged = errors.New("nothing to change")

// create makes a queue, or finds that it exists with the same values of the
// attributes supplied. Attributes not supplied and tags are not compared.
func (s *Service) create(ctx context.Context, scope sestina.Scope, name string, attributes, tags map[string]string) error {
	fifo := strings.EqualFold(attributes["FifoQueue"], "true")
	if err := checkQueueName(name, fifo); err != nil {
		return err
	}
	if err := checkTags(name, nil, tags); err != nil {
		return err
	}
	now := s.clock.Now()
	id := s.ids.New(now)
	_, err := s.queues.Change(ctx, scope, name, func(tx store.Tx, cur *settings) (*settings, error) {
		fresh := queue{settings: defaults(fifo), scope: scope, name: name}
		fresh.ID, fresh.CreatedAt, fresh.ModifiedAt, fresh.Tags = id, now, now, maps.Clone(tags)
		if err := assign(find(tx, scope), fresh, attributes, true); err != nil {
			return nil, err
		}
		if cur == nil {
			return fresh.settings, nil
		}
		if err := compare(cur, fresh.settings, attributes); err != nil {
			return nil, err
		}
		return nil, errUnchanged
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// compare checks that an existing queue has the attribute values with which it
// is made again.
func compare(cur, fresh *settings, supplied map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(supplied)) {
		a := attributeTable[name]
		if !a.same(a.get(cur), a.get(fresh)) {
			return sestina.Errorf("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", name)
		}
	}
	return nil
}

// change applies fn to a copy of the queue's settings and writes them. It
// fails with QueueDoesNotExist when the queue is not the one found any more.
func (s *Service) change(ctx context.Context, q queue, fn func(find finder, cur *settings) error) error {
	_, err := s.queues.Change(ctx, q.scope, q.name, func(tx store.Tx, cur *settings) (*settings, error) {
		if cur == nil || cur.ID != q.ID {
			return nil, errNoQueue()
		}
		return cur, fn(find(tx, q.scope), cur)
	})
	return err
}

// find reads queues inside a transaction.
func find(tx store.Tx, scope sestina.Scope) finder {
	return func(name string) (*settings, error) {
		doc, err := tx.Get(scope, kindQueue, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read queue %q of %s: %w", name, scope, err)
		}
		return decode(doc)
	}
}

func decode(doc store.Document) (*settings, error) {
	q := new(settings)
	if err := json.Unmarshal(doc.Data, q); err != nil {
		return nil, fmt.Errorf("decode queue %q of %s: %w", doc.Name, doc.Scope, err)
	}
	return q, nil
}

// remove deletes a queue: its document and its move tasks first, so that it is
// gone for everyone, then its messages. Messages left behind by a crash in
// between, or sent at the same moment, belong to an id that nothing refers to
// and end with their retention period.
func (s *Service) remove(ctx context.Context, q queue) error {
	err := s.store.Update(ctx, func(tx store.Tx) error {
		_, err := s.queues.ChangeTx(tx, q.scope, q.name, func(_ store.Tx, cur *settings) (*settings, error) {
			if cur == nil || cur.ID != q.ID {
				return nil, errNoQueue()
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
		_, err = s.tasks.ChangeTx(tx, q.scope, q.ID.String(), func(store.Tx, *taskList) (*taskList, error) { return nil, nil })
		return err
	})
	if err != nil {
		return err
	}
	s.polls.signal(q.ID)
	s.flight.forget(q.ID)
	if err := s.store.Do(ctx, &store.PurgeQueued{Queue: q.ID}); err != nil {
		return fmt.Errorf("delete the messages of queue %q of %s: %w", q.name, q.scope, err)
	}
	return nil
}

// purge deletes a queue's messages, at most once in 60 seconds.
func (s *Service) purge(ctx context.Context, q queue) error {
	err := s.change(ctx, q, func(_ finder, cur *settings) error {
		now := s.clock.Now()
		if now.Sub(cur.PurgedAt) < purgeInterval {
			return sestina.Errorf("PurgeQueueInProgress", "Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.name)
		}
		cur.PurgedAt = now
		return nil
	})
	if err != nil {
		return err
	}
	s.flight.forget(q.ID)
	if err := s.store.Do(ctx, &store.PurgeQueued{Queue: q.ID}); err != nil {
		return fmt.Errorf("purge queue %q of %s: %w", q.name, q.scope, err)
	}
	return nil
}

func (s *Service) counts(ctx context.Context, id sestina.ID, now time.Time) (visible, inFlight, delayed int, err error) {
	visible, inFlight, delayed, err = s.store.QueueCounts(ctx, id, now)
	if err != nil {
		err = fmt.Errorf("count the messages of queue %s: %w", id, err)
	}
	return visible, inFlight, delayed, err
}

// list returns the names of a scope's queues that keep accepts, in order, at
// most limit, after the one that token names, and the token of the next page.
func (s *Service) list(scope sestina.Scope, limit *int32, token *string, keep func(name string, q *settings) bool) (names []string, next *string, err error) {
	size := maxListed
	if limit != nil {
		size = int(*limit)
		if size < 1 || size > maxListed {
			return nil, nil, invalidValue(size, "MaxResults", "Must be between 1 and 1000, if provided.")
		}
	}
	after := ""
	if value(token) != "" {
		raw, err := base64.URLEncoding.DecodeString(*token)
		if err != nil || limit == nil {
			return nil, nil, invalidParameter("Invalid or expired next token.")
		}
		after = string(raw)
	}
	all, values := s.queues.List(scope, after, 0)
	for i, name := range all {
		if !keep(name, values[i]) {
			continue
		}
		if len(names) == size {
			// Only who asks for pages gets them.
			if limit != nil {
				next = new(base64.URLEncoding.EncodeToString([]byte(names[size-1])))
			}
			break
		}
		names = append(names, name)
	}
	return names, next, nil
}
