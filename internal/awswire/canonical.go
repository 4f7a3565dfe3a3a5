package awswire

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// verify reports whether the signature is right for the request with the given
// payload hash (hex) under the signing key.
//
// Clients differ in how they build the canonical path and query from unusual
// requests. The usual form is tried first: the path as sent, encoded once more.
// Then a path normalised before encoding, and a plus sign in the query taken
// literally.
func (s *signature) verify(r *http.Request, payloadHash string, key [sha256.Size]byte) bool {
	want, err := hex.DecodeString(s.value)
	if err != nil {
		return false
	}
	headers, ok := s.canonicalHeaders(r)
	if !ok {
		return false
	}
	sent := sentPath(r)
	paths := []string{sent}
	if n := normalPath(sent); n != sent {
		paths = append(paths, n)
	}
	plus := []bool{false}
	if strings.Contains(r.URL.RawQuery, "+") {
		plus = append(plus, true)
	}
	for _, p := range paths {
		for _, literalPlus := range plus {
			b := make([]byte, 0, 1024)
			b = append(append(b, r.Method...), '\n')
			b = append(appendEncoded(b, p, true), '\n')
			b = append(appendCanonicalQuery(b, r.URL.RawQuery, literalPlus), '\n')
			b = append(append(b, headers...), '\n')
			b = append(append(b, s.signed...), '\n')
			b = append(b, payloadHash...)
			if subtle.ConstantTimeCompare(hmacSHA256(key[:], s.stringToSign(b)), want) == 1 {
				return true
			}
		}
	}
	return false
}

func (s *signature) stringToSign(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	stamp := s.timestamp
	if t, ok := s.time(); ok {
		stamp = t.Format(amzDateForm)
	}
	return algorithm + "\n" + stamp + "\n" + s.date + "/" + s.region + "/" + s.service + "/aws4_request\n" + hex.EncodeToString(sum[:])
}

// mustSign are headers that decide what a request means: if they are there,
// the signature has to cover them.
var mustSign = []string{"X-Amz-Date", "X-Amz-Target", "X-Amz-Content-Sha256", "X-Amz-Security-Token"}

// canonicalHeaders returns the block of signed headers, with the empty line
// that ends it. It reports false if the signature leaves out a header that it
// must cover.
func (s *signature) canonicalHeaders(r *http.Request) ([]byte, bool) {
	names := strings.Split(s.signed, ";")
	if !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return nil, false
	}
	for _, h := range mustSign {
		if _, ok := r.Header[h]; ok && !slices.Contains(names, strings.ToLower(h)) {
			return nil, false
		}
	}
	b := make([]byte, 0, 512)
	for _, name := range names {
		b = append(append(b, name...), ':')
		switch {
		case name == "host":
			b = append(b, r.Host...)
		case name == "content-length" && r.Header.Get("Content-Length") == "":
			if r.ContentLength >= 0 {
				b = strconv.AppendInt(b, r.ContentLength, 10)
			}
		case name == "transfer-encoding":
			b = append(b, strings.Join(r.TransferEncoding, ",")...)
		default:
			for i, v := range r.Header.Values(name) {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendCollapsed(b, v)
			}
		}
		b = append(b, '\n')
	}
	return b, true
}

// appendCollapsed appends a header value without spaces around it and with one
// space for each run of them.
func appendCollapsed(b []byte, v string) []byte {
	v = strings.TrimSpace(v)
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' { // v does not begin with a space
			b = append(b, v[i])
		}
	}
	return b
}

// sentPath returns the path as it was sent, still escaped.
func sentPath(r *http.Request) string {
	p, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(p, "/") {
		p = r.URL.EscapedPath()
	}
	if p == "" {
		return "/"
	}
	return p
}

// normalPath removes empty segments and dot segments, and keeps a slash at the
// end.
func normalPath(p string) string {
	var out []string
	segments := strings.Split(p, "/")
	for _, seg := range segments {
		switch seg {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, seg)
		}
	}
	if len(out) == 0 {
		return "/"
	}
	n := "/" + strings.Join(out, "/")
	if last := segments[len(segments)-1]; last == "" || last == "." || last == ".." {
		n += "/"
	}
	return n
}

// appendCanonicalQuery appends the query's parameters, decoded, encoded again
// and sorted, without the signature itself.
func appendCanonicalQuery(b []byte, raw string, literalPlus bool) []byte {
	if raw == "" {
		return b
	}
	type pair struct{ name, value string }
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		name := recode(k, literalPlus)
		if name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, pair{name, recode(v, literalPlus)})
	}
	slices.SortFunc(pairs, func(x, y pair) int {
		if c := strings.Compare(x.name, y.name); c != 0 {
			return c
		}
		return strings.Compare(x.value, y.value)
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return b
}

// recode brings a query component into the one encoding that is signed.
func recode(s string, literalPlus bool) string {
	if literalPlus {
		s = strings.ReplaceAll(s, "+", "%2B")
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		s = plain
	}
	return string(appendEncoded(nil, s, false))
}

const upperHex = "0123456789ABCDEF"

// appendEncoded percent-encodes everything but unreserved characters and, in
// paths, slashes.
func appendEncoded(b []byte, s string, path bool) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~', path && c == '/':
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}
