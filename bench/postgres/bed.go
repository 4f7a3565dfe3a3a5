package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

// patience is how long things that follow may take.
const patience = time.Minute

// A bed is one installation under measurement.
type bed struct {
	name   string
	nodes  []*bench.Process
	db     *database     // nil: SQLite
	queues []bench.Queue // one for each round

	plain, events []sample
}

// A sample is one measurement.
type sample struct {
	accepted, completed float64       // messages a second
	nodes, database     time.Duration // CPU time per message
}

// setName is the configuration set whose events go to the queue of a round.
func setName(round int) string { return "queue-" + strconv.Itoa(round) }

// start starts the nodes and makes the sets and queues of all rounds.
func (b *bed) start(bin, dir, url string, nodes int) error {
	key := ""
	for i := range nodes {
		home := filepath.Join(dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(b.name, " ", "-"), i))
		if err := os.MkdirAll(filepath.Join(home, "data"), 0o700); err != nil {
			return err
		}
		var args []string
		if url != "" {
			args = []string{"--database-url", url}
		}
		if i > 0 { // the nodes of one installation have the same key
			if err := copyFile(key, filepath.Join(home, "data", "secret.key")); err != nil {
				return err
			}
		}
		p, err := bench.Dev(bin, home, args...)
		if err != nil {
			return err
		}
		b.nodes = append(b.nodes, p)
		if i == 0 {
			key = filepath.Join(home, "data", "secret.key")
		}
	}
	api := b.api(0)
	if err := api.Identity(); err != nil {
		return err
	}
	for round := range *rounds {
		if err := api.Set(setName(round)); err != nil {
			return err
		}
		q, err := api.Queue(setName(round))
		if err != nil {
			return err
		}
		b.queues = append(b.queues, q)
	}
	return b.known(fmt.Sprintf("arn:aws:sqs:us-east-1:000000000000:%s<", setName(*rounds-1)))
}

// known waits until every node has heard of the subscription of an endpoint,
// and with it of everything that the first node was told before.
func (b *bed) known(endpoint string) error {
	for i := range b.nodes {
		ok, err := bench.Poll(patience, func() (bool, error) {
			out, err := b.api(i).Query("sns", "Action", "ListSubscriptions")
			return strings.Contains(out, endpoint), err
		})
		if err == nil && !ok {
			err = errors.New("it does not know the last subscription")
		}
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func (b *bed) api(i int) bench.API { return bench.API{Base: b.nodes[i].HTTP} }

func (b *bed) stop() (err error) {
	for _, p := range b.nodes {
		err = errors.Join(err, p.Stop())
	}
	return err
}

// round measures everything once.
func (b *bed) round(n int) error {
	plain, err := b.measure("", b.delivered, 1, func(open opener) (int, time.Duration, error) {
		return bench.Closed(*clients, *slice, open)
	})
	if err != nil {
		return err
	}
	b.plain = append(b.plain, plain)
	// A number and not a time, because events take longer than messages: a
	// fixed time would leave ever more of them.
	events, err := b.measure(setName(n), b.queues[n].Depth, 2, func(open opener) (int, time.Duration, error) {
		took, err := bench.Fixed(*clients, *many, open)
		return *many, took, err
	})
	if err != nil {
		return err
	}
	b.events = append(b.events, events)
	return b.queues[n].Delete() // looking for how much is in it costs less when it is small
}

type opener = func(client int) (func() error, func(), error)

// measure sends and waits until through has risen by so many for each message.
func (b *bed) measure(set string, through func() (int, error), each int, send func(opener) (int, time.Duration, error)) (s sample, err error) {
	was, err := through()
	if err != nil {
		return s, err
	}
	nodes, database := b.cpu()
	began := time.Now()
	sent, took, err := send(b.sender(set))
	if err != nil {
		return s, err
	}
	got := 0
	ok, err := bench.Poll(patience, func() (bool, error) {
		now, err := through()
		got = now - was
		return got >= sent*each, err
	})
	if err == nil && !ok {
		err = fmt.Errorf("%d of %d were through after %s", got, sent*each, patience)
	}
	if err != nil {
		return s, err
	}
	s.accepted, s.completed = float64(sent)/took.Seconds(), float64(sent)/time.Since(began).Seconds()
	nodesNow, databaseNow := b.cpu()
	s.nodes, s.database = (nodesNow-nodes)/time.Duration(sent), (databaseNow-database)/time.Duration(sent)
	return s, nil
}

// sender divides the clients among the nodes.
func (b *bed) sender(set string) opener {
	return func(client int) (func() error, func(), error) {
		s, err := bench.NewSender(b.nodes[client%len(b.nodes)].HTTP, set)
		if err != nil {
			return nil, nil, err
		}
		return func() error { _, err := s.Send(); return err }, s.Close, nil
	}
}

// delivered is how many messages were delivered so far, by all nodes.
func (b *bed) delivered() (int, error) {
	sum := 0.0
	for i := range b.nodes {
		n, err := b.api(i).Metric(`sestina_events_total{type="DELIVERY"}`)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return int(sum), nil
}

// cpu is the CPU time used so far.
func (b *bed) cpu() (nodes, database time.Duration) {
	for _, p := range b.nodes {
		nodes += p.CPU()
	}
	if b.db != nil {
		database = b.db.cpu()
	}
	return nodes, database
}

// A database is the processes of the PostgreSQL server that this program
// started.
type database struct{ pid int }

// findDatabase looks for the server among this program's children.
func findDatabase() (*database, error) {
	for pid, s := range processes() {
		if s.parent == os.Getpid() && s.name == "postgres" {
			return &database{pid}, nil
		}
	}
	return nil, errors.New("the database server's process is not found")
}

// cpu is the CPU time of the server and all its processes, also of those that
// have ended.
func (d *database) cpu() (sum time.Duration) {
	for pid, s := range processes() {
		switch {
		case pid == d.pid:
			sum += s.own + s.ended
		case s.parent == d.pid:
			sum += s.own
		}
	}
	return sum
}

// A process is what /proc/PID/stat says.
type process struct {
	name       string
	parent     int
	own, ended time.Duration // CPU time: its own, that of children that it has reaped
}

// clockTick is the unit of CPU times in /proc: 1/100 s on Linux.
const clockTick = 10 * time.Millisecond

func processes() map[int]process {
	out := map[int]process{}
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		line := string(text)
		open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
		pid, _ := strconv.Atoi(strings.TrimSpace(line[:open]))
		fields := strings.Fields(line[end+1:])
		number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
		out[pid] = process{
			name: line[open+1 : end], parent: number(1),
			own: time.Duration(number(11)+number(12)) * clockTick, ended: time.Duration(number(13)+number(14)) * clockTick,
		}
	}
	return out
}
