// Command startup measures how long `sestina dev` takes to be ready on an empty
// folder, and how much memory it has when it idles.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

const (
	starts      = 20
	readyWithin = 150 * time.Millisecond
	idleBelow   = 60 << 20
	quiet       = 5 * time.Second
)

func main() {
	bench.Main("startup", "Start-up and idle memory of `sestina dev`", func(r *bench.Report, bin, dir string) error {
		if err := startUp(r, bin, dir); err != nil {
			return err
		}
		return idle(r, bin, dir)
	})
}

// startUp alternates starts with what they are made of: starting any program of
// this size, and syncing a file on this disk.
func startUp(r *bench.Report, bin, dir string) error {
	var empty, again, version, sync, stop []time.Duration
	for i := range starts {
		folder := filepath.Join(dir, "start-"+strconv.Itoa(i))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		for _, to := range []*[]time.Duration{&empty, &again} {
			p, err := bench.Dev(bin, folder)
			if err != nil {
				return err
			}
			*to = append(*to, p.Took)
			began := time.Now()
			if err := p.Stop(); err != nil {
				return fmt.Errorf("stop: %w", err)
			}
			stop = append(stop, time.Since(began))
		}
		began := time.Now()
		if err := exec.Command(bin, "version").Run(); err != nil {
			return err
		}
		version = append(version, time.Since(began))
		one, err := bench.Syncs(folder, 5)
		if err != nil {
			return err
		}
		sync = append(sync, one)
	}
	row := func(what string, v []time.Duration) []string {
		return []string{what, bench.Millis(bench.Median(v)), bench.Millis(bench.Quantile(v, 0)), bench.Millis(bench.Quantile(v, 1))}
	}
	r.Say("%d times, alternating; milliseconds.", starts)
	r.Table([]string{"from exec", "median", "least", "most"}, [][]string{
		row("to the ready line, empty folder", empty),
		row("to the ready line, the same folder again", again),
		row("to the end of `sestina version` (reference: a process of this binary)", version),
		row("one write and fsync of 4 KiB (reference: this disk)", sync),
		row("from SIGTERM to the end", stop),
	})
	r.Must(bench.Median(empty) <= readyWithin, "ready within %d ms on an empty folder (median %s ms)", readyWithin.Milliseconds(), bench.Millis(bench.Median(empty)))
	return nil
}

// idle measures memory once the background work of a first start is over: the
// program used no CPU time for some seconds.
func idle(r *bench.Report, bin, dir string) error {
	var rows [][]string
	var most int64
	for _, used := range []bool{false, true} {
		folder := filepath.Join(dir, "idle-"+strconv.FormatBool(used))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		p, err := bench.Dev(bin, folder)
		if err != nil {
			return err
		}
		what := "nobody called"
		if used {
			what = "one HTTP subscription confirmed (signed), one message sent, its two events delivered"
			if err := use(p); err != nil {
				return err
			}
		}
		if err := waitQuiet(p); err != nil {
			return err
		}
		m, err := p.Memory()
		if err != nil {
			return err
		}
		most = max(most, m.Resident)
		rows = append(rows, []string{what, bench.MB(m.Resident), bench.MB(m.Anonymous), bench.MB(m.Peak)})
		if err := p.Stop(); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	r.Say("Memory after the signing key was made and the program idled for %s (no CPU time used), MB.", quiet)
	r.Table([]string{"before", "resident", "of it anonymous", "peak"}, rows)
	r.Must(most < idleBelow, "idles below %s MB resident (%s MB)", bench.MB(idleBelow), bench.MB(most))
	return nil
}

// use makes the program do its main job once.
func use(p *bench.Process) error {
	api := bench.API{Base: p.HTTP}
	hook, err := bench.NewHook()
	if err != nil {
		return err
	}
	defer hook.Close()
	if err := api.Identity(); err != nil {
		return err
	}
	if err := api.Set("events"); err != nil {
		return err
	}
	if err := hook.Subscribe(api, "events"); err != nil {
		return err
	}
	s, err := bench.NewSender(p.HTTP, "events")
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Send(); err != nil {
		return err
	}
	ok, err := bench.Poll(10*time.Second, func() (bool, error) { return hook.Count() == 2, nil })
	if err == nil && !ok {
		err = fmt.Errorf("%d of 2 events came within 10 s", hook.Count())
	}
	return err
}

func waitQuiet(p *bench.Process) error {
	used, since := p.CPU(), time.Now()
	ok, err := bench.Poll(time.Minute, func() (bool, error) {
		if now := p.CPU(); now != used {
			used, since = now, time.Now()
		}
		return time.Since(since) >= quiet, nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("the program never idled for %s within a minute", quiet)
	}
	return err
}
