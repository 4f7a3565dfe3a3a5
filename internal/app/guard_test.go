package app

import (
	"net"
	"net/netip"
	"testing"
)

// TestRefusePrivate: what is not on the public network is refused, however it is
// written, and what is on it is not.
func TestRefusePrivate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ip     string
		public bool
	}{
		{"192.0.66.1", true}, {"1.1.1.1", true}, {"198.17.0.1", true}, {"223.255.255.254", true}, {"100.128.0.1", true}, {"172.32.0.1", true},
		{"2606:4700::1111", true}, {"2a00:1450::1", true}, {"64:ff9b::1.1.1.1", true}, {"::ffff:1.1.1.1", true},

		{"0.0.0.0", false}, {"0.1.2.3", false}, {"10.0.0.1", false}, {"100.64.0.1", false}, {"127.0.0.1", false}, {"127.9.9.9", false},
		{"169.254.169.254", false}, {"172.16.0.1", false}, {"172.31.255.255", false}, {"192.0.0.1", false}, {"192.168.1.1", false},
		{"198.18.0.1", false}, {"198.19.255.255", false}, {"192.0.2.1", false}, {"198.51.100.1", false}, {"203.0.113.1", false}, {"192.88.99.1", false},
		{"224.0.0.1", false}, {"239.255.255.255", false}, {"240.0.0.1", false}, {"255.255.255.255", false},

		{"::", false}, {"::1", false}, {"::127.0.0.1", false}, {"::ffff:127.0.0.1", false}, {"::ffff:10.0.0.1", false}, {"::ffff:169.254.169.254", false},
		{"64:ff9b::127.0.0.1", false}, {"64:ff9b::10.0.0.1", false}, {"64:ff9b::a9fe:a9fe", false}, {"64:ff9b:1::1.1.1.1", false},
		{"2002:7f00:1::1", false}, {"2002:a00:1::1", false}, {"2002:101:101::1", false}, {"2001::1", false}, {"2001:db8::1", false}, {"3fff::1", false},
		{"fc00::1", false}, {"fd00:ec2::254", false}, {"fe80::1", false}, {"fe80::1%lo", false}, {"fec0::1", false}, {"ff02::1", false}, {"100::1", false}, {"5f00::1", false},
	} {
		address := net.JoinHostPort(tt.ip, "80")
		if err := refusePrivate("tcp", address, nil); (err == nil) != tt.public {
			t.Errorf("%s: %v, want public %t", address, err, tt.public)
		}
	}
	for _, address := range []string{"", "1.1.1.1", "example.com:80", ":80"} {
		if refusePrivate("tcp", address, nil) == nil {
			t.Errorf("%q is not refused", address)
		}
	}
}

// FuzzRefusePrivate: nothing that the standard library knows to be private gets
// through, also as an IPv6 address that holds an IPv4 one.
func FuzzRefusePrivate(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1})
	f.Add([]byte{0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		v4 := ip.Unmap()
		if !v4.IsPrivate() && !v4.IsLoopback() && !v4.IsLinkLocalUnicast() && !v4.IsMulticast() && !v4.IsUnspecified() {
			return
		}
		forms := []netip.Addr{ip}
		if v4.Is4() {
			nat64 := netip.MustParseAddr("64:ff9b::").As16()
			copy(nat64[12:], v4.AsSlice())
			forms = append(forms, netip.AddrFrom16(nat64), netip.AddrFrom16(v4.As16()))
		}
		for _, a := range forms {
			if refusePrivate("tcp", netip.AddrPortFrom(a, 80).String(), nil) == nil {
				t.Errorf("%s is not refused", a)
			}
		}
	})
}
