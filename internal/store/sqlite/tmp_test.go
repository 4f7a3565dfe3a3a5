package sqlite_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

func TestTmpWAL(t *testing.T) {
	s := openStore(t, sqlite.Options{Dir: t.TempDir()})
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "RssAnon") {
			t.Log(l)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var g sestina.IDs
	var wg sync.WaitGroup
	id0 := g.New(time.Now())
	s.Do(ctx, &store.Write{Effects: message(id0, store.Body{ID: id0, Size: 5000, Inline: make([]byte, 5000)})})
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s.Message(context.Background(), crashScope, id0)
				s.Messages(context.Background(), store.MessageFilter{Limit: 100, Subject: "x"})
			}
		})
	}
	var max int64
	t0 := time.Now()
	var cw sync.WaitGroup
	for range 16 {
		cw.Go(func() {
			for range 1500 {
				id := g.New(time.Now())
				if err := s.Do(context.Background(), &store.Write{Effects: message(id, store.Body{ID: id, Size: 5000, Inline: make([]byte, 5000)})}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { cw.Wait(); cancel() }()
	for ctx.Err() == nil {
		if w := s.Stats().WAL; w > max {
			max = w
		}
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
	t.Logf("max wal %d MB, %v, %+v", max>>20, time.Since(t0), s.Stats())
	b, _ = os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "RssAnon") {
			t.Log(l)
		}
	}
}
