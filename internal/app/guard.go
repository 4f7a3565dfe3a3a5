package app

import (
	"fmt"
	"net/netip"
	"syscall"
)

// refusePrivate is a net.Dialer.Control that lets connections reach public
// addresses only: subscriptions and other outgoing HTTP must not be a way into
// the network Sestina runs in. It sees the address after name resolution, so
// neither redirects nor changing DNS answers get around it.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("refused to connect to %s: %w", address, err)
	}
	if ip := at.Addr(); !isPublic(ip) {
		return fmt.Errorf("refused to connect to %s: not a public address (allow with --allow-private)", ip)
	}
	return nil
}

// isPublic reports whether an address is of the public network. One that a
// gateway translates to IPv4 is as public as that.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if ip.Is6() && !globalIPv6.Contains(ip) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96") // rfc6052#2.1
	globalIPv6 = netip.MustParsePrefix("2000::/3")     // rfc4291#2.4, iana:ipv6-address-space
	// notPublic is what the registries of special-purpose addresses (rfc6890)
	// hold that is not reached over the public network or ends elsewhere,
	// besides what IsGlobalUnicast and IsPrivate know.
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"), // inside carriers' and clouds' networks
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("2001::/23"), // Teredo among others
		netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2002::/16"), // 6to4
		netip.MustParsePrefix("3fff::/20"),
	}
)
