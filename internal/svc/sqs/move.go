package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// kindTasks is the kind of the document that holds a queue's message move
// tasks. Its name is the queue's internal id.
const kindTasks = "queue-move-tasks"

const (
	keptTasks    = 10               // per source queue
	maxMoveRate  = 500              // messages per second
	moveChunk    = 500              // messages per command
	moveProgress = time.Second      // how often progress is written
	moveLease    = 30 * time.Second // how long a node may be silent before another takes its task over
	moveRetry    = time.Second      // after a failure of the store
)

// The states of a move task.
//
//	RUNNING → COMPLETED | FAILED
//	RUNNING → CANCELLING → CANCELLED
const (
	taskRunning    = "RUNNING"
	taskCompleted  = "COMPLETED"
	taskCancelling = "CANCELLING"
	taskCancelled  = "CANCELLED"
	taskFailed     = "FAILED"
)

// The reasons of FAILED.
const (
	reasonNoQueue  = "AWS.SimpleQueueService.NonExistentQueue"
	reasonNoSource = "CouldNotDetermineMessageSource"
)

// A taskList is the document of a source queue's move tasks, newest first. At
// most the first is active.
type taskList struct {
	Format int // 1
	Tasks  []moveTask
}

// A moveTask moves the messages of a dead-letter queue to another queue or back
// to where they came from. Its progress is written about once a second, so
// that it goes on after a restart; Moved may then lag behind by what one write
// covers.
type moveTask struct {
	ID             sestina.ID
	SourceARN      string
	DestinationARN string // "": the queue each message came from
	Destination    sestina.ID
	Rate           int // messages per second; 0: as fast as it goes
	Status         string
	Moved          int64
	ToMove         int64
	FailureReason  string
	StartedAt      time.Time
	Owner          string // node that runs it
	LeaseUntil     time.Time
}

func (t *moveTask) active() bool { return t.Status == taskRunning || t.Status == taskCancelling }

// find returns the task with the id, or nil.
func (l *taskList) find(id sestina.ID) *moveTask {
	if l == nil {
		return nil
	}
	i := slices.IndexFunc(l.Tasks, func(t moveTask) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return &l.Tasks[i]
}

// ---- operations ---------------------------------------------------------------

// StartMessageMoveTask implements sqs-model:StartMessageMoveTask.
func (s *Service) StartMessageMoveTask(ctx context.Context, in *sqs.StartMessageMoveTaskInput) (*sqs.StartMessageMoveTaskOutput, error) {
	source, err := s.ownQueue(ctx, value(in.SourceArn), "SourceArn")
	if err != nil {
		return nil, err
	}
	names, _, err := s.list(source.scope, nil, nil, isSourceOf(source))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, invalidParameter("Source queue must be configured as a Dead Letter Queue.")
	}
	task := moveTask{SourceARN: source.arn(), Status: taskRunning}
	if n := in.MaxNumberOfMessagesPerSecond; n != nil {
		if *n < 1 || *n > maxMoveRate {
			return nil, invalidValue(*n, "MaxNumberOfMessagesPerSecond", "Must be between 1 and 500, if provided.")
		}
		task.Rate = int(*n)
	}
	if in.DestinationArn != nil {
		to, err := s.ownQueue(ctx, *in.DestinationArn, "DestinationArn")
		if err != nil {
			return nil, err
		}
		if to.ID == source.ID || to.FIFO != source.FIFO {
			return nil, invalidParameter("Destination queue must be another queue of the same type as the source queue.")
		}
		task.DestinationARN, task.Destination = to.arn(), to.ID
	}
	if err := s.startTask(ctx, source, &task); err != nil {
		return nil, err
	}
	return &sqs.StartMessageMoveTaskOutput{TaskHandle: new(taskHandle(&task))}, nil
}

