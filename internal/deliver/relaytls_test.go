package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"testing"
	"testing/synctest"
)

func TestRelayTLS(t *testing.T) {
	t.Parallel()
	withTLS := append([]string{"STARTTLS"}, usual...)
	offered := func(p *peer) {
		p.hello(withTLS...)
		p.startTLS(serverTLS())
		p.ehlo(usual...)
		p.mail("250 Ok", a)
		p.quit()
	}
	noTLS := func(p *peer) {
		p.hello(usual...)
		p.mail("250 Ok", a)
		p.quit()
	}
	badHandshake := func(p *peer) {
		p.hello(withTLS...)
		p.want("STARTTLS")
		p.say("220 Ready")
		_ = tls.Server(p.conn, &tls.Config{}).Handshake() // no certificate
	}
	tests := map[string]struct {
		o       RelayOptions
		require bool
		scripts []func(*peer)
		fault   bool
		want    string
		tls     string
	}{
		"offered":               {scripts: []func(*peer){offered}, want: "delivered: 250 Ok", tls: "TLSv1.3"},
		"required and offered":  {require: true, scripts: []func(*peer){offered}, want: "delivered: 250 Ok", tls: "TLSv1.3"},
		"not offered":           {scripts: []func(*peer){noTLS}, want: "delivered: 250 Ok"},
		"required, not offered": {require: true, scripts: []func(*peer){func(p *peer) { p.hello(usual...); p.quit() }}, want: "failed: 550 5.7.10 The configuration set requires TLS, which mx.example.net does not offer"},
		"old version": {scripts: []func(*peer){func(p *peer) {
			p.hello(withTLS...)
			cfg := serverTLS()
			cfg.MaxVersion = tls.VersionTLS12
			p.startTLS(cfg)
			p.ehlo(usual...)
			p.mail("250 Ok", a)
			p.quit()
		}}, want: "delivered: 250 Ok", tls: "TLSv1.2"},
		"refused": {scripts: []func(*peer){func(p *peer) {
			p.hello(withTLS...)
			p.step("STARTTLS", "454 4.7.0 not now")
			p.mail("250 Ok", a)
			p.quit()
		}}, want: "delivered: 250 Ok"},
		"required, refused": {require: true, scripts: []func(*peer){func(p *peer) {
			p.hello(withTLS...)
			p.step("STARTTLS", "454 4.7.0 not now")
			p.quit()
		}}, want: "deferred: 454 4.7.0 not now"},
		"handshake fails":           {scripts: []func(*peer){badHandshake, func(p *peer) { p.hello(withTLS...); p.mail("250 Ok", a); p.quit() }}, want: "delivered: 250 Ok"},
		"required, handshake fails": {require: true, scripts: []func(*peer){badHandshake}, fault: true, want: "deferred: 421 4.7.5 TLS handshake failed: no common ground"},
		"words put in before TLS": {scripts: []func(*peer){func(p *peer) {
			p.hello(withTLS...)
			p.want("STARTTLS")
			p.say("220 Ready", "250 trust me")
		}}, want: "deferred: 421 4.4.2 Connection lost while waiting for TLS"},
		"from the start": {o: RelayOptions{ImplicitTLS: true}, require: true, scripts: []func(*peer){func(p *peer) {
			p.handshake(serverTLS())
			p.hello(usual...)
			p.mail("250 Ok", a)
			p.quit()
		}}, want: "delivered: 250 Ok", tls: "TLSv1.3"},
		"from the start, fails": {
			o:       RelayOptions{ImplicitTLS: true},
			scripts: []func(*peer){func(p *peer) { _ = tls.Server(p.conn, &tls.Config{}).Handshake() }},
			fault:   true, want: "deferred: 421 4.7.5 TLS handshake failed: no common ground",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, tt.o, tt.scripts...)
				j := job(testBody, a)
				j.RequireTLS = tt.require
				rep := deliver(t, r, j)
				check(t, rep, tt.fault, a+" "+tt.want)
				if got := rep.Outcomes[0].TLSVersion; got != tt.tls {
					t.Errorf("TLS version %q, want %q", got, tt.tls)
				}
			})
		})
	}
}

