package sqs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Limits of the service. sqs-guide:quotas-messages
const (
	maxInFlight    = 120_000 // per queue
	maxBatch       = 10      // entries of a batch, messages of a receive
	maxBatchBytes  = 1 << 20 // of all messages of a batch
	maxAttributes  = 10      // per message
	maxTags        = 50      // per queue
	maxListed      = 1000    // per page
	maxVisibility  = 12 * time.Hour
	maxWait        = 20  // seconds
	maxDelay       = 900 // seconds
	purgeInterval  = 60 * time.Second
	attemptWindow  = 5 * time.Minute
	sharedInterval = 500 * time.Millisecond // how soon other nodes' messages are found
)

// Options are what a Service needs.
type Options struct {
	// Store holds the messages, Cache the queues.
	Store store.Store
	Cache *store.Cache
	// Clock stamps, hides and expires. Nil means the system's.
	Clock *clock.Clock
	// IDs makes internal ids. Nil means a generator of its own.
	IDs *sestina.IDs
	// Logger hears of failures that no caller sees. Nil means slog.Default.
	Logger *slog.Logger
	// Shared says that other nodes use the same store: long polls then look
	// for other nodes' messages twice a second, and a move task is left to the
	// node that runs it.
	Shared bool
	// MaxInFlight overrides how many messages of a queue may be in flight.
	// Zero means 120,000.
	MaxInFlight int
}

// A Service is the embedded SQS. It may be used concurrently.
type Service struct {
	store       store.Store
	clock       *clock.Clock
	ids         *sestina.IDs
	log         *slog.Logger
	shared      bool
	maxInFlight int
	queues      *store.Documents[settings]
	tasks       *store.Documents[taskList]

	polls    polls
	flight   flight
	attempts attempts
	node     string        // names this process as the owner of move tasks
	wakeRun  chan struct{} // move tasks changed; holds one signal

	runMu   sync.Mutex
	running map[sestina.ID]bool // move tasks that this process is working on
}

// New returns a service and subscribes it to the store. It registers its kinds
// of documents with the cache, so call it before Cache.Load and before the
// first command.
func New(opt Options) *Service {
	s := &Service{
		store: opt.Store, clock: opt.Clock, ids: opt.IDs, log: opt.Logger,
		shared: opt.Shared, maxInFlight: opt.MaxInFlight,
		queues:  store.Register[settings](opt.Cache, kindQueue),
		tasks:   store.Register[taskList](opt.Cache, kindTasks),
		wakeRun: make(chan struct{}, 1),
		running: map[sestina.ID]bool{},
	}
	if s.clock == nil {
		s.clock = clock.New(0)
	}
	if s.ids == nil {
		s.ids = new(sestina.IDs)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.maxInFlight == 0 {
		s.maxInFlight = maxInFlight
	}
	s.node = s.ids.New(s.clock.Now()).String()
	s.store.Subscribe(s)
	return s
}

// Committed implements store.Listener: queues that got messages wake a poller.
func (s *Service) Committed(c store.Change) {
	for _, id := range c.Queues {
		s.polls.signal(id)
	}
}

// DocumentsChanged implements store.Listener: new and cancelled move tasks
// wake Run.
func (s *Service) DocumentsChanged(docs []store.Document) {
	for _, d := range docs {
		if d.Kind == kindTasks {
			s.wake()
			return
		}
	}
}

func (s *Service) wake() {
	select {
	case s.wakeRun <- struct{}{}:
	default:
	}
}

// EndPolls answers all long polls, present and future, as if their time were
// over. It is called when the server begins to stop.
func (s *Service) EndPolls() { s.polls.end() }

// A Depth says how many messages a queue has.
type Depth struct {
	Scope    sestina.Scope
	Name     string
	Visible  int
	InFlight int // received and not deleted yet
	Delayed  int
}

// Depths returns the depths of at most limit queues, in no particular order,
// for metrics.
func (s *Service) Depths(ctx context.Context, limit int) ([]Depth, error) {
	type named struct {
		depth Depth
		id    sestina.ID
	}
	var all []named
	s.queues.All(func(scope sestina.Scope, name string, q *settings) bool {
		if len(all) == limit {
			return false
		}
		all = append(all, named{Depth{Scope: scope, Name: name}, q.ID})
		return true
	})
	now := s.clock.Now()
	out := make([]Depth, 0, len(all))
	for _, q := range all {
		var err error
		d := q.depth
		if d.Visible, d.InFlight, d.Delayed, err = s.counts(ctx, q.id, now); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}
