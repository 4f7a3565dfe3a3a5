package localca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ensure(t *testing.T, dir string, hosts ...string) *CA {
	t.Helper()
	ca, err := Ensure(dir, new(clock.Clock), Options{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// leafFor returns the certificate for a name, verified as a client would.
func leafFor(t *testing.T, ca *CA, sni string, now time.Time) *x509.Certificate {
	t.Helper()
	cert, err := ca.GetCertificate(&tls.ClientHelloInfo{ServerName: sni})
	if err != nil {
		t.Fatal(err)
	}
	name := sni
	if name == "" {
		name = "localhost"
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: ca.CertPool(), CurrentTime: now}); err != nil {
		t.Fatalf("certificate for %q: %v", sni, err)
	}
	return cert.Leaf
}

func TestEnsure(t *testing.T) {
	t.Parallel()

	t.Run("KeepsTheAuthority", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		first := ensure(t, dir)
		onDisk, err := os.ReadFile(first.CertPath())
		if err != nil {
			t.Fatal(err)
		}
		second := ensure(t, dir)
		if !second.cert.Equal(first.cert) {
			t.Error("the second start made another authority")
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(onDisk) {
			t.Fatal("ca.pem holds no certificate")
		}
		cert, err := second.GetCertificate(&tls.ClientHelloInfo{ServerName: "sns.us-east-1.amazonaws.com"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "sns.us-east-1.amazonaws.com", Roots: pool}); err != nil {
			t.Errorf("ca.pem of the first start does not verify a certificate of the second: %v", err)
		}
	})

	t.Run("KeyIsPrivate", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		ensure(t, dir)
		for name, mode := range map[string]os.FileMode{KeyFile: 0o600, CertFile: 0o644} {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if st.Mode().Perm() != mode {
				t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), mode)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("the folder holds %d files (%v), want the two", len(entries), err)
		}
	})

	t.Run("HalfAnAuthorityIsReplaced", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		first := ensure(t, dir)
		if err := os.Remove(filepath.Join(dir, CertFile)); err != nil {
			t.Fatal(err)
		}
		if second := ensure(t, dir); second.cert.Equal(first.cert) {
			t.Error("a certificate came back from nowhere")
		}
	})

	t.Run("ForeignFilesAreNotOverwritten", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		ensure(t, dir)
		if err := os.WriteFile(filepath.Join(dir, CertFile), []byte("not a certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Ensure(dir, new(clock.Clock), Options{}); err == nil || !strings.Contains(err.Error(), CertFile) {
			t.Errorf("error %v, want one that names %s", err, CertFile)
		}
	})
}

func TestEnsureRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clk, dir := new(clock.Clock), t.TempDir()
		wait := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			<-ctx.Done()
		}

		ca := ensure(t, dir)
		leaf := leafFor(t, ca, "a.example", clk.Now())
		wait(leafLife - leafRenew - time.Hour)
		if again := leafFor(t, ca, "a.example", clk.Now()); !again.Equal(leaf) {
			t.Error("the certificate was issued again too early")
		}
		wait(2 * time.Hour)
		if again := leafFor(t, ca, "a.example", clk.Now()); again.Equal(leaf) {
			t.Error("the certificate was not renewed")
		}

		wait(caLife - caRenew)
		next := ensure(t, dir)
		if next.cert.Equal(ca.cert) {
			t.Error("an authority in its last year was kept")
		}
		leafFor(t, next, "a.example", clk.Now())
	})
}

// A clock moved forward in dev must not put certificates into the clients'
// future.
func TestMovedClockDoesNotMatter(t *testing.T) {
	t.Parallel()
	ca, err := Ensure(t.TempDir(), clock.New(20*365*24*time.Hour), Options{})
	if err != nil {
		t.Fatal(err)
	}
	leafFor(t, ca, "localhost", new(clock.Clock).Now())
}

func TestGetCertificate(t *testing.T) {
	t.Parallel()
	ca := ensure(t, t.TempDir(), "Mail.Example.com", "192.0.2.7", "no spaces allowed", "localhost")
	now := new(clock.Clock).Now()

	t.Run("OwnNames", func(t *testing.T) {
		t.Parallel()
		own := leafFor(t, ca, "", now)
		for _, name := range []string{"localhost", "127.0.0.1", "::1", "mail.example.com", "192.0.2.7"} {
			if err := own.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
		if len(own.DNSNames) != 2 || len(own.IPAddresses) != 3 {
			t.Errorf("names %v %v", own.DNSNames, own.IPAddresses)
		}
		if !leafFor(t, ca, "MAIL.example.com.", now).Equal(own) {
			t.Error("an own name has a certificate apart")
		}
	})

	t.Run("AnyName", func(t *testing.T) {
		t.Parallel()
		sns := leafFor(t, ca, "sns.us-east-1.amazonaws.com", now)
		if !leafFor(t, ca, "SNS.us-east-1.amazonaws.com", now).Equal(sns) {
			t.Error("issued twice for one name")
		}
	})

	t.Run("AddressOfTheConnection", func(t *testing.T) {
		t.Parallel()
		conn := fakeConn{local: &net.TCPAddr{IP: net.IPv4(172, 17, 0, 1), Port: 443}}
		cert, err := ca.GetCertificate(&tls.ClientHelloInfo{Conn: conn})
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.Leaf.VerifyHostname("172.17.0.1"); err != nil {
			t.Error(err)
		}
	})

	t.Run("NonsenseGetsTheOwnNames", func(t *testing.T) {
		t.Parallel()
		own := leafFor(t, ca, "", now)
		for _, sni := range []string{"a b", "a..b", "\x00", "ü.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130) + "a"} {
			cert, err := ca.GetCertificate(&tls.ClientHelloInfo{ServerName: sni})
			if err != nil {
				t.Fatal(err)
			}
			if !cert.Leaf.Equal(own) {
				t.Errorf("%q got a certificate for %v", sni, cert.Leaf.DNSNames)
			}
		}
	})
}

func TestLeavesAreBounded(t *testing.T) {
	t.Parallel()
	ca := ensure(t, t.TempDir())
	for i := range maxLeaves + 20 {
		leafFor(t, ca, fmt.Sprintf("host%d.example", i), new(clock.Clock).Now())
	}
	if n := len(ca.leaves); n != maxLeaves {
		t.Errorf("%d certificates are kept, want %d", n, maxLeaves)
	}
}

type fakeConn struct {
	net.Conn
	local net.Addr
}

func (c fakeConn) LocalAddr() net.Addr { return c.local }
