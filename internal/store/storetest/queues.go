package storetest

import (
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var queueTests = []test{
	{"MessageComesBackAsSent", testQueueRoundTrip},
	{"OldestFirst", testQueueOrder},
	{"HiddenUntilVisibilityEnds", testVisibility},
	{"DelayedMessages", testDelayed},
	{"ReceiptsChange", testReceipts},
	{"Delete", testDeleteQueued},
	{"DeleteStrictly", testDeleteStrict},
	{"HideLongerOrShow", testHideQueued},
	{"NoVisibilityTimeout", testNoVisibility},
	{"TooManyReceivesGoToTheDeadLetterQueue", testDeadLetterQueue},
	{"DeadLettersKeepTheirAge", testDeadLetterAge},
	{"DeleteStrictlyWhileHidden", testDeleteStrictHidden},
	{"HideWhatIsGone", testHideGone},
	{"Expired", testExpired},
	{"Purge", testPurge},
	{"MoveToAQueue", testMoveTo},
	{"MoveBackToSources", testMoveBack},
	{"MovedMessagesAreNew", testMoveAnew},
	{"Peek", testPeek},
	{"CountsAndNextVisible", testQueueCounts},
	{"ParallelReceiversNeverShare", testReceiveParallel},
	{"DuplicatesAreNotAdded", testDedup},
	{"DuplicatesPerGroup", testDedupPerGroup},
	{"DuplicatesAmongEffects", testDedupEffects},
	{"SequenceRises", testSequence},
}

// queued returns a message for a queue, sent and visible at start.
func (e *env) queued(queue sestina.ID) store.QueueMessage {
	id := e.id()
	return store.QueueMessage{
		ID: id, Queue: queue, MessageID: id.String(), Body: []byte("body"), SentAt: start, VisibleAt: start,
		ExpiresAt: start.Add(96 * time.Hour),
	}
}

// send sends messages and returns the results.
func (e *env) send(queue sestina.ID, messages ...store.QueueMessage) []store.QueueSent {
	e.t.Helper()
	c := &store.SendQueued{Messages: messages}
	e.do(c)
	e.equal(len(c.Results), len(messages))
	return c.Results
}

// fill sends n messages to a queue.
func (e *env) fill(queue sestina.ID, n int) []store.QueueMessage {
	e.t.Helper()
	messages := make([]store.QueueMessage, n)
	for i := range messages {
		messages[i] = e.queued(queue)
	}
	e.send(queue, messages...)
	return messages
}

// receive takes messages at start, hiding them for 30 seconds.
func (e *env) receive(queue sestina.ID, n int) []store.QueueMessage {
	e.t.Helper()
	return e.receiveAt(queue, n, start)
}

func (e *env) receiveAt(queue sestina.ID, n int, now time.Time) []store.QueueMessage {
	e.t.Helper()
	c := &store.ReceiveQueued{Queue: queue, Max: n, Now: now, Visibility: 30 * time.Second}
	e.do(c)
	return c.Messages
}

func queuedIDs(messages []store.QueueMessage) []sestina.ID {
	out := []sestina.ID{}
	for _, m := range messages {
		out = append(out, m.ID)
	}
	return out
}

func receipts(messages ...store.QueueMessage) []store.Receipt {
	var out []store.Receipt
	for _, m := range messages {
		out = append(out, store.Receipt{ID: m.ID, Receipt: m.Receipt})
	}
	return out
}

func testQueueRoundTrip(e *env) {
	q := e.id()
	want := store.QueueMessage{
		ID: e.id(), Queue: q, MessageID: "public id", Body: []byte("bödy"), Attributes: []byte(`{"a":1}`),
		SentAt: start.Add(-time.Second), VisibleAt: start, ExpiresAt: start.Add(time.Hour), GroupID: "group",
		DedupID: "dedup", Sender: "AIDA", SourceQueue: "arn:aws:sqs:us-east-1:000000000000:x",
	}
	sent := e.send(q, want)
	e.equal(sent[0].MessageID, "public id")
	e.equal(sent[0].Duplicate, false)
	got := e.receive(q, 10)
	e.equal(len(got), 1)
	if got[0].Receipt == 0 {
		e.t.Fatal("no receipt")
	}
	want.Seq, want.Receipt = sent[0].Seq, got[0].Receipt
	want.VisibleAt, want.Receives, want.FirstReceived = start.Add(30*time.Second), 1, start
	e.equal(got[0], want)
}

func testQueueOrder(e *env) {
	q := e.id()
	first := e.fill(q, 3)
	earlier := e.queued(q)
	earlier.VisibleAt = start.Add(-time.Second)
	e.send(q, earlier)
	e.equal(queuedIDs(e.receive(q, 2)), []sestina.ID{earlier.ID, first[0].ID})
	e.equal(queuedIDs(e.receive(q, 10)), queuedIDs(first[1:]))
}

func testVisibility(e *env) {
	q := e.id()
	sent := e.fill(q, 1)
	first := e.receive(q, 1)[0]
	end := start.Add(30 * time.Second)
	e.equal(len(e.receiveAt(q, 1, end.Add(-time.Millisecond))), 0)
	again := e.receiveAt(q, 1, end)
	e.equal(queuedIDs(again), queuedIDs(sent))
	e.equal(again[0].Receives, 2)
	e.equal(again[0].FirstReceived, first.FirstReceived)
	if again[0].Receipt == first.Receipt {
		e.t.Fatal("the receipt did not change")
	}
}

func testDelayed(e *env) {
	q := e.id()
	m := e.queued(q)
	m.VisibleAt = start.Add(10 * time.Second)
	e.send(q, m)
	e.equal(len(e.receiveAt(q, 1, start.Add(9*time.Second))), 0)
	e.equal(len(e.receiveAt(q, 1, start.Add(10*time.Second))), 1)
}

func testReceipts(e *env) {
	q := e.id()
	e.fill(q, 1)
	old := e.receive(q, 1)[0]
	later := start.Add(time.Minute)
	e.receiveAt(q, 1, later)
	hide := &store.HideQueued{Queue: q, Receipts: receipts(old), Until: []time.Time{later}, Now: later}
	e.do(hide)
	e.equal(hide.InFlight, []bool{false}) // another holds it now
}

func testDeleteQueued(e *env) {
	q, elsewhere := e.id(), e.id()
	e.fill(q, 3)
	got := e.receive(q, 3)
	wrong := &store.DeleteQueued{Queue: elsewhere, Receipts: receipts(got[0])}
	e.do(wrong)
	visible, inFlight, _, err := e.QueueCounts(e.ctx, q, start)
	e.ok(err)
	e.equal([]int{visible, inFlight}, []int{0, 3})

	gone := got[0]
	gone.ID = e.id()
	c := &store.DeleteQueued{Queue: q, Receipts: receipts(got[0], got[1], gone)}
	e.do(c)
	e.equal(c.Deleted, []bool{true, true, true})
	c = &store.DeleteQueued{Queue: q, Receipts: receipts(got[0])}
	e.do(c)
	e.equal(c.Deleted, []bool{true})
	e.equal(queuedIDs(e.receiveAt(q, 10, start.Add(time.Hour))), queuedIDs(got[2:]))
}

func testDeleteStrict(e *env) {
	q := e.id()
	e.fill(q, 1)
	old := e.receive(q, 1)[0]
	newest := e.receiveAt(q, 1, start.Add(time.Minute))[0]
	c := &store.DeleteQueued{Queue: q, Receipts: receipts(old), Strict: true}
	e.do(c)
	e.equal(c.Deleted, []bool{false})
	c.Receipts = receipts(newest)
	e.do(c)
	e.equal(c.Deleted, []bool{true})
	c.Receipts = receipts(old)
	e.do(c)
	e.equal(c.Deleted, []bool{true}) // it is gone
}

func testHideQueued(e *env) {
	q := e.id()
	e.fill(q, 2)
	got := e.receive(q, 2)
	never := e.fill(q, 1)[0]
	later := start.Add(10 * time.Minute)
	c := &store.HideQueued{Queue: q, Receipts: receipts(got[0], got[1], never), Until: []time.Time{later, start, later}, Now: start}
	e.do(c)
	e.equal(c.InFlight, []bool{true, true, false})
	e.equal(queuedIDs(e.receive(q, 10)), []sestina.ID{got[1].ID, never.ID})
	e.equal(len(e.receiveAt(q, 10, later.Add(-time.Millisecond))), 2)
	e.equal(queuedIDs(e.receiveAt(q, 1, later)), []sestina.ID{got[0].ID})

	e.do(&store.DeleteQueued{Queue: q, Receipts: receipts(got[1])})
	c = &store.HideQueued{Queue: q, Receipts: receipts(got[1]), Until: []time.Time{later}, Now: start}
	e.do(c)
	e.equal(c.InFlight, []bool{false})
}

// Messages that stay visible are still handed out once per receive.
func testNoVisibility(e *env) {
	q := e.id()
	sent := e.fill(q, 3)
	for range 2 {
		c := &store.ReceiveQueued{Queue: q, Max: 10, Now: start}
		e.do(c)
		e.equal(queuedIDs(c.Messages), queuedIDs(sent))
	}
}

func testDeadLetterQueue(e *env) {
	q, dead := e.id(), e.id()
	e.fill(q, 2)
	bad := e.receive(q, 1)[0]
	now := start.Add(time.Minute)
	c := &store.ReceiveQueued{Queue: q, Max: 10, Now: now, Visibility: time.Minute, MaxReceives: 1, DeadLetter: dead, SourceARN: "arn:source"}
	e.do(c)
	e.equal(len(c.Messages), 1)
	if c.Messages[0].ID == bad.ID {
		e.t.Fatal("a message was received too often")
	}
	moved := e.receiveAt(dead, 10, now)
	e.equal(queuedIDs(moved), []sestina.ID{bad.ID})
	e.equal(moved[0].SourceQueue, "arn:source")
	e.equal(moved[0].MessageID, bad.MessageID)
	e.equal(moved[0].SentAt, bad.SentAt)
	if moved[0].Seq <= c.Messages[0].Seq {
		e.t.Fatal("a moved message does not come last")
	}
	stay, err := e.PeekQueue(e.ctx, q, 10)
	e.ok(err)
	e.equal(queuedIDs(stay), queuedIDs(c.Messages))
}

func testExpired(e *env) {
	q := e.id()
	short, endless := e.queued(q), e.queued(q)
	short.ExpiresAt, endless.ExpiresAt = start.Add(time.Minute), time.Time{}
	e.send(q, short, endless)
	end := start.Add(time.Minute)
	visible, _, _, err := e.QueueCounts(e.ctx, q, end)
	e.ok(err)
	e.equal(visible, 1)
	got := e.receiveAt(q, 10, end)
	e.equal(queuedIDs(got), []sestina.ID{endless.ID})
	e.equal(got[0].ExpiresAt.IsZero(), true)
	n, err := e.Sweep(e.ctx, store.Retention{QueueNow: end.Add(time.Millisecond)})
	e.ok(err)
	e.equal(n, 1)
	stay, err := e.PeekQueue(e.ctx, q, 10)
	e.ok(err)
	e.equal(queuedIDs(stay), []sestina.ID{endless.ID})
}

func testPurge(e *env) {
	q, keep := e.id(), e.id()
	e.fill(q, 1203)
	e.receive(q, 5)
	e.fill(keep, 1)
	c := &store.PurgeQueued{Queue: q}
	e.do(c)
	e.equal(c.Deleted, 1203)
	left, err := e.PeekQueue(e.ctx, q, 10)
	e.ok(err)
	e.equal(len(left), 0)
	e.equal(len(e.receive(keep, 10)), 1)
}

func testMoveTo(e *env) {
	from, to := e.id(), e.id()
	sent := e.fill(from, 5)
	hidden := e.receive(from, 1)
	now := start.Add(time.Second)
	c := &store.MoveQueued{From: from, To: to, Max: 3, Now: now}
	e.do(c)
	e.equal(c.Moved, 3)
	e.do(c)
	e.equal(c.Moved, 1)
	e.do(c)
	e.equal(c.Moved, 0)
	e.equal(queuedIDs(e.receiveAt(to, 10, now)), queuedIDs(sent[1:]))
	left, err := e.PeekQueue(e.ctx, from, 10)
	e.ok(err)
	e.equal(queuedIDs(left), queuedIDs(hidden))
}

func testMoveBack(e *env) {
	dead, one, two := e.id(), e.id(), e.id()
	a, b, unknown := e.queued(dead), e.queued(dead), e.queued(dead)
	a.SourceQueue, b.SourceQueue, unknown.SourceQueue = "arn:one", "arn:two", "arn:gone"
	a.Receives = 7
	e.send(dead, unknown, a, b)
	c := &store.MoveQueued{From: dead, Sources: map[string]sestina.ID{"arn:one": one, "arn:two": two}, Max: 10, Now: start}
	e.do(c)
	e.equal(c.Moved, 2)
	got := e.receive(one, 10)
	e.equal(queuedIDs(got), []sestina.ID{a.ID})
	e.equal(got[0].Receives, 1) // counted anew
	e.equal(queuedIDs(e.receive(two, 10)), []sestina.ID{b.ID})
	e.equal(queuedIDs(e.receive(dead, 10)), []sestina.ID{unknown.ID})
}

func testPeek(e *env) {
	q := e.id()
	sent := e.fill(q, 4)
	e.receive(q, 2)
	for range 2 { // it changes nothing
		got, err := e.PeekQueue(e.ctx, q, 3)
		e.ok(err)
		e.equal(queuedIDs(got), queuedIDs(sent[:3]))
	}
}

func testQueueCounts(e *env) {
	q := e.id()
	counts := func(now time.Time) [3]int {
		visible, inFlight, delayed, err := e.QueueCounts(e.ctx, q, now)
		e.ok(err)
		return [3]int{visible, inFlight, delayed}
	}
	e.equal(counts(start), [3]int{})
	_, err := e.NextVisible(e.ctx, q, start)
	e.is(err, store.ErrNotFound)
	e.fill(q, 3)
	late := e.queued(q)
	late.VisibleAt = start.Add(10 * time.Second)
	e.send(q, late)
	e.fill(e.id(), 2)
	e.receive(q, 1)
	e.equal(counts(start), [3]int{2, 1, 1})
	next, err := e.NextVisible(e.ctx, q, start)
	e.ok(err)
	e.equal(next, late.VisibleAt)
	next, err = e.NextVisible(e.ctx, q, late.VisibleAt)
	e.ok(err)
	e.equal(next, start.Add(30*time.Second))
	e.equal(counts(start.Add(time.Minute)), [3]int{4, 0, 0})
}

func testReceiveParallel(e *env) {
	q := e.id()
	const n = 100
	e.fill(q, n)
	var mu sync.Mutex
	seen := map[sestina.ID]int{}
	parallel(6, func(i int) {
		for {
			c := &store.ReceiveQueued{Queue: q, Max: 1 + i, Now: start, Visibility: time.Minute}
			if err := e.Do(e.ctx, c); err != nil {
				e.t.Errorf("receive: %v", err)
				return
			}
			if len(c.Messages) == 0 {
				return
			}
			mu.Lock()
			for _, m := range c.Messages {
				seen[m.ID]++
			}
			mu.Unlock()
		}
	})
	e.equal(len(seen), n)
	for id, times := range seen {
		if times != 1 {
			e.t.Errorf("message %s was handed out %d times", id, times)
		}
	}
}

func testDedup(e *env) {
	q, elsewhere := e.id(), e.id()
	send := func(queue sestina.ID, dedup string, at time.Time) store.QueueSent {
		m := e.queued(queue)
		m.GroupID, m.DedupID, m.SentAt = "g", dedup, at
		return e.send(queue, m)[0]
	}
	original := send(q, "d", start)
	duplicate := send(q, "d", start.Add(store.DedupWindow-time.Millisecond))
	e.equal(duplicate, store.QueueSent{MessageID: original.MessageID, Seq: original.Seq, Duplicate: true})
	e.equal(send(q, "other", start).Duplicate, false)
	e.equal(send(elsewhere, "d", start).Duplicate, false)

	// Remembered even when the message is gone, and by effects too.
	e.do(&store.PurgeQueued{Queue: q})
	e.equal(send(q, "d", start).Duplicate, true)
	m := e.queued(q)
	m.GroupID, m.DedupID = "g", "d"
	e.write(store.Effects{Queued: []store.QueueMessage{m}})
	left, err := e.PeekQueue(e.ctx, q, 10)
	e.ok(err)
	e.equal(len(left), 0)

	again := send(q, "d", start.Add(store.DedupWindow))
	e.equal(again.Duplicate, false)
	_, err = e.Sweep(e.ctx, store.Retention{QueueNow: start.Add(2 * store.DedupWindow)})
	e.ok(err)
	e.equal(send(q, "d", start.Add(store.DedupWindow+time.Minute)).Duplicate, true)

	// Two of one command.
	two := []store.QueueMessage{e.queued(elsewhere), e.queued(elsewhere)}
	two[0].DedupID, two[1].DedupID = "twice", "twice"
	sent := e.send(elsewhere, two...)
	e.equal([]bool{sent[0].Duplicate, sent[1].Duplicate}, []bool{false, true})
}

func testDedupPerGroup(e *env) {
	q := e.id()
	message := func(group string) store.QueueMessage {
		m := e.queued(q)
		m.GroupID, m.DedupID = group, "d"
		return m
	}
	c := &store.SendQueued{Messages: []store.QueueMessage{message("a"), message("b"), message("a")}, PerGroup: true}
	e.do(c)
	var got []bool
	for _, r := range c.Results {
		got = append(got, r.Duplicate)
	}
	e.equal(got, []bool{false, false, true})
}

func testSequence(e *env) {
	a, b := e.id(), e.id()
	last := int64(0)
	for i := range 6 {
		q := a
		if i%2 == 0 {
			q = b
		}
		seq := e.send(q, e.queued(q))[0].Seq
		if seq <= last {
			e.t.Fatalf("sequence went from %d to %d", last, seq)
		}
		last = seq
		e.do(&store.PurgeQueued{Queue: q}) // a number is never used again
	}
}

var fifoTests = []test{
	{"InOrder", testFIFOOrder},
	{"GroupInFlightIsBlocked", testFIFOBlocked},
	{"GroupIsFreeWhenDeleted", testFIFODeleted},
	{"SeveralOfAGroupInOneReceive", testFIFOSeveral},
	{"OrderHoldsAfterVisibilityEnds", testFIFOAgain},
	{"DelayedMessageBlocksNobody", testFIFODelayed},
	{"DeadLetterUnblocks", testFIFODeadLetter},
}

// sendFIFO sends one message per group name and returns them.
func (e *env) sendFIFO(q sestina.ID, groups ...string) []store.QueueMessage {
	e.t.Helper()
	var out []store.QueueMessage
	for _, g := range groups {
		m := e.queued(q)
		m.GroupID = g
		out = append(out, m)
	}
	e.send(q, out...)
	return out
}

func (e *env) receiveFIFO(q sestina.ID, n int, now time.Time) []store.QueueMessage {
	e.t.Helper()
	c := &store.ReceiveQueued{Queue: q, Max: n, Now: now, Visibility: 30 * time.Second, FIFO: true}
	e.do(c)
	return c.Messages
}

func testFIFOOrder(e *env) {
	q := e.id()
	m := e.sendFIFO(q, "a", "b", "a", "c")
	e.equal(queuedIDs(e.receiveFIFO(q, 10, start)), queuedIDs(m))
}

func testFIFOBlocked(e *env) {
	q := e.id()
	m := e.sendFIFO(q, "a", "a", "b", "a")
	e.equal(queuedIDs(e.receiveFIFO(q, 1, start)), queuedIDs(m[:1]))
	e.equal(queuedIDs(e.receiveFIFO(q, 10, start)), queuedIDs(m[2:3]))
	e.equal(len(e.receiveFIFO(q, 10, start)), 0)
}

func testFIFODeleted(e *env) {
	q := e.id()
	m := e.sendFIFO(q, "a", "a")
	first := e.receiveFIFO(q, 1, start)
	r := e.listen()
	c := &store.DeleteQueued{Queue: q, Receipts: receipts(first...), Strict: true}
	e.do(c)
	e.equal(c.Deleted, []bool{true})
	heard, _ := r.take()
	e.equal(heard.Queues, []sestina.ID{q}) // the next of the group can be received
	e.equal(queuedIDs(e.receiveFIFO(q, 1, start)), queuedIDs(m[1:]))
}

func testFIFOSeveral(e *env) {
	q := e.id()
	m := e.sendFIFO(q, "a", "a", "a")
	got := e.receiveFIFO(q, 2, start)
	e.equal(queuedIDs(got), queuedIDs(m[:2]))
	// One of the two deleted: the other still blocks the group.
	e.do(&store.DeleteQueued{Queue: q, Receipts: receipts(got[0]), Strict: true})
	e.equal(len(e.receiveFIFO(q, 2, start)), 0)
}

func testFIFOAgain(e *env) {
	q := e.id()
	m := e.sendFIFO(q, "a", "a", "b")
	e.receiveFIFO(q, 1, start)
	e.equal(queuedIDs(e.receiveFIFO(q, 10, start.Add(30*time.Second))), queuedIDs(m))
}

func testFIFODelayed(e *env) {
	q := e.id()
	late := e.queued(q)
	late.GroupID, late.VisibleAt = "a", start.Add(time.Minute)
	e.send(q, late)
	m := e.sendFIFO(q, "a", "b")
	e.equal(queuedIDs(e.receiveFIFO(q, 10, start)), queuedIDs(m))
}

func testFIFODeadLetter(e *env) {
	q, dead := e.id(), e.id()
	m := e.sendFIFO(q, "a", "a", "b")
	e.receiveFIFO(q, 1, start)
	now := start.Add(time.Minute)
	c := &store.ReceiveQueued{Queue: q, Max: 10, Now: now, Visibility: time.Minute, FIFO: true, MaxReceives: 1, DeadLetter: dead}
	e.do(c)
	e.equal(queuedIDs(c.Messages), queuedIDs(m[1:]))
	e.equal(queuedIDs(e.receiveFIFO(dead, 10, now)), queuedIDs(m[:1]))
}

func testDeadLetterAge(e *env) {
	now := start.Add(time.Minute)
	for _, fifo := range []bool{false, true} {
		q, dead := e.id(), e.id()
		m := e.queued(q)
		m.GroupID = "g"
		e.send(q, m)
		c := &store.ReceiveQueued{Queue: q, Max: 1, Now: start, FIFO: fifo}
		e.do(c)
		seq := c.Messages[0].Seq
		c = &store.ReceiveQueued{
			Queue: q, Max: 1, Now: now, FIFO: fifo, MaxReceives: 1, DeadLetter: dead, DeadLetterRetention: time.Hour,
		}
		e.do(c)
		e.equal(len(c.Messages), 0)
		got, err := e.PeekQueue(e.ctx, dead, 1)
		e.ok(err)
		sent := start
		if fifo {
			sent = now
		}
		e.equal(got[0].SentAt, sent)
		e.equal(got[0].ExpiresAt, sent.Add(time.Hour))
		e.equal(got[0].VisibleAt, now)
		e.equal(got[0].Receives, 1)
		e.equal(got[0].FirstReceived, start)
		if got[0].Seq <= seq {
			e.t.Fatal("a dead letter has its old sequence number")
		}
	}
}

func testDeleteStrictHidden(e *env) {
	q := e.id()
	e.fill(q, 1)
	m := e.receive(q, 1)[0]
	end := start.Add(30 * time.Second)
	c := &store.DeleteQueued{Queue: q, Receipts: receipts(m), Strict: true, Now: end}
	e.do(c)
	e.equal(c.Deleted, []bool{false}) // visible again
	c.Now = end.Add(-time.Millisecond)
	e.do(c)
	e.equal(c.Deleted, []bool{true})
}

func testHideGone(e *env) {
	q := e.id()
	e.fill(q, 3)
	got := e.receive(q, 3)
	e.do(&store.DeleteQueued{Queue: q, Receipts: receipts(got[0])})
	stale := receipts(got[1])
	stale[0].Receipt++
	until := []time.Time{start, start, start}
	c := &store.HideQueued{Queue: q, Receipts: append(append(receipts(got[0]), stale...), receipts(got[2])...), Until: until, Now: start}
	e.do(c)
	e.equal(c.InFlight, []bool{false, false, true})
	e.equal(c.Gone, []bool{true, false, false})
}

func testMoveAnew(e *env) {
	dead, one := e.id(), e.id()
	a, b, stray := e.queued(dead), e.queued(dead), e.queued(dead)
	a.SourceQueue, b.SourceQueue, stray.SourceQueue = "arn:one", "arn:one", ""
	a.Receives, a.FirstReceived = 3, start
	e.send(dead, a, stray, b)
	now := start.Add(time.Hour)
	c := &store.MoveQueued{
		From: dead, Sources: map[string]sestina.ID{"arn:one": one}, Retention: map[sestina.ID]time.Duration{one: time.Minute},
		MessageIDs: []string{"new-1", "new-2", "new-3"}, Max: 3, Now: now,
	}
	e.do(c)
	e.equal(c.Moved, 2)
	if c.Blocked == nil || *c.Blocked != "" {
		e.t.Fatalf("blocked: %v", c.Blocked)
	}
	got, err := e.PeekQueue(e.ctx, one, 10)
	e.ok(err)
	e.equal(len(got), 2)
	for i, m := range got {
		e.equal(m.MessageID, c.MessageIDs[i])
		e.equal(m.SentAt, now)
		e.equal(m.VisibleAt, now)
		e.equal(m.ExpiresAt, now.Add(time.Minute))
		e.equal(m.Receives, 0)
		e.equal(m.FirstReceived.IsZero(), true)
		e.equal(m.SourceQueue, "")
	}
	c.From, c.Sources = e.id(), nil
	e.do(c)
	if c.Moved != 0 || c.Blocked != nil {
		e.t.Fatalf("an empty queue: moved %d, blocked %v", c.Moved, c.Blocked)
	}
}

func testDedupEffects(e *env) {
	q := e.id()
	message := func(group string, perGroup bool) store.QueueMessage {
		m := e.queued(q)
		m.GroupID, m.DedupID, m.DedupPerGroup = group, "d", perGroup
		return m
	}
	first, other := message("a", true), message("b", true)
	e.do(&store.Write{Effects: store.Effects{Queued: []store.QueueMessage{first, other, message("a", true)}}})
	e.do(&store.Write{Effects: store.Effects{Queued: []store.QueueMessage{message("b", true)}}})
	got, err := e.PeekQueue(e.ctx, q, 10)
	e.ok(err)
	e.equal(queuedIDs(got), []sestina.ID{first.ID, other.ID})
}