func (s *Service) startTask(ctx context.Context, source queue, task *moveTask) error {
	now := s.clock.Now()
	visible, _, _, err := s.counts(ctx, source.ID, now)
	if err != nil {
		return err
	}
	task.ID, task.StartedAt, task.ToMove = s.ids.New(now), now, int64(visible)
	_, err = s.tasks.Change(ctx, source.scope, source.ID.String(), func(_ store.Tx, cur *taskList) (*taskList, error) {
		if cur == nil {
			cur = &taskList{Format: 1}
		}
		if len(cur.Tasks) > 0 && cur.Tasks[0].active() {
			return nil, invalidParameter("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
		cur.Tasks = slices.Insert(cur.Tasks, 0, *task)
		cur.Tasks = cur.Tasks[:min(len(cur.Tasks), keptTasks)]
		return cur, nil
	})
	return err
}

// ListMessageMoveTasks implements sqs-model:ListMessageMoveTasks.
func (s *Service) ListMessageMoveTasks(ctx context.Context, in *sqs.ListMessageMoveTasksInput) (*sqs.ListMessageMoveTasksOutput, error) {
	source, err := s.ownQueue(ctx, value(in.SourceArn), "SourceArn")
	if err != nil {
		return nil, err
	}
	limit := 1
	if n := in.MaxResults; n != nil {
		if *n < 1 || *n > keptTasks {
			return nil, invalidValue(*n, "MaxResults", "Must be between 1 and 10, if provided.")
		}
		limit = int(*n)
	}
	out := &sqs.ListMessageMoveTasksOutput{Results: []sqs.ListMessageMoveTasksResultEntry{}}
	list := s.tasks.Get(source.scope, source.ID.String())
	if list == nil {
		return out, nil
	}
	for i := range list.Tasks[:min(limit, len(list.Tasks))] {
		out.Results = append(out.Results, taskEntry(&list.Tasks[i]))
	}
	return out, nil
}

func taskEntry(t *moveTask) sqs.ListMessageMoveTasksResultEntry {
	e := sqs.ListMessageMoveTasksResultEntry{
		Status: new(t.Status), SourceArn: new(t.SourceARN), StartedTimestamp: new(t.StartedAt.UnixMilli()),
		ApproximateNumberOfMessagesMoved: new(t.Moved), ApproximateNumberOfMessagesToMove: new(t.ToMove),
	}
	if t.Status == taskRunning {
		e.TaskHandle = new(taskHandle(t))
	}
	if t.DestinationARN != "" {
		e.DestinationArn = new(t.DestinationARN)
	}
	if t.Rate != 0 {
		e.MaxNumberOfMessagesPerSecond = new(int32(t.Rate))
	}
	if t.FailureReason != "" {
		e.FailureReason = new(t.FailureReason)
	}
	return e
}

// CancelMessageMoveTask implements sqs-model:CancelMessageMoveTask. What is
// moved already stays moved.
func (s *Service) CancelMessageMoveTask(ctx context.Context, in *sqs.CancelMessageMoveTaskInput) (*sqs.CancelMessageMoveTaskOutput, error) {
	id, sourceARN, ok := parseTaskHandle(value(in.TaskHandle))
	if !ok {
		return nil, invalidParameter("Value for parameter TaskHandle is invalid.")
	}
	source, err := s.ownQueue(ctx, sourceARN, "SourceArn")
	if err != nil {
		return nil, err
	}
	var moved int64
	_, err = s.tasks.Change(ctx, source.scope, source.ID.String(), func(_ store.Tx, cur *taskList) (*taskList, error) {
		t := cur.find(id)
		if t == nil || t.Status != taskRunning {
			return nil, sestina.Errorf("ResourceNotFoundException", "Task does not exist.")
		}
		t.Status, moved = taskCancelling, t.Moved
		return cur, nil
	})
	if err != nil {
		return nil, err
	}
	return &sqs.CancelMessageMoveTaskOutput{ApproximateNumberOfMessagesMoved: new(moved)}, nil
}

// ownQueue finds a queue of the caller by its ARN.
func (s *Service) ownQueue(ctx context.Context, arn, parameter string) (queue, error) {
	a, err := sestina.ParseARN(arn)
	if err != nil || a.Service != "sqs" || a.Scope() != awswire.CallFrom(ctx).Scope {
		return queue{}, errResource(parameter)
	}
	q, err := s.byName(ctx, a.Scope(), a.Resource)
	if sestina.CodeOf(err) == "QueueDoesNotExist" {
		return queue{}, errResource(parameter)
	}
	return q, err
}

// A taskHandle is JSON in base64, as at AWS.
type taskHandleJSON struct {
	TaskID    sestina.ID `json:"taskId"`
	SourceARN string     `json:"sourceArn"`
}

func taskHandle(t *moveTask) string {
	b, err := json.Marshal(taskHandleJSON{t.ID, t.SourceARN})
	if err != nil {
		panic(err) // two strings always encode
	}
	return base64.StdEncoding.EncodeToString(b)
}

func parseTaskHandle(text string) (id sestina.ID, sourceARN string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return id, "", false
	}
	var h taskHandleJSON
	if err := json.Unmarshal(b, &h); err != nil || h.TaskID.IsZero() || h.SourceARN == "" {
		return id, "", false
	}
	return h.TaskID, h.SourceARN, true
}

// ---- work ---------------------------------------------------------------------

// Run works on message move tasks until ctx ends, and returns when the last one
// has stopped. Tasks that were active when a process ended go on.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		s.tasks.All(func(scope sestina.Scope, name string, list *taskList) bool {
			if len(list.Tasks) == 0 || !s.mayRun(&list.Tasks[0]) {
				return true
			}
			r := &taskRun{s: s, scope: scope, list: name, id: list.Tasks[0].ID}
			wg.Go(func() { r.run(ctx) })
			return true
		})
		s.clock.SleepUntil(ctx, s.clock.Now().Add(moveLease), s.wakeRun)
	}
}

