package postgres

import (
	"context"
	"testing"
	"time"
)

// Hanging returns the options of a node that does not prolong its leases.
func (o Options) Hanging() Options {
	o.hang = true
	return o
}

// Deaf returns the options of a node that does not look at documents unless it
// is notified or connects anew.
func (o Options) Deaf() Options {
	o.follow = time.Hour
	return o
}

// Channel is where the store's documents are announced.
func (s *Store) Channel() string { return s.channel() }

// SettingsOf returns a setting of the connections of both pools.
func SettingsOf(t *testing.T, s *Store, name string) (out []string) {
	t.Helper()
	for _, p := range []pool{s.writes, s.reads} {
		err := p.run(context.Background(), stmt(`SELECT current_setting($1)`, new(args).text(name)).
			rows(func(r *row) error { out = append(out, r.text()); return nil }))
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
