package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// serverUser is whom root runs the server as, or nil.
func serverUser() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil // the server will say that it does not run as root
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// asServerUser makes cmd run as a user that the server accepts, and end when
// this process ends.
func asServerUser(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: serverUser(), Pdeathsig: syscall.SIGQUIT}
}

// giveAway makes files the server user's.
func giveAway(paths ...string) error {
	u := serverUser()
	if u == nil {
		return nil
	}
	for _, p := range paths {
		if err := os.Chown(p, int(u.Uid), int(u.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// interrupt asks the server to end.
func interrupt(p *os.Process, crash bool) error {
	if crash {
		return p.Signal(syscall.SIGQUIT) // immediate shutdown
	}
	return p.Signal(syscall.SIGINT) // fast shutdown
}