// mayRun reports whether the task is active and no one else's, and takes it.
func (s *Service) mayRun(t *moveTask) bool {
	s.runMu.Lock()
	defer s.runMu.Unlock()
	if !t.active() || s.running[t.ID] {
		return false
	}
	if s.shared && t.Owner != "" && t.Owner != s.node && s.clock.Now().Before(t.LeaseUntil) {
		return false
	}
	s.running[t.ID] = true
	return true
}

// A taskRun is one process working on one move task.
type taskRun struct {
	s     *Service
	scope sestina.Scope
	list  string // name of the document
	id    sestina.ID

	since time.Time // of this run
	moved int64     // in this run
	saved int64     // of moved, written to the document
	wrote time.Time // when
}

// errTaskEnded stops a run whose task is over, was deleted with its queue, or
// is another node's.
var errTaskEnded = errors.New("move task ended")

func (r *taskRun) run(ctx context.Context) {
	defer func() {
		r.s.runMu.Lock()
		defer r.s.runMu.Unlock()
		delete(r.s.running, r.id)
	}()
	r.since = r.s.clock.Now()
	task, err := r.save(ctx, "", "")
	for ctx.Err() == nil {
		if errors.Is(err, errTaskEnded) {
			return
		}
		wait := moveRetry
		if err == nil {
			wait, err = r.step(ctx, task)
		}
		if errors.Is(err, errTaskEnded) {
			return
		}
		if err != nil && ctx.Err() == nil {
			r.s.log.WarnContext(ctx, "message move task is interrupted", "task", r.id.String(), "error", err)
		}
		if wait > 0 {
			r.s.clock.SleepUntil(ctx, r.s.clock.Now().Add(wait), nil)
		}
		task, err = r.progress(ctx, task)
	}
	// Stopped, not ended: what was moved is worth one more write.
	if r.moved > r.saved {
		if _, err := r.save(context.WithoutCancel(ctx), "", ""); err != nil && !errors.Is(err, errTaskEnded) {
			r.s.log.WarnContext(ctx, "progress of message move task is not written", "task", r.id.String(), "error", err)
		}
	}
}

