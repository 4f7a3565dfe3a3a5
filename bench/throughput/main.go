// Command throughput measures how many messages a second are accepted, and how
// many of their events arrive, beside what the machine can do at all: figures
// of one alternating series, because a machine's speed changes by the minute.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

var (
	floorOnly = flag.Bool("serve-floor", false, "run the reference server (used by the program itself)")
	rounds    = flag.Int("rounds", 3, "rounds of the alternating series")
	slice     = flag.Duration("slice", 1500*time.Millisecond, "how long one thing is measured in a round")
)

func main() {
	for _, a := range os.Args[1:] {
		if a == "-serve-floor" { // before the flags that every benchmark needs
			serveFloor()
		}
	}
	_ = floorOnly
	bench.Main("throughput", "Messages and events per second", run)
}

// clients are the numbers of parallel clients.
var clients = []int{1, 16, 64}

// An entry is one thing that is measured once per round.
type entry struct {
	name    string
	clients int
	run     func(clients int) (sample, error)
	limits  []limit
}

// A limit is another entry that an entry is compared with.
type limit struct {
	of  string  // key of the entry
	as  string  // its name in the table
	cpu float64 // compare CPU time: so many of the other are in each of the one; 0 compares what is accepted
}

func key(name string, clients int) string { return name + "/" + strconv.Itoa(clients) }

// A sample is one measurement.
type sample struct {
	accepted  float64       // a second
	completed float64       // a second, until everything that follows was done too; 0: nothing follows
	cpu       time.Duration // of the server per message, everything that follows included
}

func run(r *bench.Report, bin, dir string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	floor, err := bench.Start(filepath.Join(dir, "floor-log"), self, "-serve-floor")
	if err != nil {
		return err
	}
	defer func() { _ = floor.Stop() }() // ends by the signal, not cleanly
	p, err := bench.Dev(bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	b := &bed{p: p, floor: floor, api: bench.API{Base: p.HTTP}}
	if b.hook, err = bench.NewHook(); err != nil {
		return err
	}
	defer b.hook.Close()
	if err := b.scene(); err != nil {
		return err
	}

	entries := b.entries(dir)
	samples := map[string][]sample{}
	for range *rounds {
		for _, e := range entries {
			s, err := e.run(e.clients)
			if err != nil {
				return fmt.Errorf("%s with %d clients: %w", e.name, e.clients, err)
			}
			k := key(e.name, e.clients)
			samples[k] = append(samples[k], s)
		}
	}
	report(r, entries, samples)
	return nil
}

func report(r *bench.Report, entries []entry, samples map[string][]sample) {
	var rows [][]string
	for _, e := range entries {
		mine := samples[key(e.name, e.clients)]
		median := func(of func(sample) float64) float64 {
			var v []float64
			for _, s := range mine {
				v = append(v, of(s))
			}
			return bench.Median(v)
		}
		row := []string{e.name, strconv.Itoa(e.clients), bench.Rate(median(func(s sample) float64 { return s.accepted })), "", "", ""}
		if v := median(func(s sample) float64 { return s.completed }); v > 0 {
			row[3] = bench.Rate(v)
		}
		if v := median(func(s sample) float64 { return float64(s.cpu) }); v > 0 {
			row[4] = fmt.Sprintf("%.0f", v/float64(time.Microsecond))
		}
		for i, l := range e.limits {
			if i > 0 {
				row[5] += ", "
			}
			row[5] += l.compare(mine, samples[l.of])
		}
		rows = append(rows, row)
	}
	r.Say("Medians of %d alternating rounds; messages of %d bytes, one recipient. `accepted` is answers of 200 or 250 a second. "+
		"`completed` also waits until the last message was delivered and its events (Send and Delivery, each signed) arrived at their end; "+
		"it counts messages. CPU is that of the server process per message, all that follows included; of a signature, per signature. "+
		"The last column compares within each round.", *rounds, bench.MessageSize)
	r.Table([]string{"", "clients", "accepted/s", "completed/s", "CPU µs each", "of the limit"}, rows)
}

// compare returns the median ratio. Rounds are compared with themselves: the
// machine's speed changes between them.
func (l limit) compare(mine, limits []sample) string {
	var ratios []float64
	for i, s := range mine {
		if l.cpu > 0 {
			ratios = append(ratios, l.cpu*float64(limits[i].cpu)/float64(s.cpu))
		} else {
			ratios = append(ratios, s.accepted/limits[i].accepted)
		}
	}
	if l.cpu > 0 {
		return fmt.Sprintf("%.0f %% of the CPU is %s", 100*bench.Median(ratios), l.as)
	}
	return fmt.Sprintf("%.2f of %s", bench.Median(ratios), l.as)
}
