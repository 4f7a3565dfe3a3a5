//go:build !linux

package pgtest

import (
	"os"
	"os/exec"
)

func asServerUser(*exec.Cmd) {}

func giveAway(...string) error { return nil }

// interrupt asks the server to end.
func interrupt(p *os.Process, crash bool) error {
	if crash {
		return p.Kill()
	}
	return p.Signal(os.Interrupt) // fast shutdown
}
