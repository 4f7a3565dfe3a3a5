package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing/iotest"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var bodyTests = []test{
	{"ComesBackWhateverItsSize", testBodySizes},
	{"UnknownSize", testBodyUnknownSize},
	{"StagedBodyIsNotThereYet", testBodyStaged},
	{"WrongSizeIsRefused", testBodyWrongSize},
	{"FailingReaderIsReported", testBodyReader},
	{"Deleted", testDeleteBody},
	{"ManyAtOnce", testManyBodies},
}

// bytesOf returns n bytes that depend on n only.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// accept stages a body and writes its message.
func (e *env) accept(id sestina.ID, body []byte) {
	e.t.Helper()
	e.ok(e.tryAccept(id, body))
}

// tryAccept is accept for goroutines other than the test's.
func (e *env) tryAccept(id sestina.ID, body []byte) error {
	b, err := e.Stage(e.ctx, id, int64(len(body)), bytes.NewReader(body))
	if err != nil {
		return err
	}
	m := messageWith(id)
	m.Body, m.Size = b, b.Size
	return e.Do(e.ctx, &store.Write{Accepting: true, Effects: store.Effects{Messages: []store.NewMessage{m}}})
}

func (e *env) body(id sestina.ID) []byte {
	e.t.Helper()
	r, err := e.OpenBody(e.ctx, id)
	e.ok(err)
	b, err := io.ReadAll(r)
	e.ok(err)
	e.ok(r.Close())
	return b
}

// noBody wants a body to be gone.
func (e *env) noBody(id sestina.ID) {
	e.t.Helper()
	_, err := e.OpenBody(e.ctx, id)
	e.is(err, store.ErrNotFound)
}

// sizes are bodies around the border between inline and not.
var sizes = []int{0, 1, 5000, store.InlineBody - 1, store.InlineBody, store.InlineBody + 1, 1 << 20}

func testBodySizes(e *env) {
	for _, n := range sizes {
		id := e.id()
		e.accept(id, bytesOf(n))
		m, err := e.Message(e.ctx, virginia, id)
		e.ok(err)
		e.equal(m.Size, int64(n))
		if !bytes.Equal(e.body(id), bytesOf(n)) {
			e.t.Errorf("the body of %d bytes is not as it was", n)
		}
	}
}

func testBodyUnknownSize(e *env) {
	for _, n := range sizes {
		id := e.id()
		b, err := e.Stage(e.ctx, id, -1, iotest.HalfReader(bytes.NewReader(bytesOf(n))))
		e.ok(err)
		e.equal(b.Size, int64(n))
		m := messageWith(id)
		m.Body = b
		e.write(store.Effects{Messages: []store.NewMessage{m}})
		if !bytes.Equal(e.body(id), bytesOf(n)) {
			e.t.Errorf("the body of %d bytes is not as it was", n)
		}
	}
}

func testBodyStaged(e *env) {
	for _, n := range sizes {
		id := e.id()
		_, err := e.Stage(e.ctx, id, int64(n), bytes.NewReader(bytesOf(n)))
		e.ok(err)
		e.noBody(id)
	}
}

func testBodyWrongSize(e *env) {
	for _, n := range sizes[1:] {
		id := e.id()
		_, err := e.Stage(e.ctx, id, int64(n), bytes.NewReader(bytesOf(n-1)))
		e.is(err, io.ErrUnexpectedEOF)
		_, err = e.Stage(e.ctx, id, int64(n-1), bytes.NewReader(bytesOf(n)))
		e.is(err, io.ErrUnexpectedEOF)
	}
}

func testBodyReader(e *env) {
	broken := errors.New("the sender went away")
	for _, n := range []int{10, store.InlineBody * 3} {
		r := io.MultiReader(bytes.NewReader(bytesOf(n)), iotest.ErrReader(broken))
		_, err := e.Stage(e.ctx, e.id(), int64(n+1), r)
		e.is(err, broken)
		if errors.Is(err, store.ErrUnavailable) {
			e.t.Error("the sender's fault is given as the store's")
		}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, err := e.Stage(ctx, e.id(), 5, bytes.NewReader(bytesOf(5)))
	e.is(err, context.Canceled)
}

func testDeleteBody(e *env) {
	for _, n := range sizes {
		id := e.id()
		e.accept(id, bytesOf(n))
		e.ok(e.DeleteBody(e.ctx, id))
		e.noBody(id)
		_, err := e.Message(e.ctx, virginia, id)
		e.ok(err)
		e.ok(e.DeleteBody(e.ctx, id))
	}
	e.ok(e.DeleteBody(e.ctx, e.id()))
}

func testManyBodies(e *env) {
	ids := make([]sestina.ID, 24)
	parallel(len(ids), func(i int) {
		ids[i] = e.id()
		if err := e.tryAccept(ids[i], bytesOf(store.InlineBody-12+i)); err != nil {
			e.t.Errorf("accept body %d: %v", i, err)
		}
	})
	for i, id := range ids {
		if !bytes.Equal(e.body(id), bytesOf(store.InlineBody-12+i)) {
			e.t.Errorf("body %d is not as it was", i)
		}
	}
}
