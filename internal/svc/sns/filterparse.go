package sns

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Limits of filter policies.
// sns-guide:subscription-filter-policy-constraints
const (
	maxFilterKeys       = 5
	maxFilterComplexity = 150
	maxFilterBytes      = 256 << 10
)

// Values of the attribute FilterPolicyScope.
const (
	scopeAttributes = "MessageAttributes"
	scopeBody       = "MessageBody"
)

var errTrailing = errors.New("there is text after the JSON value")

// operators are the names that a match expression may have; they are reserved
// inside $or.
var operators = []string{
	"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard",
}

// parseFilter reads and checks a filter policy. It returns nil for one that is
// empty and so takes everything. Errors are the reason alone, as AWS words it.
func parseFilter(text, scope string) (*filterPolicy, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilterBytes {
		return nil, errors.New("Filter policy is too long")
	}
	v, err := decodeJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %w", err)
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("failed to parse JSON. Filter is not an object")
	}
	if len(obj) == 0 {
		return nil, nil
	}
	p := &filterPolicy{body: scope == scopeBody}
	if p.root, err = p.node(obj); err != nil {
		return nil, err
	}
	if len(p.root.names(map[string]bool{})) > maxFilterKeys {
		return nil, fmt.Errorf("Filter policy can not have more than %d keys", maxFilterKeys)
	}
	if p.root.complexity(1) > maxFilterComplexity {
		return nil, errors.New("Filter policy is too complex")
	}
	return p, nil
}

func (p *filterPolicy) node(obj map[string]any) (*filterNode, error) {
	n := &filterNode{}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		if group, ok := alternatives(name, obj[name]); ok {
			var nodes []*filterNode
			for _, alternative := range group {
				node, err := p.node(alternative)
				if err != nil {
					return nil, err
				}
				nodes = append(nodes, node)
			}
			n.ors = append(n.ors, nodes)
			continue
		}
		f, err := p.field(name, obj[name])
		if err != nil {
			return nil, err
		}
		n.fields = append(n.fields, f)
	}
	return n, nil
}

// alternatives returns the alternatives of a group, or false when name is a
// plain member.
func alternatives(name string, v any) ([]map[string]any, bool) {
	list, ok := v.([]any)
	if name != "$or" || !ok || len(list) < 2 {
		return nil, false
	}
	var out []map[string]any
	for _, x := range list {
		obj, ok := x.(map[string]any)
		if !ok || len(obj) == 0 {
			return nil, false
		}
		for k := range obj {
			if slices.Contains(operators, k) {
				return nil, false
			}
		}
		out = append(out, obj)
	}
	return out, true
}

func (p *filterPolicy) field(name string, v any) (filterField, error) {
	f := filterField{name: name}
	var err error
	switch v := v.(type) {
	case map[string]any:
		if !p.body {
			return f, errors.New("Filter policy scope MessageAttributes does not support nested filter policy")
		}
		if len(v) == 0 {
			return f, errors.New("Empty objects are not allowed")
		}
		f.nested, err = p.node(v)
	case []any:
		if len(v) == 0 {
			return f, errors.New("Empty arrays are not allowed")
		}
		for _, x := range v {
			r, err := parseRule(x)
			if err != nil {
				return f, err
			}
			f.rules = append(f.rules, r)
		}
	default:
		return f, fmt.Errorf("%q must be an object or an array", name)
	}
	if p.body {
		f.path = f.byPath()
	}
	return f, err
}

// byPath returns the node that matches nested members instead of a name with
// dots, or nil.
func (f filterField) byPath() *filterNode {
	steps := strings.Split(f.name, ".")
	if len(steps) < 2 || slices.Contains(steps, "") {
		return nil
	}
	last := len(steps) - 1
	n := &filterNode{fields: []filterField{{name: steps[last], rules: f.rules, nested: f.nested}}}
	for _, step := range slices.Backward(steps[:last]) {
		n = &filterNode{fields: []filterField{{name: step, nested: n}}}
	}
	return n
}

