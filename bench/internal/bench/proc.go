package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Process is a program under measurement that says on its standard output
// when it is ready.
type Process struct {
	PID  int
	HTTP string        // base URL
	SMTP string        // host:port, or ""
	Took time.Duration // from just before exec to the ready line
	Line string        // the ready line

	cmd     *exec.Cmd
	stderr  *os.File
	exited  chan struct{}
	exitErr error
}

var readyLine = regexp.MustCompile(`ready http=(http://\S+)(?: smtp=(\S+))?`)

// Start runs a program and returns once it printed its ready line. Its log goes
// to a file beside nothing else: logPath.
func Start(logPath, bin string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(bin, args...), exited: make(chan struct{})}
	var err error
	if p.stderr, err = os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.PID = p.cmd.Process.Pid
	line, err := bufio.NewReader(stdout).ReadString('\n')
	p.Took = time.Since(began)
	m := readyLine.FindStringSubmatch(line)
	if err != nil || m == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		text, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("%s %v did not become ready: %q\n%s", bin, args, line, text)
	}
	p.Line, p.HTTP, p.SMTP = strings.TrimSpace(line), m[1], m[2]
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		p.exitErr = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Dev starts `sestina dev` on free ports of the loopback interface, on the
// folder dir/data.
func Dev(bin, dir string, args ...string) (*Process, error) {
	args = append([]string{"dev", "--data", filepath.Join(dir, "data"), "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0", "--log-level", "warn"}, args...)
	return Start(filepath.Join(dir, "log"), bin, args...)
}

// Stop sends SIGTERM and waits for the end, at most 15 s.
func (p *Process) Stop() error {
	defer p.stderr.Close()
	select {
	case <-p.exited:
		return fmt.Errorf("process %d ended by itself: %w", p.PID, p.exitErr)
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.exitErr
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return errors.New("the process did not stop within 15 s of SIGTERM")
	}
}

// Memory is what /proc says of a process's memory, in bytes.
type Memory struct {
	Resident  int64 // VmRSS
	Peak      int64 // VmHWM: the most that was resident at any time
	Anonymous int64 // RssAnon: without the program file
}

// Memory reads the process's memory.
func (p *Process) Memory() (m Memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &m.Resident, "VmHWM": &m.Peak, "RssAnon": &m.Anonymous}[name]
		if to == nil {
			continue
		}
		kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return m, fmt.Errorf("read /proc/%d/status: %w", p.PID, err)
		}
		*to = kb << 10
	}
	return m, nil
}

// clockTick is the unit of CPU times in /proc: 1/100 s on Linux.
const clockTick = 10 * time.Millisecond

// CPU is the CPU time that the process used so far, user and system, in steps
// of 10 ms.
func (p *Process) CPU() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		log.Fatalf("read the CPU time of process %d: %v", p.PID, err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick
}
