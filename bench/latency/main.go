// Command latency measures the time from SendEmail's answer to the arrival of
// the message's Send and Delivery events at an HTTP endpoint.
package main

import (
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/bench/internal/bench"
)

var (
	length = flag.Duration("length", 10*time.Second, "how long each load lasts")
	low    = flag.Float64("low", 10, "messages a second at low load")
)

// probe is the number of messages, sent as fast as 16 clients can, that tell
// the most the program can do.
const (
	probe        = 1500
	probeClients = 16
	senders      = 16
)

func main() {
	bench.Main("latency", "Time from SendEmail's answer to the event's arrival", run)
}

func run(r *bench.Report, bin, dir string) (err error) {
	p, err := bench.Dev(bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
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
	most, err := capacity(p, hook)
	if err != nil {
		return err
	}
	hook.Track(true)
	var rows [][]string
	for _, load := range []struct {
		name string
		rate float64
	}{{"low", *low}, {"half of the most", most / 2}} {
		sent, late, err := send(p, load.rate)
		if err != nil {
			return err
		}
		for _, t := range []string{"Send", "Delivery"} {
			v, err := latencies(hook, t, sent)
			if err != nil {
				return err
			}
			rows = append(rows, []string{
				fmt.Sprintf("%s: %.0f messages/s", load.name, load.rate), t, fmt.Sprint(len(v)),
				bench.Millis(bench.Quantile(v, .5)), bench.Millis(bench.Quantile(v, .9)), bench.Millis(bench.Quantile(v, .99)), bench.Millis(bench.Quantile(v, 1)),
			})
		}
		var answers []time.Duration
		for _, m := range sent {
			answers = append(answers, m.took)
		}
		rows = append(rows, []string{
			fmt.Sprintf("%s: %.0f messages/s", load.name, load.rate), "(SendEmail's own answer)", fmt.Sprint(len(answers)),
			bench.Millis(bench.Quantile(answers, .5)), bench.Millis(bench.Quantile(answers, .9)), bench.Millis(bench.Quantile(answers, .99)), bench.Millis(bench.Quantile(answers, 1)),
		})
		if late > 0 {
			r.Say("At %s load %d of %d messages were sent late, because all %d senders waited.", load.name, late, len(sent), senders)
		}
	}
	_, sign, err := bench.Signatures(1, time.Second)
	if err != nil {
		return err
	}
	r.Say("Messages of %d bytes, sent at a steady rate for %s each; the most (%.0f messages/s, both events arrived) was measured before. "+
		"Milliseconds. Every event is signed with RSA-2048, here %.2f ms of CPU time each.", bench.MessageSize, *length, most, sign.Seconds()*1000)
	r.Table([]string{"load", "event", "count", "p50", "p90", "p99", "most"}, rows)
	return nil
}

// capacity measures how many messages a second go through with both events.
func capacity(p *bench.Process, hook *bench.Hook) (float64, error) {
	began := time.Now()
	if _, err := bench.Fixed(probeClients, probe, func(int) (func() error, func(), error) {
		s, err := bench.NewSender(p.HTTP, "events")
		if err != nil {
			return nil, nil, err
		}
		return func() error { _, err := s.Send(); return err }, s.Close, nil
	}); err != nil {
		return 0, err
	}
	ok, err := bench.Poll(time.Minute, func() (bool, error) { return hook.Count() >= 2*probe, nil })
	if err == nil && !ok {
		err = fmt.Errorf("%d of %d events came within a minute", hook.Count(), 2*probe)
	}
	return probe / time.Since(began).Seconds(), err
}

// A message is one that was accepted.
type message struct {
	id       string
	answered time.Time
	took     time.Duration // of the call
}

// send sends messages at a steady rate, whether or not earlier ones were
// answered, as far as the senders suffice. It counts those sent more than 10 ms
// after their time.
func send(p *bench.Process, rate float64) (all []message, late int, err error) {
	due := make(chan time.Time)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range senders {
		s, err := bench.NewSender(p.HTTP, "events")
		if err != nil {
			return nil, 0, err
		}
		defer s.Close()
		wg.Go(func() {
			for at := range due {
				began := time.Now()
				id, sendErr := s.Send()
				now := time.Now()
				mu.Lock()
				if sendErr != nil {
					err = sendErr
				}
				all = append(all, message{id, now, now.Sub(began)})
				if began.Sub(at) > 10*time.Millisecond {
					late++
				}
				mu.Unlock()
			}
		})
	}
	gap := time.Duration(float64(time.Second) / rate)
	for at, end := time.Now(), time.Now().Add(*length); at.Before(end); at = at.Add(gap) {
		time.Sleep(time.Until(at))
		due <- at
	}
	close(due)
	wg.Wait()
	return all, late, err
}

// latencies waits until an event of every message came and returns how long
// each took. An event that came before the answer counts as 0.
func latencies(hook *bench.Hook, eventType string, sent []message) (out []time.Duration, err error) {
	for _, m := range sent {
		var at time.Time
		ok, _ := bench.Poll(20*time.Second, func() (ok bool, _ error) { at, ok = hook.Arrived(eventType, m.id); return ok, nil })
		if !ok {
			return nil, fmt.Errorf("the %s event of message %s did not come", eventType, m.id)
		}
		out = append(out, max(at.Sub(m.answered), 0))
	}
	return out, nil
}