// names collects the names of members, those in alternatives too.
func (n *filterNode) names(seen map[string]bool) map[string]bool {
	for _, f := range n.fields {
		seen[f.name] = true
	}
	for _, group := range n.ors {
		for _, alternative := range group {
			alternative.names(seen)
		}
	}
	return seen
}

// complexity is the number of combinations: members multiply, each by its values
// and its depth, and alternatives add. It stops counting far above the limit.
func (n *filterNode) complexity(depth int) int {
	c := 1
	times := func(m int) { c = min(c*max(m, 1), 1<<20) }
	for _, f := range n.fields {
		if f.nested != nil {
			times(f.nested.complexity(depth + 1))
		} else {
			times(len(f.rules) * depth)
		}
	}
	for _, group := range n.ors {
		sum := 0
		for _, alternative := range group {
			sum += alternative.complexity(depth)
		}
		times(sum)
	}
	return c
}

func parseRule(v any) (rule, error) {
	switch v := v.(type) {
	case nil, string, bool, float64:
		return exact{v}, nil
	case map[string]any:
		if len(v) != 1 {
			return nil, errors.New("Only one key allowed in match expression")
		}
		for name, arg := range v {
			return parseOperator(name, arg)
		}
	}
	return nil, errors.New("Match value must be String, number, true, false, or null")
}

func parseOperator(name string, arg any) (rule, error) {
	text, isText := arg.(string)
	pattern := func(of string) error {
		if isText {
			return nil
		}
		return fmt.Errorf("%s match pattern must be a string", of)
	}
	switch name {
	case "prefix":
		return prefixRule(text), pattern(name)
	case "suffix":
		return suffixRule(text), pattern(name)
	case "equals-ignore-case":
		return foldRule(text), pattern(name)
	case "wildcard":
		if err := pattern(name); err != nil {
			return nil, err
		}
		return parseWildcard(text)
	case "cidr":
		if err := pattern("prefix"); err != nil { // so AWS says
			return nil, err
		}
		return parseCIDR(text)
	case "exists":
		b, ok := arg.(bool)
		if !ok {
			return nil, errors.New("exists match pattern must be either true or false.")
		}
		return presence(b), nil
	case "numeric":
		list, ok := arg.([]any)
		if !ok {
			return nil, errors.New("Value of numeric must be an array.")
		}
		return parseNumeric(list)
	case "anything-but":
		return parseAnythingBut(arg)
	}
	return nil, fmt.Errorf("Unrecognized match type %s", name)
}

func parseAnythingBut(arg any) (rule, error) {
	switch v := arg.(type) {
	case string, float64:
		return anythingBut{exact{v}}, nil
	case []any:
		if len(v) == 0 {
			return nil, errors.New("Empty arrays are not allowed")
		}
		var out anythingBut
		for _, x := range v {
			switch x.(type) {
			case string, float64:
				out = append(out, exact{x})
			default:
				return nil, errors.New("Inside anything but list, start|null|boolean is not supported.")
			}
		}
		return out, nil
	case map[string]any:
		if len(v) != 1 {
			return nil, errors.New("Only one key allowed in match expression")
		}
		for name, x := range v {
			if name != "prefix" {
				return nil, fmt.Errorf("Unsupported anything-but pattern: %s", name)
			}
			r, err := parseOperator(name, x)
			return anythingBut{r}, err
		}
	}
	return nil, errors.New("Value of anything-but must be an array or single string/number value.")
}

