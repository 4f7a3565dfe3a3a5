package sqlite

import (
	"context"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func TestSmoke(t *testing.T) {
	t0 := time.Now()
	s, err := Open(context.Background(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("open", time.Since(t0))
	var g sestina.IDs
	ctx := context.Background()
	id := g.New(time.Now())
	sc := sestina.Scope{Account: "0", Region: "r"}
	t0 = time.Now()
	err = s.Do(ctx, &store.Write{Effects: store.Effects{
		Messages: []store.NewMessage{{Message: store.Message{ID: id, Scope: sc, Mail: []byte("{}")}, Body: store.Body{ID: id, Size: 3, Inline: []byte("abc")}}},
		Units:    []store.Unit{{ID: g.New(time.Now()), Scope: sc, Kind: 1, Lane: "l", MessageID: id, Due: time.Now()}},
	}})
	t.Log("write", time.Since(t0), err)
	u, err := s.Claim(ctx, 1, "l", time.Now(), 10)
	t.Log(u, err)
	t.Log(s.Do(ctx, &store.Finish{Unit: u[0], State: store.Done, At: time.Now()}))
	t.Log(s.Do(ctx, &store.Finish{Unit: u[0], State: store.Done, At: time.Now()}))
	t.Log(s.Sweep(ctx, store.Retention{Bodies: time.Now(), Messages: time.Now(), Events: time.Now().Add(time.Hour), QueueNow: time.Now(), InboxCount: 1, InboxBytes: 5}))
	t.Log(s.Message(ctx, sc, id))
	t.Log(s.Ping(ctx), s.Reset(ctx), s.Close())
}