// A connection kept without TLS does not serve a message that requires it.
func TestRelayKeptConnectionWithoutTLS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := scripted(t, RelayOptions{}, func(p *peer) {
			p.hello(usual...)
			p.mail("250 Ok", a)
			p.quit()
		}, func(p *peer) {
			p.hello(append(usual, "STARTTLS")...)
			p.startTLS(serverTLS())
			p.ehlo(usual...)
			p.mail("250 Ok", a)
			p.quit()
		})
		check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 Ok")
		j := job(testBody, a)
		j.RequireTLS = true
		check(t, deliver(t, r, j), false, a+" delivered: 250 Ok")
	})
}

func TestRelayAuth(t *testing.T) {
	t.Parallel()
	_, pool := certificate()
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain := "AUTH PLAIN " + encode("\x00ana\x00secret")
	tests := map[string]struct {
		roots    *x509.CertPool
		insecure bool
		remote   string
		script   func(*peer)
		fault    bool
		want     string
	}{
		"PLAIN over verified TLS": {roots: pool, script: func(p *peer) {
			p.hello("STARTTLS", "AUTH PLAIN") // offered in the clear: not used
			p.startTLS(serverTLS())
			p.ehlo(append(usual, "AUTH LOGIN PLAIN")...)
			p.step(plain, "235 2.7.0 welcome")
			p.mail("250 Ok", a)
			p.quit()
		}, want: "delivered: 250 Ok"},
		"LOGIN": {roots: pool, script: func(p *peer) {
			p.hello("STARTTLS")
			p.startTLS(serverTLS())
			p.ehlo(append(usual, "AUTH LOGIN")...)
			p.step("AUTH LOGIN", "334 "+encode("Username:"))
			p.step(encode("ana"), "334 "+encode("Password:"))
			p.step(encode("secret"), "235 2.7.0 welcome")
			p.mail("250 Ok", a)
			p.quit()
		}, want: "delivered: 250 Ok"},
		"wrong password defers": {roots: pool, script: func(p *peer) {
			p.hello("STARTTLS")
			p.startTLS(serverTLS())
			p.ehlo("AUTH PLAIN")
			p.step(plain, "535 5.7.8 who are you?")
			p.quit()
		}, fault: true, want: "deferred: 535 5.7.8 who are you?"},
		"nothing known is offered": {roots: pool, script: func(p *peer) {
			p.hello("STARTTLS")
			p.startTLS(serverTLS())
			p.ehlo("AUTH SCRAM-SHA-256")
			p.quit()
		}, fault: true, want: "deferred: 454 4.7.8 mx.example.net offers no way to log in that is known here"},
		"certificate not trusted": {roots: x509.NewCertPool(), script: func(p *peer) {
			p.hello("STARTTLS", "AUTH PLAIN")
			p.want("STARTTLS")
			p.say("220 Ready")
			_ = tls.Server(p.conn, serverTLS()).Handshake()
		}, fault: true, want: "deferred: 421 4.7.5 TLS handshake failed: the certificate is not trusted"},
		"not without TLS": {script: func(p *peer) {
			p.hello("AUTH PLAIN")
			p.quit()
		}, fault: true, want: "deferred: 454 4.7.8 Credentials are not sent to mx.example.net without TLS"},
		"without TLS on loopback": {remote: "127.0.0.1:1025", script: func(p *peer) {
			p.hello(append(usual, "AUTH PLAIN")...)
			p.step(plain, "235 ok")
			p.mail("250 Ok", a)
			p.quit()
		}, want: "delivered: 250 Ok"},
		"without TLS when allowed": {insecure: true, script: func(p *peer) {
			p.hello(append(usual, "AUTH PLAIN")...)
			p.step(plain, "235 ok")
			p.mail("250 Ok", a)
			p.quit()
		}, want: "delivered: 250 Ok"},
		"AUTH goes on too long": {insecure: true, script: func(p *peer) {
			p.hello("AUTH PLAIN")
			p.step(plain, "334 more")
			p.gone()
		}, fault: true, want: "deferred: 421 4.4.2 Connection lost while waiting for an answer that fits no question"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, n := scripted(t, RelayOptions{Username: "ana", Password: "secret", RootCAs: tt.roots, Insecure: tt.insecure}, tt.script)
				if tt.remote != "" {
					n.remote = tt.remote
				}
				check(t, deliver(t, r, job(testBody, a)), tt.fault, a+" "+tt.want)
			})
		})
	}
}
