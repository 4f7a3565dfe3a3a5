package sns

import (
	"crypto/md5" // rfc7616 still knows MD5, and endpoints ask for it
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// authorization answers challenges with the credentials of the endpoint's URL:
// Digest where it is offered in a form that is known, else Basic. It returns ""
// when neither is offered.
func authorization(endpoint *url.URL, challenges []string) string {
	user := endpoint.User.Username()
	password, _ := endpoint.User.Password()
	basic := ""
	for _, c := range challenges {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(c), " ")
		switch strings.ToLower(scheme) {
		case "digest":
			nonce := make([]byte, 16)
			_, _ = rand.Read(nonce) // never fails
			if a := digest(parseChallenge(rest), user, password, endpoint.RequestURI(), hex.EncodeToString(nonce)); a != "" {
				return a
			}
		case "basic":
			basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
		}
	}
	return basic
}

// parseChallenge reads the parameters of a challenge, names in lower case.
// rfc9110#11.2
func parseChallenge(s string) map[string]string {
	out := map[string]string{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " \t,") {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return out
		}
		name, rest = strings.ToLower(strings.TrimSpace(name)), strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, `"`) {
			v, after, _ := strings.Cut(rest, ",")
			out[name], s = strings.TrimSpace(v), after
			continue
		}
		var v strings.Builder
		i := 1
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
			}
			v.WriteByte(rest[i])
		}
		out[name], s = v.String(), rest[min(i+1, len(rest)):]
	}
	return out
}

// digest answers a Digest challenge for a POST, with quality auth or, as of old,
// none. It returns "" when the challenge asks for something else. rfc7616#3.4
func digest(c map[string]string, user, password, uri, cnonce string) string {
	sum, session := digestHash(c["algorithm"])
	if sum == nil || c["nonce"] == "" {
		return ""
	}
	const nc = "00000001"
	ha1 := sum(user + ":" + c["realm"] + ":" + password)
	if session {
		ha1 = sum(ha1 + ":" + c["nonce"] + ":" + cnonce)
	}
	ha2 := sum(http.MethodPost + ":" + uri)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username=%s, realm=%s, nonce=%s, uri=%s`, quote(user), quote(c["realm"]), quote(c["nonce"]), quote(uri))
	switch {
	case c["qop"] == "":
		fmt.Fprintf(&b, `, response=%q`, sum(ha1+":"+c["nonce"]+":"+ha2))
	case offersAuth(c["qop"]):
		fmt.Fprintf(&b, `, qop=auth, nc=%s, cnonce=%q, response=%q`, nc, cnonce, sum(strings.Join([]string{ha1, c["nonce"], nc, cnonce, "auth", ha2}, ":")))
	default:
		return ""
	}
	if c["algorithm"] != "" {
		b.WriteString(", algorithm=" + c["algorithm"])
	}
	if c["opaque"] != "" {
		b.WriteString(", opaque=" + quote(c["opaque"]))
	}
	return b.String()
}

func offersAuth(qop string) bool {
	return slices.ContainsFunc(strings.Split(qop, ","), func(q string) bool { return strings.EqualFold(strings.TrimSpace(q), "auth") })
}

// digestHash returns the hash of an algorithm, in hex, or nil for one that is
// not known.
func digestHash(algorithm string) (sum func(string) string, session bool) {
	name, session := strings.CutSuffix(strings.ToUpper(algorithm), "-SESS")
	var make func() hash.Hash
	switch name {
	case "", "MD5":
		make = md5.New
	case "SHA-256":
		make = sha256.New
	default:
		return nil, false
	}
	return func(s string) string {
		h := make()
		h.Write([]byte(s))
		return hex.EncodeToString(h.Sum(nil))
	}, session
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
