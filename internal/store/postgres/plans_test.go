package postgres

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// explained are the statements whose plans were looked at already.
var explained sync.Map

// small are tables, or sweeps of them, that need no index.
var (
	scans   = regexp.MustCompile(`Seq Scan on (\w+)`)
	small   = map[string]bool{"writers": true, "scopes": true, "schema_version": true, "queue_seq": true}
	utility = regexp.MustCompile(`^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|LOCK|TRUNCATE|CREATE|LISTEN)\b`)
	sorts   = regexp.MustCompile(`(?m)^[ \->]*Sort  \(`)
)

// sorted are statements whose order must come from an index, however many rows
// there are: claims, receives, and what runs over all lanes, which sorts its
// page once. They say how many sorts they may have.
var sorted = map[string]int{claimUnits: 0, receiveVisible: 0, receiveInOrder: 0, lanesFrom: 1, lanesAfter: 1}

// CheckPlans looks at the plans of all statements that the store has prepared:
// none may read a whole table.
func CheckPlans(t testing.TB, s *Store) {
	ctx := context.Background()
	for _, p := range []pool{s.writes, s.reads} {
		for _, pc := range p.AcquireAllIdle(ctx) {
			c := connOf(pc.Conn())
			for sql, sd := range c.prepared {
				if _, seen := explained.LoadOrStore(sql, true); seen || utility.MatchString(sql) {
					continue
				}
				execute := "EXPLAIN EXECUTE " + sd.Name
				if n := len(sd.ParamOIDs); n > 0 {
					execute += "(NULL" + strings.Repeat(", NULL", n-1) + ")"
				}
				results, err := c.pg.Exec(ctx, execute).ReadAll()
				if err != nil {
					t.Errorf("explain %s: %v", sql, err)
					continue
				}
				var plan strings.Builder
				for _, line := range results[0].Rows {
					plan.Write(line[0])
					plan.WriteByte('\n')
				}
				checkPlan(t, sql, plan.String())
			}
			pc.Release()
		}
	}
}

func checkPlan(t testing.TB, sql, plan string) {
	for _, m := range scans.FindAllStringSubmatch(plan, -1) {
		if !small[m[1]] && !strings.Contains(sql, "DELETE FROM queue_dedup") {
			t.Errorf("a statement reads all of %s:\n%s\n%s", m[1], sql, plan)
		}
	}
	if most, ok := sorted[sql]; ok && len(sorts.FindAllString(plan, -1)) > most {
		t.Errorf("a statement sorts its rows:\n%s\n%s", sql, plan)
	}
}
