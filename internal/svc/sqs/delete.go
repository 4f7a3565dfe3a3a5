package sqs

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// deleteMessages deletes the messages of receipt handles and returns one error,
// or nil, for each. Deleting what is gone succeeds. In FIFO queues only the
// newest handle counts, and only while the message is hidden.
func (s *Service) deleteMessages(ctx context.Context, q queue, texts []*string) ([]error, error) {
	faults := make([]error, len(texts))
	cmd := &store.DeleteQueued{Queue: q.ID, Strict: q.FIFO, Now: s.clock.Now()}
	var at []int // index of each receipt in texts
	for i, text := range texts {
		h, err := readHandle(q, text)
		if err != nil {
			faults[i] = err
			continue
		}
		cmd.Receipts = append(cmd.Receipts, h.receipt)
		at = append(at, i)
	}
	if len(at) == 0 {
		return faults, nil
	}
	if err := s.store.Do(ctx, cmd); err != nil {
		return nil, fmt.Errorf("delete %d messages of queue %q of %s: %w", len(at), q.name, q.scope, err)
	}
	for j, i := range at {
		if q.FIFO && !cmd.Deleted[j] {
			faults[i] = errExpiredHandle(*texts[i])
		}
	}
	if q.FIFO {
		// What was in flight held up its group.
		s.polls.signal(q.ID)
	}
	return faults, nil
}

// A visibilityChange is one ChangeMessageVisibility.
type visibilityChange struct {
	handle  *string
	seconds *int32
}

// changeVisibility changes how long messages in flight stay hidden, from now,
// and returns one error, or nil, for each.
func (s *Service) changeVisibility(ctx context.Context, q queue, changes []visibilityChange) ([]error, error) {
	faults := make([]error, len(changes))
	now := s.clock.Now()
	cmd := &store.HideQueued{Queue: q.ID, Now: now}
	var at []int // index of each receipt in changes
	for i, c := range changes {
		h, timeout, err := checkVisibility(q, c, now)
		if err != nil {
			faults[i] = err
			continue
		}
		cmd.Receipts = append(cmd.Receipts, h.receipt)
		cmd.Until = append(cmd.Until, now.Add(timeout))
		at = append(at, i)
	}
	if len(at) == 0 {
		return faults, nil
	}
	if err := s.store.Do(ctx, cmd); err != nil {
		return nil, fmt.Errorf("change the visibility of %d messages of queue %q of %s: %w", len(at), q.name, q.scope, err)
	}
	for j, i := range at {
		switch {
		case cmd.Gone[j]:
			faults[i] = invalidValue(*changes[i].handle, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change.")
		case !cmd.InFlight[j]:
			faults[i] = sestina.Errorf("MessageNotInflight", "The specified message isn't in flight.")
		}
	}
	// Pollers sleep until the next message becomes visible: that may be sooner
	// now.
	s.polls.signal(q.ID)
	return faults, nil
}

func checkVisibility(q queue, c visibilityChange, now time.Time) (handle, time.Duration, error) {
	h, err := readHandle(q, c.handle)
	if err != nil {
		return handle{}, 0, err
	}
	if c.seconds == nil {
		return handle{}, 0, missing("VisibilityTimeout")
	}
	timeout := seconds(int(*c.seconds))
	if timeout < 0 || timeout > maxVisibility {
		return handle{}, 0, invalidValue(*c.seconds, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	// The 12 hours count from the receive, in whole seconds.
	// sqs-guide:sqs-visibility-timeout
	if now.Sub(h.received).Truncate(time.Second)+timeout > maxVisibility {
		return handle{}, 0, invalidValue(*c.seconds, "VisibilityTimeout", "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	}
	return h, timeout, nil
}