// parseNumeric reads ["=", n], ["<", n], [">", n] or [">", n, "<", m], each also
// with the bound inside.
func parseNumeric(list []any) (rule, error) {
	r := numericRule{low: math.Inf(-1), high: math.Inf(1)}
	op, err := operatorAt(list, 0, "Invalid member in numeric match: %s")
	if err != nil {
		return nil, err
	}
	switch op {
	case "=":
		if r.low, err = numberAt(list, 1, "equals"); err != nil {
			return nil, err
		}
		r.high = r.low
	case "<", "<=":
		if r.high, err = numberAt(list, 1, op); err != nil {
			return nil, err
		}
		r.highOpen = op == "<"
	case ">", ">=":
		if r.low, err = numberAt(list, 1, op); err != nil {
			return nil, err
		}
		r.lowOpen = op == ">"
		if len(list) > 2 {
			return r.top(list)
		}
	default:
		return nil, fmt.Errorf("Unrecognized numeric range operator: %s", op)
	}
	if len(list) > 2 {
		return nil, errors.New("Too many elements in numeric expression")
	}
	return r, nil
}

// top reads the second half of a range.
func (r numericRule) top(list []any) (rule, error) {
	op, err := operatorAt(list, 2, "Bad value in numeric range: %s")
	if err != nil {
		return nil, err
	}
	if op != "<" && op != "<=" {
		return nil, fmt.Errorf("Bad numeric range operator: %s", op)
	}
	if r.high, err = numberAt(list, 3, op); err != nil {
		return nil, err
	}
	r.highOpen = op == "<"
	if r.low >= r.high {
		return nil, errors.New("Bottom must be less than top")
	}
	if len(list) > 4 {
		return nil, errors.New("Too many terms in numeric range expression")
	}
	return r, nil
}

func operatorAt(list []any, i int, message string) (string, error) {
	if i >= len(list) {
		return "", fmt.Errorf(message, "]")
	}
	op, ok := list[i].(string)
	if !ok {
		return "", fmt.Errorf(message, mustJSON(list[i]))
	}
	return op, nil
}

// numberAt reads a bound: at most 10^9 from zero, with five decimals.
func numberAt(list []any, i int, op string) (float64, error) {
	if i < len(list) {
		if f, ok := list[i].(float64); ok {
			if math.Abs(f) > 1e9 {
				return 0, fmt.Errorf("Value must be between -1.0E9 and 1.0E9, inclusive, not %s", strconv.FormatFloat(f, 'g', -1, 64))
			}
			return f, nil
		}
	}
	return 0, fmt.Errorf("Value of %s must be numeric", op)
}

func parseCIDR(text string) (rule, error) {
	ip, bits, ok := strings.Cut(text, "/")
	if !ok || strings.Contains(bits, "/") {
		return nil, errors.New("Malformed CIDR, one '/' required")
	}
	n, err := strconv.Atoi(bits)
	if err != nil {
		return nil, errors.New("Malformed CIDR, mask bits must be an integer")
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" {
		return nil, fmt.Errorf("Nonstandard IP address: %s", ip)
	}
	if n < 0 {
		return nil, errors.New("Malformed CIDR, mask bits must not be negative")
	}
	p, err := addr.Prefix(n)
	if err != nil {
		return nil, fmt.Errorf("IPv%d mask bits must be < %d", map[bool]int{true: 4, false: 6}[addr.Is4()], addr.BitLen())
	}
	return cidrRule(p), nil
}

// parseWildcard splits a pattern at its asterisks; \* and \\ are literal.
func parseWildcard(text string) (rule, error) {
	var parts []string
	var part strings.Builder
	wild := false // the byte before was an asterisk
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*' && wild:
			return nil, fmt.Errorf("Consecutive wildcard characters at pos %d", i-1)
		case c == '*':
			parts = append(parts, part.String())
			part.Reset()
			wild = true
			continue
		case c == '\\':
			if i++; i == len(text) || text[i] != '*' && text[i] != '\\' {
				return nil, fmt.Errorf("Invalid escape character at pos %d", i-1)
			}
			part.WriteByte(text[i])
		default:
			part.WriteByte(c)
		}
		wild = false
	}
	return wildcardRule(append(parts, part.String())), nil
}
