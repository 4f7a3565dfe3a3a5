package awswire

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A router finds the operation of a restJson1 request. It works on the path as
// it was sent, still escaped, because labels may contain escaped slashes. Where
// a literal and a label both fit a segment, the literal goes first. One slash
// at the end makes no difference: newer SDKs leave it out where the models have
// it.
type router struct{ root node }

type node struct {
	literals map[string]*node
	label    *node
	leaves   []leaf // routes that end here
	greedy   []leaf // routes whose last label takes everything from here on
}

type leaf struct {
	op     int
	route  *awsapi.Route
	labels []string // wire names, in order of the path
}

// A match is the operation a request was routed to, with its label values.
type match struct {
	leaf
	values []string // unescaped, one per label
}

// value returns the value of the label with the wire name.
func (m *match) value(name string) (string, bool) {
	for i, l := range m.labels {
		if l == name {
			return m.values[i], true
		}
	}
	return "", false
}

// newRouter builds the router of an API. It panics if two operations have the
// same method and path, which a test over all models rules out.
func newRouter(api *awsapi.Service) *router {
	r := &router{}
	for i := range api.Operations {
		routes := api.Operations[i].Routes
		for j := range routes {
			r.add(i, &routes[j])
		}
	}
	return r
}

func (r *router) add(op int, route *awsapi.Route) {
	at := &r.root
	l := leaf{op: op, route: route}
	for _, seg := range splitPath(route.Path) {
		name, isLabel := strings.CutPrefix(seg, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case !isLabel:
			if at.literals == nil {
				at.literals = map[string]*node{}
			}
			if at.literals[seg] == nil {
				at.literals[seg] = &node{}
			}
			at = at.literals[seg]
		case strings.HasSuffix(name, "+"):
			l.labels = append(l.labels, strings.TrimSuffix(name, "+"))
			at.greedy = append(at.greedy, l)
			return
		default:
			l.labels = append(l.labels, name)
			if at.label == nil {
				at.label = &node{}
			}
			at = at.label
		}
	}
	for _, other := range at.leaves {
		if other.route.Method == route.Method {
			panic(fmt.Sprintf("awswire: two operations at %s %s", route.Method, route.Path))
		}
	}
	at.leaves = append(at.leaves, l)
}

// find returns the match of a method and an escaped path.
func (r *router) find(method, escapedPath string) (*match, bool) {
	segments := splitPath(escapedPath)
	if len(segments) > maxSegments {
		return nil, false
	}
	return r.root.find(method, segments, nil)
}

// maxSegments bounds the work on one path; the longest template has 9.
const maxSegments = 32

func (n *node) find(method string, rest, values []string) (*match, bool) {
	if len(rest) == 0 {
		return pick(n.leaves, method, values)
	}
	seg, err := url.PathUnescape(rest[0])
	if err != nil {
		return nil, false
	}
	if next := n.literals[seg]; next != nil {
		if m, ok := next.find(method, rest[1:], values); ok {
			return m, true
		}
	}
	if n.label != nil && seg != "" {
		if m, ok := n.label.find(method, rest[1:], append(values[:len(values):len(values)], seg)); ok {
			return m, true
		}
	}
	if len(n.greedy) > 0 {
		if all, err := url.PathUnescape(strings.Join(rest, "/")); err == nil {
			return pick(n.greedy, method, append(values[:len(values):len(values)], all))
		}
	}
	return nil, false
}

func pick(leaves []leaf, method string, values []string) (*match, bool) {
	for _, l := range leaves {
		if l.route.Method == method {
			return &match{leaf: l, values: values}, true
		}
	}
	return nil, false
}

// splitPath returns the segments of a path without the leading and one
// trailing slash.
func splitPath(p string) []string {
	p = strings.TrimPrefix(p, "/")
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}
