package awswire

import (
	"errors"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// A form is the parameters of a query request, sorted by name. Parameters of
// one name keep their order; the last one counts.
type form []param

type param struct{ name, value string }

var (
	errFormEncoding = errors.New("form is not valid URL encoding")
	errFormSize     = errors.New("too many parameters")
)

// maxParams bounds the parameters of one request. A CloudWatch request of the
// largest size has about 30,000.
const maxParams = 1 << 15

// parseForm reads the query string and the body; the body wins.
func parseForm(rawQuery, body string) (form, error) {
	n := strings.Count(rawQuery, "&") + strings.Count(body, "&") + 2
	if n > maxParams {
		return nil, errFormSize
	}
	f := make(form, 0, n)
	for _, s := range []string{rawQuery, strings.TrimRight(body, "\r\n")} {
		for s != "" {
			var pair string
			pair, s, _ = strings.Cut(s, "&")
			if pair == "" {
				continue
			}
			k, v, _ := strings.Cut(pair, "=")
			name, err := url.QueryUnescape(k)
			if err != nil {
				return nil, errFormEncoding
			}
			value, err := url.QueryUnescape(v)
			if err != nil {
				return nil, errFormEncoding
			}
			f = append(f, param{name, value})
		}
	}
	slices.SortStableFunc(f, func(a, b param) int { return strings.Compare(a.name, b.name) })
	return f, nil
}

// get returns the value of the parameter with the exact name.
func (f form) get(name string) (string, bool) {
	i := sort.Search(len(f), func(i int) bool { return f[i].name > name })
	if i > 0 && f[i-1].name == name {
		return f[i-1].value, true
	}
	return "", false
}

// under returns the parameters whose names begin with the prefix.
func (f form) under(prefix string) form {
	from := sort.Search(len(f), func(i int) bool { return f[i].name >= prefix })
	n := sort.Search(len(f)-from, func(i int) bool { return !strings.HasPrefix(f[from+i].name, prefix) })
	return f[from : from+n]
}

// has reports whether there is the parameter itself or anything below it.
func (f form) has(name string) bool {
	if _, ok := f.get(name); ok {
		return true
	}
	return len(f.under(name+".")) > 0
}

// An indexed is an element of a list or map in a form.
type indexed struct {
	index int
	name  string // the element's full name, such as Tags.member.2
	form  form   // the parameters of the element
}

var errFormIndex = errors.New("not a list index")

// list returns the elements below a prefix that ends in a dot, in the order of
// their indexes, which may have gaps.
func (f form) list(prefix string) ([]indexed, error) {
	rest := f.under(prefix)
	var out []indexed
	for len(rest) > 0 {
		key, _, _ := strings.Cut(rest[0].name[len(prefix):], ".")
		index, ok := parseIndex(key)
		if !ok {
			return nil, errFormIndex
		}
		name := prefix + key
		n := 0
		for n < len(rest) && (rest[n].name == name || strings.HasPrefix(rest[n].name, name+".")) {
			n++
		}
		out = append(out, indexed{index, name, rest[:n]})
		rest = rest[n:]
	}
	slices.SortStableFunc(out, func(a, b indexed) int { return a.index - b.index })
	return out, nil
}

// parseIndex reads a decimal index of at most nine digits.
func parseIndex(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// with returns the form with one more parameter.
func (f form) with(name, value string) form {
	i := sort.Search(len(f), func(i int) bool { return f[i].name > name })
	return slices.Insert(slices.Clone(f), i, param{name, value})
}
