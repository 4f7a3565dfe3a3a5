// Command million measures what a backlog of a million waiting publications
// costs: resident memory, start-up time, and what others notice of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"path/filepath"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

const memoryLimit = 300 << 20

var (
	publications = flag.Int("publications", 1_000_000, "how many publications wait")
	watch        = flag.Duration("watch", time.Minute, "how long memory is watched while they wait")
	drain        = flag.Duration("drain", 15*time.Second, "how long the drain is measured after the destination works again")
)

func main() {
	bench.Main("million", "A backlog of a million publications", run)
}

func run(r *bench.Report, bin, dir string) error {
	if err := scene(bin, dir); err != nil {
		return err
	}
	began := time.Now()
	if err := load(context.Background(), dir, "backlog", *publications); err != nil {
		return err
	}
	size, err := folderSize(dir)
	if err != nil {
		return err
	}
	r.Say("%d publications (of %d messages with two events each) wait for one event destination, which is disabled; "+
		"loaded in %.0f s by the program's own storage engine; %s MB on disk.", *publications, *publications/2, time.Since(began).Seconds(), bench.MB(size))

	p, err := bench.Dev(bin, dir)
	if err != nil {
		return err
	}
	defer func() {
		if err := p.Stop(); err != nil {
			log.Printf("stop: %v", err)
		}
	}()
	r.Say("Start-up with the backlog: %s ms.", bench.Millis(p.Took))
	return phases(r, p)
}

// phases watches the program while the destination is disabled, while it works,
// and while its only subscriber is down.
func phases(r *bench.Report, p *bench.Process) error {
	w := watcher{p: p, api: bench.API{Base: p.HTTP}}
	var hooks [2]*bench.Hook // one per topic
	for i, topic := range []string{"fresh", "backlog"} {
		h, err := bench.NewHook()
		if err != nil {
			return err
		}
		defer h.Close()
		if err := h.Subscribe(w.api, topic); err != nil {
			return err
		}
		hooks[i] = h
	}
	w.hook = hooks[0]
	w.hook.Track(true)

	held, err := w.phase(*watch)
	if err != nil {
		return err
	}
	if err := w.api.Enable("backlog", true); err != nil {
		return err
	}
	drained, err := w.phase(*drain)
	if err != nil {
		return err
	}
	came := hooks[1].Count()
	hooks[1].Close()
	down, err := w.phase(*drain)
	if err != nil {
		return err
	}
	r.Say("Memory in MB, read five times a second; meanwhile ten messages a second to another event destination, whose HTTP subscriber works, " +
		"and /metrics read every five seconds. Milliseconds are from SendEmail's answer to the event's arrival there.")
	r.Table([]string{"the destination with the backlog", "seconds", "published/s", "resident median", "resident most", "CPU %", "events of others", "arrived", "p50 ms", "p99 ms", "most ms"}, [][]string{
		held.row("is disabled"), drained.row("is enabled: the backlog drains"), down.row("goes on draining, its subscriber is down"),
	})
	r.Say("While the backlog drained, its HTTP subscriber got %s signed notifications/s.", bench.Rate(float64(came)/drained.took.Seconds()))
	m, err := p.Memory()
	if err != nil {
		return err
	}
	r.Must(m.Peak < memoryLimit, "%d waiting publications: at most %s MB resident from the start to the end (limit %s MB)", *publications, bench.MB(m.Peak), bench.MB(memoryLimit))
	r.Must(held.came == held.sent && drained.came == drained.sent && down.came == down.sent, "every event of the others had arrived a second after its phase")
	return nil
}

// scene makes the two event destinations, one disabled, and stops the program.
func scene(bin, dir string) error {
	p, err := bench.Dev(bin, dir)
	if err != nil {
		return err
	}
	api := bench.API{Base: p.HTTP}
	if err := api.Identity(); err != nil {
		return err
	}
	for _, name := range []string{"backlog", "fresh"} {
		if err := api.Set(name); err != nil {
			return err
		}
	}
	if err := api.Enable("backlog", false); err != nil {
		return err
	}
	return p.Stop()
}

func folderSize(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

type watcher struct {
	p    *bench.Process
	api  bench.API
	hook *bench.Hook
}

// A phase is what was seen in some time.
type phase struct {
	took       time.Duration
	memory     []int // bytes
	cpu        time.Duration
	published  float64 // publications that ended
	sent, came int
	latencies  []time.Duration
}

// phase watches the program and sends ten messages a second.
func (w *watcher) phase(d time.Duration) (*phase, error) {
	s, err := bench.NewSender(w.p.HTTP, "fresh")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ph := &phase{}
	type message struct {
		id       string
		answered time.Time
	}
	var sent []message
	published := func() (float64, error) {
		return w.api.Metric(`sestina_work_results_total{kind="publication",verdict="done"}`)
	}
	before, err := published()
	if err != nil {
		return nil, err
	}
	began, cpu := time.Now(), w.p.CPU()
	for n := 0; time.Since(began) < d; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * 100 * time.Millisecond)))
		id, err := s.Send()
		if err != nil {
			return nil, err
		}
		sent = append(sent, message{id, time.Now()})
		if n%50 == 49 {
			if _, err := w.api.Get("/metrics"); err != nil {
				return nil, err
			}
		}
		if n%2 == 0 {
			m, err := w.p.Memory()
			if err != nil {
				return nil, err
			}
			ph.memory = append(ph.memory, int(m.Resident))
		}
	}
	ph.took, ph.cpu = time.Since(began), w.p.CPU()-cpu
	if ph.published, err = published(); err != nil {
		return nil, err
	}
	ph.published -= before
	time.Sleep(time.Second) // for what is under way
	for _, m := range sent {
		for _, t := range []string{"Send", "Delivery"} {
			ph.sent++
			if at, ok := w.hook.Arrived(t, m.id); ok {
				ph.came++
				ph.latencies = append(ph.latencies, max(at.Sub(m.answered), 0))
			}
		}
	}
	return ph, nil
}

func (p *phase) row(what string) []string {
	return []string{
		what, fmt.Sprintf("%.0f", p.took.Seconds()), bench.Rate(p.published / p.took.Seconds()), bench.MB(int64(bench.Median(p.memory))), bench.MB(int64(bench.Quantile(p.memory, 1))),
		fmt.Sprintf("%.0f", 100*p.cpu.Seconds()/p.took.Seconds()), fmt.Sprint(p.sent), fmt.Sprint(p.came),
		bench.Millis(bench.Quantile(p.latencies, .5)), bench.Millis(bench.Quantile(p.latencies, .99)), bench.Millis(bench.Quantile(p.latencies, 1)),
	}
}
