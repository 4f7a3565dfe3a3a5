package awswire

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// setPeer fills in who the caller is and how they reached us. What proxies add
// is believed only from trusted ones.
func (m *Mux) setPeer(c *Call, r *http.Request) {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme, c.TLSVersion = "https", sestina.TLSVersionName(r.TLS.Version)
	}
	c.SourceIP = addrOf(r.RemoteAddr)
	c.UserAgent = r.UserAgent()
	if m.trusted(c.SourceIP) {
		if p := firstOf(r.Header.Get("X-Forwarded-Proto")); p == "https" || p == "http" {
			scheme = p
			if p == "https" && c.TLSVersion == "" {
				c.TLSVersion = "TLSv1.2"
			}
		}
		if h := firstOf(r.Header.Get("X-Forwarded-Host")); isHost(h) {
			host = h
		}
		c.SourceIP = m.forwardedFor(r, c.SourceIP)
	}
	c.BaseURL = strings.TrimSuffix(m.opt.BaseURL, "/")
	if c.BaseURL == "" {
		c.BaseURL = scheme + "://" + host
	}
}

func (m *Mux) trusted(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(m.opt.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// forwardedFor returns the last address in X-Forwarded-For that is not a
// trusted proxy's: everything before it the caller may have made up.
func (m *Mux) forwardedFor(r *http.Request, peer netip.Addr) netip.Addr {
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, s := range slices.Backward(list) {
		a := addrOf(strings.TrimSpace(s))
		if !a.IsValid() {
			return peer
		}
		if peer = a; !m.trusted(a) {
			return a
		}
	}
	return peer
}

// addrOf reads an address with or without a port.
func addrOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone("")
	}
	return netip.Addr{}
}

func firstOf(list string) string {
	v, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(v)
}

// isHost reports whether s has only characters of a host with a port.
func isHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:[]_", r)
	})
}
