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
	floor   string // the entry that is its limit
	run     func(clients int) (sample, error)
}

func (e entry) key() string { return e.name + "/" + strconv.Itoa(e.clients) }

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
	sign := map[int][]float64{}
	for range *rounds {
		for _, e := range entries {
			s, err := e.run(e.clients)
			if err != nil {
				return fmt.Errorf("%s with %d clients: %w", e.name, e.clients, err)
			}
			samples[e.key()] = append(samples[e.key()], s)
		}
		for _, n := range []int{1, 2} {
			v, err := bench.Signatures(n, *slice/3)
			if err != nil {
				return err
			}
			sign[n] = append(sign[n], v)
		}
	}
	report(r, entries, samples, sign)
	return nil
}

func report(r *bench.Report, entries []entry, samples map[string][]sample, sign map[int][]float64) {
	median := func(e entry, of func(sample) float64) float64 {
		var v []float64
		for _, s := range samples[e.key()] {
			v = append(v, of(s))
		}
		return bench.Median(v)
	}
	accepted := func(s sample) float64 { return s.accepted }
	var rows [][]string
	for _, e := range entries {
		row := []string{e.name, strconv.Itoa(e.clients), bench.Rate(median(e, accepted)), "", "", ""}
		if e.floor != "" {
			// Rounds are compared with themselves: the machine's speed changes between them.
			var ratios []float64
			for i, s := range samples[e.key()] {
				ratios = append(ratios, s.accepted/samples[entry{name: e.floor, clients: e.clients}.key()][i].accepted)
			}
			row[3] = fmt.Sprintf("%.2f × %s", bench.Median(ratios), e.floor)
		}
		if v := median(e, func(s sample) float64 { return s.completed }); v > 0 {
			row[4] = bench.Rate(v)
		}
		if v := median(e, func(s sample) float64 { return float64(s.cpu) }); v > 0 {
			row[5] = fmt.Sprintf("%.0f", v/float64(time.Microsecond))
		}
		rows = append(rows, row)
	}
	r.Say("Medians of %d alternating rounds; messages of %d bytes, one recipient. `accepted` is answers of 200 or 250 a second. "+
		"`completed` also waits until the last message was delivered and its events (two a message) arrived at their end; "+
		"it counts messages. CPU is that of the server process per message, everything that follows included.", *rounds, bench.MessageSize)
	r.Table([]string{"", "clients", "accepted/s", "of the limit", "completed/s", "CPU µs/message"}, rows)
	r.Say("Limit of signing: %s RSA-2048 signatures a second on one core, %s on two (crypto/rsa, the same rounds). "+
		"A message whose two events go to a topic needs two.", bench.Rate(bench.Median(sign[1])), bench.Rate(bench.Median(sign[2])))
}
