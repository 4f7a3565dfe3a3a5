package sns

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A filterPolicy says which messages a subscription gets. It is immutable.
// sns-guide:sns-subscription-filter-policies
type filterPolicy struct {
	body bool // scope MessageBody rather than MessageAttributes
	root *filterNode
}

// A filterNode matches an object: all fields must match, and of each group of
// $or one alternative.
type filterNode struct {
	fields []filterField
	ors    [][]*filterNode
}

// A filterField matches one member: by the rules of which one must match, or by
// the members below.
type filterField struct {
	name   string
	rules  []rule
	nested *filterNode
	// path is set when the name has dots: the same condition by nested members.
	path *filterNode
}

// A rule matches a scalar: nil, bool, float64 or string.
type rule interface{ match(v any) bool }

// presence is the operator exists.
type presence bool

func (p presence) match(any) bool { return bool(p) }

// exact matches equal values; numbers by value.
type exact struct{ v any }

func (r exact) match(v any) bool { return v == r.v }

type prefixRule string

func (r prefixRule) match(v any) bool {
	s, ok := v.(string)
	return ok && strings.HasPrefix(s, string(r))
}

type suffixRule string

func (r suffixRule) match(v any) bool {
	s, ok := v.(string)
	return ok && strings.HasSuffix(s, string(r))
}

type foldRule string

func (r foldRule) match(v any) bool {
	s, ok := v.(string)
	return ok && strings.EqualFold(s, string(r))
}

// anythingBut matches what none of the rules match.
type anythingBut []rule

func (r anythingBut) match(v any) bool {
	for _, x := range r {
		if x.match(v) {
			return false
		}
	}
	return true
}

// numericRule matches numbers in a range; a missing bound is infinite.
type numericRule struct {
	low, high         float64
	lowOpen, highOpen bool // the bound itself is outside
}

func (r numericRule) match(v any) bool {
	f, ok := v.(float64)
	return ok && (f > r.low || f == r.low && !r.lowOpen) && (f < r.high || f == r.high && !r.highOpen)
}

type cidrRule netip.Prefix

func (r cidrRule) match(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	a, err := netip.ParseAddr(s)
	return err == nil && netip.Prefix(r).Contains(a)
}

// wildcardRule are the literal parts between asterisks.
type wildcardRule []string

func (r wildcardRule) match(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	if len(r) == 1 {
		return s == r[0]
	}
	first, last := r[0], r[len(r)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range r[1 : len(r)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// matches reports whether the subscription gets m. A nil policy takes all.
func (p *filterPolicy) matches(m *message) bool {
	if p == nil {
		return true
	}
	if !p.body {
		return p.root.matchAttributes(m.filterable())
	}
	body, ok := m.object()
	return ok && p.root.match(body)
}

// absent stands for a member that is not there.
type absent struct{}

// match matches a decoded JSON value. An array matches when one of its elements
// does.
func (n *filterNode) match(v any) bool {
	if list, ok := v.([]any); ok && len(list) > 0 {
		for _, x := range list {
			if n.match(x) {
				return true
			}
		}
		return false
	}
	obj, _ := v.(map[string]any)
	for i := range n.fields {
		if !n.fields[i].match(obj) {
			return false
		}
	}
	for _, group := range n.ors {
		ok := false
		for _, alternative := range group {
			ok = ok || alternative.match(v)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (f *filterField) match(obj map[string]any) bool {
	v, ok := obj[f.name]
	if !ok {
		if f.path != nil && f.path.match(obj) {
			return true
		}
		v = absent{}
	}
	if f.nested != nil {
		return f.nested.match(v)
	}
	return matchLeaf(f.rules, v)
}

// matchLeaf matches a value with rules of which one must match. Objects and
// empty arrays count as absent.
func matchLeaf(rules []rule, v any) bool {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			for _, x := range v {
				if matchLeaf(rules, x) {
					return true
				}
			}
			return false
		}
	case absent, map[string]any:
	default:
		for _, r := range rules {
			if r.match(v) {
				return true
			}
		}
		return false
	}
	for _, r := range rules {
		if p, ok := r.(presence); ok && !bool(p) {
			return true
		}
	}
	return false
}

// matchAttributes matches message attributes: name to values.
func (n *filterNode) matchAttributes(attrs map[string][]any) bool {
	for _, f := range n.fields {
		if !matchLeaf(f.rules, attrs[f.name]) {
			return false
		}
	}
	for _, group := range n.ors {
		ok := false
		for _, alternative := range group {
			ok = ok || alternative.matchAttributes(attrs)
		}
		if !ok {
			return false
		}
	}
	return true
}

// filterable returns the attributes that filter policies see.
func (m *message) filterable() map[string][]any {
	m.attributesOnce.Do(func() {
		m.attributeValues = make(map[string][]any, len(m.Attributes))
		for _, a := range m.Attributes {
			if v := a.filterable(); len(v) > 0 {
				m.attributeValues[a.Name] = v
			}
		}
	})
	return m.attributeValues
}

func (a attribute) filterable() []any {
	kind, _, _ := strings.Cut(a.Type, ".")
	switch {
	case a.Type == "String.Array":
		v, err := decodeJSON([]byte(a.Value))
		if list, ok := v.([]any); ok && err == nil {
			return list
		}
		return nil
	case kind == "String":
		return []any{a.Value}
	case kind == "Number":
		if f, err := strconv.ParseFloat(a.Value, 64); err == nil {
			return []any{f}
		}
	}
	return nil
}

// object returns the message's body when it is a JSON object.
func (m *message) object() (map[string]any, bool) {
	m.bodyOnce.Do(func() {
		if v, err := decodeJSON([]byte(m.Message)); err == nil {
			m.body, _ = v.(map[string]any)
		}
	})
	return m.body, m.body != nil
}

// decodeJSON decodes one JSON value and nothing after it.
func decodeJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errTrailing
	}
	return v, nil
}
