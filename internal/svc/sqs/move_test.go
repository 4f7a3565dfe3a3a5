package sqs

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// dead makes a source queue and its dead-letter queue with n dead letters.
func (e *env) dead(n int) (source, dlq *string) {
	e.t.Helper()
	dlq = e.create("dlq", "MessageRetentionPeriod", "1209600")
	source = e.create("q", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq")+`","maxReceiveCount":1}`)
	for i := range n {
		e.send(source, fmt.Sprint("m", i))
	}
	for range (n + 9) / 10 * 2 {
		e.receive(source)
	}
	if got := e.depth(dlq); got[0] != fmt.Sprint(n) {
		e.t.Fatalf("%s dead letters, want %d", got[0], n)
	}
	return source, dlq
}

func (e *env) start(in sqs.StartMessageMoveTaskInput) (string, error) {
	out, err := e.StartMessageMoveTask(e.ctx, &in)
	if err != nil {
		return "", err
	}
	return *out.TaskHandle, nil
}

func (e *env) listTasks(n int32) []sqs.ListMessageMoveTasksResultEntry {
	e.t.Helper()
	return must[*sqs.ListMessageMoveTasksOutput](e.t)(e.ListMessageMoveTasks(e.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: new(e.arn("dlq")), MaxResults: &n})).Results
}

// runs starts Run and returns a function that stops it and waits for its end.
func (e *env) runs() (stop func()) {
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestMoveTask(t *testing.T) {
	t.Run("BackToTheSource", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			source, dlq := e.dead(12)
			before := must[[]store.QueueMessage](t)(e.store.PeekQueue(e.ctx, e.id("dlq"), 1))[0]
			e.pass(time.Minute)
			defer e.runs()()
			synctest.Wait()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq"))}))
			synctest.Wait()
			task := e.listTasks(1)[0]
			if *task.Status != "COMPLETED" || *task.ApproximateNumberOfMessagesMoved != 12 || *task.ApproximateNumberOfMessagesToMove != 12 ||
				task.TaskHandle != nil || task.DestinationArn != nil || *task.SourceArn != e.arn("dlq") {
				t.Errorf("task %+v", task)
			}
			if got := e.depth(dlq); got[0] != "0" {
				t.Errorf("%s dead letters left", got[0])
			}
			got := e.receive(source)
			sameBodies(t, got, "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9")
			// They are new messages.
			a := got[0].Attributes
			if *got[0].MessageId == before.MessageID || a["SentTimestamp"] == fmt.Sprint(before.SentAt.UnixMilli()) || a["ApproximateReceiveCount"] != "1" || a["DeadLetterQueueSourceArn"] != "" {
				t.Errorf("moved message %s: %v", *got[0].MessageId, a)
			}
			row := must[[]store.QueueMessage](t)(e.store.PeekQueue(e.ctx, e.id("q"), 1))[0]
			if d := row.ExpiresAt.Sub(row.SentAt); d != 345_600*time.Second {
				t.Errorf("retained for %s, the source queue says four days", d)
			}
		})
	})
	t.Run("ToAnotherQueue", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			source, _ := e.dead(2)
			other := e.create("other")
			defer e.runs()()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), DestinationArn: new(e.arn("other"))}))
			synctest.Wait()
			sameBodies(t, e.receive(other), "m0", "m1")
			sameBodies(t, e.receive(source))
			if task := e.listTasks(1)[0]; *task.DestinationArn != e.arn("other") || *task.Status != "COMPLETED" {
				t.Errorf("task %+v", task)
			}
		})
	})
	t.Run("NoFasterThanAsked", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			source, _ := e.dead(10)
			defer e.runs()()
			handle := must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), MaxNumberOfMessagesPerSecond: new(int32(2))}))
			e.pass(2100 * time.Millisecond)
			synctest.Wait()
			if got := e.depth(source)[0]; got != "5" {
				t.Errorf("%s messages moved in 2.1 seconds at 2 per second", got)
			}
			task := e.listTasks(1)[0]
			if *task.Status != "RUNNING" || *task.TaskHandle != handle || *task.MaxNumberOfMessagesPerSecond != 2 || *task.ApproximateNumberOfMessagesMoved < 3 {
				t.Errorf("task %+v", task)
			}
			_, err := e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq"))})
			refused(t, err, "InvalidParameterValueException", "There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
			e.pass(10 * time.Second)
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "COMPLETED" || *task.ApproximateNumberOfMessagesMoved != 10 {
				t.Errorf("task %+v", task)
			}
		})
	})
	t.Run("Cancelled", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			source, dlq := e.dead(10)
			defer e.runs()()
			handle := must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), MaxNumberOfMessagesPerSecond: new(int32(1))}))
			e.pass(2500 * time.Millisecond)
			out := must[*sqs.CancelMessageMoveTaskOutput](t)(e.CancelMessageMoveTask(e.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: &handle}))
			if n := *out.ApproximateNumberOfMessagesMoved; n < 2 || n > 3 {
				t.Errorf("cancelled after %d messages", n)
			}
			if task := e.listTasks(1)[0]; *task.Status != "CANCELLING" || task.TaskHandle != nil {
				t.Errorf("task %+v", task)
			}
			e.pass(2 * time.Second)
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "CANCELLED" || *task.ApproximateNumberOfMessagesMoved != 3 {
				t.Errorf("task %+v, moved %d", task, *task.ApproximateNumberOfMessagesMoved)
			}
			if a, b := e.depth(source)[0], e.depth(dlq)[0]; a != "3" || b != "7" {
				t.Errorf("%s moved, %s left", a, b)
			}
			_, err := e.CancelMessageMoveTask(e.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: &handle})
			refused(t, err, "ResourceNotFoundException", "Task does not exist.")
		})
	})
	t.Run("GoesOnAfterARestart", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			e := openEnv(t, filepath.Join(dir, "data"))
			e.dead(10)
			stop := e.runs()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), MaxNumberOfMessagesPerSecond: new(int32(1))}))
			e.pass(3500 * time.Millisecond)
			stop()
			if err := e.store.Close(); err != nil {
				t.Fatal(err)
			}
			e = openEnv(t, e.dir)
			if task := e.listTasks(1)[0]; *task.Status != "RUNNING" || *task.ApproximateNumberOfMessagesMoved != 4 {
				t.Errorf("task %+v, moved %d", task, *task.ApproximateNumberOfMessagesMoved)
			}
			stop = e.runs()
			e.pass(20 * time.Second)
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "COMPLETED" || *task.ApproximateNumberOfMessagesMoved != 10 {
				t.Errorf("task %+v, moved %d", task, *task.ApproximateNumberOfMessagesMoved)
			}
			stop()
			if err := e.store.Close(); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("FailsWithoutDestination", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			e.dead(5)
			other := e.create("other")
			defer e.runs()()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), DestinationArn: new(e.arn("other")), MaxNumberOfMessagesPerSecond: new(int32(1))}))
			e.pass(1500 * time.Millisecond)
			_ = must[*sqs.DeleteQueueOutput](t)(e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: other}))
			e.pass(2 * time.Second)
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "FAILED" || *task.FailureReason != "AWS.SimpleQueueService.NonExistentQueue" || *task.ApproximateNumberOfMessagesMoved != 2 {
				t.Errorf("task %+v, moved %d", task, *task.ApproximateNumberOfMessagesMoved)
			}
		})
	})
	t.Run("FailsAtAMessageFromNowhere", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			source, dlq := e.dead(2)
			e.send(dlq, "stray")
			defer e.runs()()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq"))}))
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "FAILED" || *task.FailureReason != "CouldNotDetermineMessageSource" || *task.ApproximateNumberOfMessagesMoved != 2 {
				t.Errorf("task %+v", task)
			}
			sameBodies(t, e.receive(source), "m0", "m1")
			sameBodies(t, e.receive(dlq), "stray")
		})
	})
	t.Run("EndsWithItsQueue", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, e *env) {
			_, dlq := e.dead(5)
			stop := e.runs()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq")), MaxNumberOfMessagesPerSecond: new(int32(1))}))
			synctest.Wait()
			_ = must[*sqs.DeleteQueueOutput](t)(e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: dlq}))
			e.pass(5 * time.Second)
			synctest.Wait()
			if len(e.running) != 0 {
				t.Error("the task is still worked on")
			}
			e.create("dlq")
			if got := e.listTasks(10); len(got) != 0 {
				t.Errorf("the new queue has tasks: %+v", got)
			}
			stop()
		})
	})
	t.Run("SurvivesAnUnavailableStore", func(t *testing.T) {
		flaky := &flakyStore{failures: 3}
		change := func(o *Options) { flaky.Store = o.Store; o.Store = flaky }
		bubble(t, change, func(t *testing.T, e *env) {
			source, _ := e.dead(3)
			defer e.runs()()
			_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq"))}))
			e.pass(10 * time.Second)
			synctest.Wait()
			if task := e.listTasks(1)[0]; *task.Status != "COMPLETED" || *task.ApproximateNumberOfMessagesMoved != 3 || flaky.failures != 0 {
				t.Errorf("task %+v", task)
			}
			sameBodies(t, e.receive(source), "m0", "m1", "m2")
		})
	})
}

// A flakyStore refuses the first moves.
type flakyStore struct {
	store.Store
	failures int
}

func (s *flakyStore) Do(ctx context.Context, c store.Command) error {
	if _, ok := c.(*store.MoveQueued); ok && s.failures > 0 {
		s.failures--
		return fmt.Errorf("move: %w", store.ErrUnavailable)
	}
	return s.Store.Do(ctx, c)
}

func TestMoveTaskOfAnotherNode(t *testing.T) {
	shared := func(o *Options) { o.Shared = true }
	bubble(t, shared, func(t *testing.T, e *env) {
		source, _ := e.dead(3)
		_ = must[string](t)(e.start(sqs.StartMessageMoveTaskInput{SourceArn: new(e.arn("dlq"))}))
		_ = must[*taskList](t)(e.tasks.Change(e.ctx, testScope, e.id("dlq").String(), func(_ store.Tx, cur *taskList) (*taskList, error) {
			cur.Tasks[0].Owner, cur.Tasks[0].LeaseUntil = "another node", e.clock.Now().Add(moveLease)
			return cur, nil
		}))
		defer e.runs()()
		e.pass(moveLease - time.Second)
		synctest.Wait()
		if got := e.depth(source)[0]; got != "0" {
			t.Fatalf("%s messages were moved while another node had the task", got)
		}
		// The other node is silent for too long.
		e.pass(moveLease + 2*time.Second)
		synctest.Wait()
		if task := e.listTasks(1)[0]; *task.Status != "COMPLETED" {
			t.Errorf("task %+v", task)
		}
	})
}

func TestMoveTaskRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.dead(1)
	e.create("other")
	e.fifo("other.fifo")
	const (
		ipv  = "InvalidParameterValueException"
		rnf  = "ResourceNotFoundException"
		same = "Destination queue must be another queue of the same type as the source queue."
	)
	resource := func(parameter string) string {
		return "The resource that you specified for the " + parameter + " parameter doesn't exist."
	}
	for _, c := range []struct {
		rule, source, destination string
		rate                      int32
		code, text                string
	}{
		{"NotADeadLetterQueue", e.arn("other"), "", 1, ipv, "Source queue must be configured as a Dead Letter Queue."},
		{"NoSource", e.arn("nothing"), "", 1, rnf, resource("SourceArn")},
		{"SourceIsNoARN", "dlq", "", 1, rnf, resource("SourceArn")},
		{"SourceOfOtherRegion", "arn:aws:sqs:eu-west-1:000000000000:dlq", "", 1, rnf, resource("SourceArn")},
		{"NoDestination", e.arn("dlq"), e.arn("nothing"), 1, rnf, resource("DestinationArn")},
		{"DestinationIsSource", e.arn("dlq"), e.arn("dlq"), 1, ipv, same},
		{"DestinationOfOtherType", e.arn("dlq"), e.arn("other.fifo"), 1, ipv, same},
		{"RateTooHigh", e.arn("dlq"), "", 501, ipv, "Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided."},
		{"RateZero", e.arn("dlq"), "", 0, ipv, "Value 0 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided."},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			in := sqs.StartMessageMoveTaskInput{SourceArn: &c.source, MaxNumberOfMessagesPerSecond: &c.rate}
			if c.destination != "" {
				in.DestinationArn = &c.destination
			}
			_, err := e.start(in)
			refused(t, err, c.code, c.text)
		})
	}
	cancel := func(handle string) error {
		_, err := e.CancelMessageMoveTask(e.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: &handle})
		return err
	}
	task := moveTask{ID: e.ids.New(e.clock.Now()), SourceARN: e.arn("dlq")}
	refused(t, cancel("garbage"), ipv, "Value for parameter TaskHandle is invalid.")
	refused(t, cancel("e30="), ipv, "Value for parameter TaskHandle is invalid.")
	refused(t, cancel(taskHandle(&task)), rnf, "Task does not exist.")
	task.SourceARN = e.arn("nothing")
	refused(t, cancel(taskHandle(&task)), rnf, resource("SourceArn"))
	if got := e.listTasks(10); got == nil || len(got) != 0 {
		t.Errorf("tasks %+v", got)
	}
	_, err := e.ListMessageMoveTasks(e.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: new(e.arn("dlq")), MaxResults: new(int32(11))})
	refused(t, err, ipv, "Value 11 for parameter MaxResults is invalid. Reason: Must be between 1 and 10, if provided.")
}

// Ten tasks of a queue are remembered, newest first.
func TestMoveTasksAreForgotten(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.dead(0)
	q, _ := e.byARN(e.arn("dlq"))
	var started []sestina.ID
	for range keptTasks + 2 {
		task := moveTask{SourceARN: q.arn(), Status: taskCompleted}
		if err := e.startTask(e.ctx, q, &task); err != nil {
			t.Fatal(err)
		}
		started = append(started, task.ID)
	}
	slices.Reverse(started)
	list := e.tasks.Get(testScope, q.ID.String())
	if len(list.Tasks) != keptTasks || len(e.listTasks(10)) != keptTasks {
		t.Fatalf("%d tasks", len(list.Tasks))
	}
	for i, task := range list.Tasks {
		if task.ID != started[i] {
			t.Errorf("task %d is %s, want %s", i, task.ID, started[i])
		}
	}
}

func FuzzTaskHandle(f *testing.F) {
	f.Add(taskHandle(&moveTask{ID: sestina.ID{1}, SourceARN: "arn:aws:sqs:us-east-1:000000000000:q"}))
	f.Add("e30=")
	f.Add("garbage")
	f.Fuzz(func(t *testing.T, s string) {
		id, arn, ok := parseTaskHandle(s)
		if !ok {
			return
		}
		again, sameARN, ok := parseTaskHandle(taskHandle(&moveTask{ID: id, SourceARN: arn}))
		if !ok || again != id || sameARN != arn {
			t.Fatalf("%q is %s of %q, then %s of %q", s, id, arn, again, sameARN)
		}
	})
}
