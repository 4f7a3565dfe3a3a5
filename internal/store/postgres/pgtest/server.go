package pgtest

import (
	"errors"
	"os/exec"
	"runtime"
)

// A server is a running server process.
type server struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // how; valid then
}

// startServer starts a server. It ends with this process, however that ends,
// where the system can see to it: the thread that starts it is kept for as long
// as it runs.
func startServer(cmd *exec.Cmd) *server {
	s := &server{cmd: cmd, ended: make(chan struct{})}
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.ended)
		s.err = cmd.Start()
		close(started)
		if s.err == nil {
			s.err = cmd.Wait()
		}
	}()
	<-started
	return s
}

// stop ends the server and waits until it has.
func (s *server) stop(crash bool) error {
	select {
	case <-s.ended:
		return s.err
	default:
	}
	if err := interrupt(s.cmd.Process, crash); err != nil {
		return err
	}
	<-s.ended
	var exit *exec.ExitError
	if errors.As(s.err, &exit) && crash {
		return nil
	}
	return s.err
}
