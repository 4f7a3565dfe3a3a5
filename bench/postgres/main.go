// Command postgres measures what the second engine costs: one node on SQLite,
// one node and two nodes on PostgreSQL, in one alternating series. The database
// server runs on the same machine, on the same disk, with commits as durable as
// SQLite's; its CPU time is counted beside the nodes'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

var (
	rounds  = flag.Int("rounds", 5, "rounds of the alternating series")
	slice   = flag.Duration("slice", 1500*time.Millisecond, "how long mail without events is sent in a round")
	clients = flag.Int("clients", 64, "parallel clients")
	many    = flag.Int("messages", 800, "messages with events in a round")
)

func main() { bench.Main("postgres", "SQLite and PostgreSQL", run) }

func run(r *bench.Report, bin, dir string) (err error) {
	// The server has a user of its own, which has to get at its folder.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	cluster, err := pgtest.Start(context.Background())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Remove()) }()
	db, err := findDatabase()
	if err != nil {
		return err
	}
	var beds []*bed
	defer func() {
		for _, b := range beds {
			err = errors.Join(err, b.stop())
		}
	}()
	for _, plan := range []struct {
		name     string
		nodes    int
		database bool
	}{{"SQLite, 1 node", 1, false}, {"PostgreSQL, 1 node", 1, true}, {"PostgreSQL, 2 nodes", 2, true}} {
		b := &bed{name: plan.name}
		beds = append(beds, b)
		url := ""
		if plan.database {
			b.db = db
			schema, err := cluster.Schema(context.Background())
			if err != nil {
				return err
			}
			url = cluster.URL(schema)
		}
		if err := b.start(bin, dir, url, plan.nodes); err != nil {
			return fmt.Errorf("%s: %w", plan.name, err)
		}
	}
	var appends []float64
	for round := range *rounds {
		floor, err := bench.Appends(dir, *clients, bench.MessageSize, *slice/2)
		if err != nil {
			return err
		}
		appends = append(appends, floor)
		for _, b := range beds {
			if err := b.round(round); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	report(r, beds, bench.Median(appends))
	return nil
}

func report(r *bench.Report, beds []*bed, appends float64) {
	r.Say("Medians of %d alternating rounds, %d clients, SES v2 SendEmail with %d bytes of text, one recipient; the clients, the nodes and the database "+
		"server share this machine's processors. The clients are divided among the nodes. `accepted` is answers of 200 a second. `completed` also waits "+
		"until the last message was delivered and, with events, until its Send and Delivery events are in the queue. CPU is per message, all that follows "+
		"included: of the nodes together, and of all processes of the database server. PostgreSQL runs with fsync and synchronous_commit on, reached over "+
		"TCP on the loopback interface. `of SQLite` compares completed messages within each round. In the same run the disk took %s appends of 4 KiB a "+
		"second, with one fsync per group.", *rounds, *clients, bench.MessageSize, bench.Rate(appends))
	head := []string{"", "accepted/s", "completed/s", "of SQLite", "nodes' CPU µs", "database's CPU µs", "together", "database's share"}
	for _, part := range []struct {
		title string
		of    func(*bed) []sample
	}{
		{"Without events", func(b *bed) []sample { return b.plain }},
		{"With two events to a topic and a queue", func(b *bed) []sample { return b.events }},
	} {
		r.Say("## %s", part.title)
		var rows [][]string
		for _, b := range beds {
			rows = append(rows, row(b.name, part.of(b), part.of(beds[0])))
		}
		r.Table(head, rows)
	}
}

// row formats the medians of samples; those of the first engine, of the same
// rounds, are what they are compared with.
func row(name string, samples, first []sample) []string {
	median := func(of func(sample) float64) float64 {
		var v []float64
		for _, s := range samples {
			v = append(v, of(s))
		}
		return bench.Median(v)
	}
	var ratios []float64
	for i, s := range samples {
		ratios = append(ratios, s.completed/first[i].completed)
	}
	micros := func(of func(sample) time.Duration) string {
		return fmt.Sprintf("%.0f", median(func(s sample) float64 { return float64(of(s)) / float64(time.Microsecond) }))
	}
	return []string{
		name,
		bench.Rate(median(func(s sample) float64 { return s.accepted })),
		bench.Rate(median(func(s sample) float64 { return s.completed })),
		fmt.Sprintf("%.2f", bench.Median(ratios)),
		micros(func(s sample) time.Duration { return s.nodes }),
		micros(func(s sample) time.Duration { return s.database }),
		micros(func(s sample) time.Duration { return s.nodes + s.database }),
		fmt.Sprintf("%.0f %%", 100*median(func(s sample) float64 { return float64(s.database) / float64(s.nodes+s.database) })),
	}
}
