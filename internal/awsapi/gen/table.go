package main

import (
	"fmt"
	"slices"
	"strings"
)

// unit is the name of the empty structure that stands for the input or output
// of an operation that has none.
const unit = "Unit"

// A table is a model with its shapes numbered.
type table struct {
	*model
	target
	order []string       // shapes in the order of the table
	index map[string]int // shape name to its place in order; equal scalars share one
	ops   []string       // operation names, sorted
	ioOf  map[string]bool
	inner map[string]bool // structures that other shapes refer to
}

// newTable numbers the shapes that operations reach: structures, lists and maps
// by name, scalars by what they are.
func newTable(m *model, t target) *table {
	m.Shapes[unit] = &shape{Type: "structure"}
	tab := &table{model: m, target: t, index: map[string]int{}, ioOf: map[string]bool{}, inner: map[string]bool{}}
	reached := map[string]bool{}
	for name := range m.Operations {
		tab.ops = append(tab.ops, name)
	}
	slices.Sort(tab.ops)
	for _, name := range tab.ops {
		for _, io := range []string{tab.input(name), tab.output(name)} {
			tab.ioOf[io] = true
			tab.reach(io, reached)
		}
	}
	names := make([]string, 0, len(reached))
	for name := range reached {
		names = append(names, name)
	}
	slices.Sort(names)
	scalars := map[string]int{}
	for _, name := range names {
		s := m.Shapes[name]
		if s.isScalar() {
			key := s.scalarKey()
			if at, ok := scalars[key]; ok {
				tab.index[name] = at
				continue
			}
			scalars[key] = len(tab.order)
		}
		tab.index[name] = len(tab.order)
		tab.order = append(tab.order, name)
	}
	return tab
}

func (t *table) reach(name string, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	for _, ref := range t.Shapes[name].refs() {
		if t.Shapes[ref].Type == "structure" {
			t.inner[ref] = true
		}
		t.reach(ref, seen)
	}
}

func (t *table) input(op string) string  { return shapeOrUnit(t.Operations[op].Input) }
func (t *table) output(op string) string { return shapeOrUnit(t.Operations[op].Output) }

func shapeOrUnit(r *shapeRef) string {
	if r == nil || r.Shape == "" {
		return unit
	}
	return r.Shape
}

// wrapper returns the element around the members of a query response.
func (t *table) wrapper(op string) string {
	if out := t.Operations[op].Output; out != nil {
		return out.ResultWrapper
	}
	return ""
}

// goTypes returns the structures that get a Go type of their own name.
func (t *table) goTypes() []string {
	var out []string
	for _, name := range t.order {
		if t.Shapes[name].Type == "structure" && name != unit && (t.inner[name] || !t.ioOf[name]) {
			out = append(out, name)
		}
	}
	return out
}

// checkNames refuses two Go types of one name.
func (t *table) checkNames() error {
	seen := map[string]string{"API": "the service table"}
	add := func(name, what string) error {
		if other, ok := seen[name]; ok {
			return fmt.Errorf("the Go name %s is wanted by %s and by %s", name, other, what)
		}
		seen[name] = what
		return nil
	}
	for _, op := range t.ops {
		for _, name := range []string{op + "Input", op + "Output", "Op" + op} {
			if err := add(name, "operation "+op); err != nil {
				return err
			}
		}
	}
	for _, s := range t.goTypes() {
		if err := add(exported(s), "shape "+s); err != nil {
			return err
		}
	}
	return nil
}

func (s *shape) isScalar() bool {
	return s.Type != "structure" && s.Type != "list" && s.Type != "map"
}

// scalarKey is equal for scalars that the wire cannot tell apart.
func (s *shape) scalarKey() string {
	return strings.Join([]string{s.kind(), s.TimestampFormat, s.limits()}, "|")
}

// exported turns a model name into an exported Go name.
func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }
