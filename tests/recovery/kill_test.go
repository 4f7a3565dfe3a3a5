package recovery

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// killAfter starts the program in a folder and kills it a moment later, however
// far it got. It reports whether it was ready by then.
func killAfter(t *testing.T, dir string, moment time.Duration) (ready bool) {
	t.Helper()
	var says strings.Builder
	cmd := exec.Command(harness.Binary(t), "dev", "--data", dir, "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0")
	cmd.Stderr = &says
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	timer := time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	line, _ := bufio.NewReader(out).ReadString('\n')
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("the program ended by itself in a folder of a killed one: %v\n%s", err, says.String())
	}
	return strings.HasPrefix(line, "sestina: ready")
}

// TestKilledWhileStarting: whenever the program is killed while it makes its
// folder, database, certificates and keys, the next start goes well. So it does
// in a folder that has been used before, and nothing is gone from it.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel()
	fresh := filepath.Join(t.TempDir(), "data")
	for n := range 24 {
		if killAfter(t, fresh, time.Duration(2+rand.IntN(60))*time.Millisecond) && n%2 == 0 {
			check(t, os.RemoveAll(fresh)) // begin anew now and then
		}
	}
	furnish(t, harness.Start(t, "--data", fresh)).Stop()

	b := newBed(t)
	ids := b.send(t, 3)
	b.Kill()
	for range 12 {
		killAfter(t, b.Dir, time.Duration(2+rand.IntN(60))*time.Millisecond)
	}
	b.Restart()
	h := harness.NewHook(t)
	b.subscribe(t, h) // needs the keys
	b.collect(t, h, expected(b.send(t, 1), "Send", "Delivery"))
	for _, id := range ids {
		b.Own(t.Context(), "GET", "messages/"+id+"/raw", "")
	}
}

// TestKilledWhileStopping: a program that is killed in the middle of a clean
// stop under load has lost nothing that it accepted.
func TestKilledWhileStopping(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	var ids []string
	for range 6 {
		got := make(chan string, 10000)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{}, 4)
		for i := range 4 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for ctx.Err() == nil {
					var id string
					var err error
					if i%2 == 0 {
						id, err = b.trySend(ctx, "lena@example.net", strings.Repeat("hello ", i*10000))
					} else {
						id, err = b.smtpSend(smtpMessage)
					}
					if err != nil {
						return
					}
					got <- id
				}
			}()
		}
		for range 10 {
			ids = append(ids, <-got)
		}
		check(t, syscall.Kill(b.PID(), syscall.SIGTERM))
		moment := time.NewTimer(time.Duration(rand.IntN(30)) * time.Millisecond)
		<-moment.C
		b.Kill()
		stop()
		for range 4 {
			<-ended
		}
		close(got)
		for id := range got {
			ids = append(ids, id)
		}
		b.Restart()
	}
	b.collect(t, h, expected(ids, "Send", "Delivery"))
}