// step moves one chunk and returns how long to wait before the next one. It
// returns errTaskEnded when the task reached its end and that is written.
func (r *taskRun) step(ctx context.Context, task moveTask) (time.Duration, error) {
	if task.Status == taskCancelling {
		return 0, r.end(ctx, taskCancelled, "")
	}
	cmd, reason := r.command(task)
	if reason != "" {
		return 0, r.end(ctx, taskFailed, reason)
	}
	if err := r.s.store.Do(ctx, cmd); err != nil {
		return moveRetry, fmt.Errorf("move messages of %s: %w", task.SourceARN, err)
	}
	r.moved += int64(cmd.Moved)
	switch {
	case cmd.Moved < cmd.Max && cmd.Blocked == nil:
		return 0, r.end(ctx, taskCompleted, "")
	case cmd.Moved < cmd.Max && *cmd.Blocked == "":
		return 0, r.end(ctx, taskFailed, reasonNoSource)
	case cmd.Moved < cmd.Max:
		return 0, r.end(ctx, taskFailed, reasonNoQueue)
	case task.Rate > 0:
		due := r.since.Add(time.Duration(r.moved) * time.Second / time.Duration(task.Rate))
		return due.Sub(r.s.clock.Now()), nil
	}
	return 0, nil
}

// command makes the next chunk's command. The reason is why there can be none.
func (r *taskRun) command(task moveTask) (cmd *store.MoveQueued, reason string) {
	from, ok := r.s.byARN(task.SourceARN)
	if !ok || from.ID.String() != r.list {
		return nil, reasonNoQueue
	}
	cmd = &store.MoveQueued{From: from.ID, To: task.Destination, Now: r.s.clock.Now(), Max: moveChunk, Retention: map[sestina.ID]time.Duration{}}
	if task.Rate > 0 {
		cmd.Max = max(task.Rate/10, 1)
	}
	if task.DestinationARN != "" {
		to, ok := r.s.byARN(task.DestinationARN)
		if !ok || to.ID != task.Destination {
			return nil, reasonNoQueue
		}
		cmd.Retention[to.ID] = to.retention()
	} else {
		r.origins(cmd, from)
	}
	for range cmd.Max {
		cmd.MessageIDs = append(cmd.MessageIDs, sestina.DerivedUUID(r.s.ids.New(cmd.Now), "sqs"))
	}
	return cmd, ""
}

// origins fills in the queues that messages may go back to: all of the scope
// that are of the same type.
func (r *taskRun) origins(cmd *store.MoveQueued, from queue) {
	cmd.Sources = map[string]sestina.ID{}
	names, values := r.s.queues.List(r.scope, "", 0)
	for i, name := range names {
		if q := (queue{values[i], r.scope, name}); q.FIFO == from.FIFO && q.ID != from.ID {
			cmd.Sources[q.arn()] = q.ID
			cmd.Retention[q.ID] = q.retention()
		}
	}
}

// progress reads the task, and writes what was moved once a second.
func (r *taskRun) progress(ctx context.Context, task moveTask) (moveTask, error) {
	if r.s.clock.Since(r.wrote) >= moveProgress {
		return r.save(ctx, "", "")
	}
	t := r.s.tasks.Get(r.scope, r.list).find(r.id)
	if t == nil || !t.active() {
		return task, errTaskEnded
	}
	return *t, nil
}

// end writes the task's last state and returns errTaskEnded.
func (r *taskRun) end(ctx context.Context, status, reason string) error {
	if _, err := r.save(ctx, status, reason); err != nil {
		return err
	}
	return errTaskEnded
}

// save writes progress and lease, and a new state when there is one.
func (r *taskRun) save(ctx context.Context, status, reason string) (moveTask, error) {
	var out moveTask
	now := r.s.clock.Now()
	_, err := r.s.tasks.Change(ctx, r.scope, r.list, func(_ store.Tx, cur *taskList) (*taskList, error) {
		t := cur.find(r.id)
		if t == nil || !t.active() {
			return nil, errTaskEnded
		}
		if r.s.shared && t.Owner != "" && t.Owner != r.s.node && now.Before(t.LeaseUntil) {
			return nil, errTaskEnded
		}
		t.Moved += r.moved - r.saved
		t.Owner, t.LeaseUntil = r.s.node, now.Add(moveLease)
		if status != "" {
			t.Status, t.FailureReason = status, reason
		}
		out = *t
		return cur, nil
	})
	if err != nil {
		if !errors.Is(err, errTaskEnded) {
			err = fmt.Errorf("write move task %s: %w", r.id, err)
		}
		return out, err
	}
	r.saved, r.wrote = r.moved, now
	return out, nil
}
