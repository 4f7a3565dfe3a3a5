package deliver

import (
	"testing"
	"testing/synctest"
)

// Replies to one transaction, and what they mean per recipient.
func TestRelayReplies(t *testing.T) {
	t.Parallel()
	head := func(p *peer, to ...string) {
		p.hello(usual...)
		p.want("MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME")
		for _, r := range to {
			p.want("RCPT TO:<" + r + ">")
		}
	}
	tests := map[string]struct {
		to     []string
		script func(*peer)
		fault  bool
		want   []string
	}{
		"delivered": {
			[]string{a, b}, func(p *peer) {
				p.hello(usual...)
				p.mail("250 2.0.0 Ok: queued as 4Xy1", a, b)
				p.quit()
			}, false,
			[]string{a + " delivered: 250 2.0.0 Ok: queued as 4Xy1", b + " delivered: 250 2.0.0 Ok: queued as 4Xy1"},
		},
		"one command at a time without PIPELINING": {
			[]string{a, b}, func(p *peer) {
				p.hello()
				p.step("MAIL FROM:<news@example.com>", "250 Ok")
				p.step("RCPT TO:<a@example.net>", "250 Ok")
				p.step("RCPT TO:<b@example.net>", "251 User not local; will forward")
				p.want("DATA")
				p.data("250 Ok")
				p.quit()
			}, false,
			[]string{a + " delivered: 250 Ok", b + " delivered: 250 Ok"},
		},
		"recipients are answered one by one": {
			[]string{a, b, c}, func(p *peer) {
				head(p, a, b, c)
				p.say("250 Ok", "550 5.1.1 nobody", "250 Ok", "451 4.3.0 later")
				p.want("DATA")
				p.data("250 2.0.0 Ok")
				p.quit()
			}, false,
			[]string{a + " failed: 550 5.1.1 nobody", c + " deferred: 451 4.3.0 later", b + " delivered: 250 2.0.0 Ok"},
		},
		"no DATA when all are refused": {
			[]string{a, b}, func(p *peer) {
				head(p, a, b)
				p.say("250 Ok", "550 5.1.1 nobody", "550-5.1.1 nobody", "550 5.1.1 either")
				p.quit()
			}, false,
			[]string{a + " failed: 550 5.1.1 nobody", b + " failed: 550 5.1.1 nobody either"},
		},
		"sender refused with pipelining": {
			[]string{a, b}, func(p *peer) {
				head(p, a, b)
				p.say("553 5.1.8 not you", "503 5.5.1 MAIL first", "503 5.5.1 MAIL first")
				p.quit()
			}, false,
			[]string{a + " failed: 553 5.1.8 not you", b + " failed: 553 5.1.8 not you"},
		},
		"sender refused without pipelining": {
			[]string{a, b}, func(p *peer) {
				p.hello()
				p.step("MAIL FROM:<news@example.com>", "450 4.1.8 not yet")
				p.quit()
			}, false,
			[]string{a + " deferred: 450 4.1.8 not yet", b + " deferred: 450 4.1.8 not yet"},
		},
		"DATA refused": {
			[]string{a, b}, func(p *peer) {
				head(p, a, b)
				p.say("250 Ok", "550 5.1.1 nobody", "250 Ok")
				p.want("DATA")
				p.say("451 4.3.0 no room now")
				p.quit()
			}, false,
			[]string{a + " failed: 550 5.1.1 nobody", b + " deferred: 451 4.3.0 no room now"},
		},
		"message refused for good": {
			[]string{a, b}, func(p *peer) {
				p.hello(usual...)
				p.mail("554 5.6.0 we do not like it", a, b)
				p.quit()
			}, false,
			[]string{a + " failed: 554 5.6.0 we do not like it", b + " failed: 554 5.6.0 we do not like it"},
		},
		"message refused for now": {
			[]string{a}, func(p *peer) {
				p.hello(usual...)
				p.mail("450-4.2.0 greylisted,\r\n450 4.2.0 come back", a)
				p.quit()
			}, false,
			[]string{a + " deferred: 450 4.2.0 greylisted, come back"},
		},
		"421 instead of a greeting": {
			[]string{a}, func(p *peer) { p.say("421 4.3.2 too busy"); p.gone() }, true,
			[]string{a + " deferred: 421 4.3.2 too busy"},
		},
		"554 instead of a greeting is not about the message": {
			[]string{a}, func(p *peer) { p.say("554 5.3.2 no mail here"); p.gone() }, true,
			[]string{a + " deferred: 554 5.3.2 no mail here"},
		},
		"421 to MAIL": {
			[]string{a, b}, func(p *peer) { head(p, a, b); p.say("421 4.7.0 slow down"); p.gone() }, true,
			[]string{a + " deferred: 421 4.7.0 slow down", b + " deferred: 421 4.7.0 slow down"},
		},
		"421 to the second recipient": {
			[]string{a, b, c}, func(p *peer) {
				head(p, a, b, c)
				p.say("250 Ok", "550 5.1.1 nobody", "421 4.7.0 slow down")
				p.gone()
			}, true,
			[]string{a + " failed: 550 5.1.1 nobody", b + " deferred: 421 4.7.0 slow down", c + " deferred: 421 4.7.0 slow down"},
		},
		"421 to the message": {
			[]string{a}, func(p *peer) {
				p.hello(usual...)
				p.mail("421 4.3.2 going down", a)
				p.gone()
			}, true,
			[]string{a + " deferred: 421 4.3.2 going down"},
		},
		"HELO where EHLO is unknown": {
			[]string{a}, func(p *peer) {
				p.say("220 old.example.net")
				p.step("EHLO client.example.com", "502 what?")
				p.step("HELO client.example.com", "250 hello")
				p.step("MAIL FROM:<news@example.com>", "250 Ok")
				p.step("RCPT TO:<a@example.net>", "250 Ok")
				p.want("DATA")
				p.data("250 Ok")
				p.quit()
			}, false,
			[]string{a + " delivered: 250 Ok"},
		},
		"too many recipients go in a second transaction": {
			[]string{a, b, c}, func(p *peer) {
				head(p, a, b, c)
				p.say("250 Ok", "250 Ok", "452 4.5.3 Too many recipients", "452 4.5.3 Too many recipients")
				p.want("DATA")
				p.data("250 2.0.0 first")
				p.want("RSET", "MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>")
				p.say("250 Ok", "250 Ok", "250 Ok", "250 Ok")
				p.want("DATA")
				p.data("250 2.0.0 second")
				p.quit()
			}, false,
			[]string{a + " delivered: 250 2.0.0 first", b + " delivered: 250 2.0.0 second", c + " delivered: 250 2.0.0 second"},
		},
		"the announced size is believed": {
			[]string{a}, func(p *peer) { p.hello("SIZE 16"); p.quit() }, false,
			[]string{a + " failed: 552 5.3.4 Message size exceeds the 16 bytes that mx.example.net takes"},
		},
		"an address that needs SMTPUTF8": {
			[]string{"ü@example.net"}, func(p *peer) { p.hello(); p.quit() }, false,
			[]string{"ü@example.net failed: 550 5.6.7 Address has characters that need SMTPUTF8, which mx.example.net does not offer"},
		},
		"an address that gets SMTPUTF8": {
			[]string{"ü@example.net"}, func(p *peer) {
				p.hello("SMTPUTF8")
				p.step("MAIL FROM:<news@example.com> SMTPUTF8", "250 Ok")
				p.step("RCPT TO:<ü@example.net>", "250 Ok")
				p.want("DATA")
				p.data("250 Ok")
				p.quit()
			}, false,
			[]string{"ü@example.net delivered: 250 Ok"},
		},
		"an address cannot smuggle commands": {
			[]string{"x@example.net>\r\nRCPT TO:<y@example.net"}, func(p *peer) { p.hello(); p.quit() }, false,
			[]string{"x@example.net>\r\nRCPT TO:<y@example.net failed: 501 5.1.3 Bad address syntax"},
		},
		"a reply that is none": {
			[]string{a}, func(p *peer) { head(p, a); p.say("hello?"); p.gone() }, false,
			[]string{a + " deferred: 421 4.4.2 Connection lost while waiting for the reply to MAIL FROM"},
		},
		"a reply that fits no question": {
			[]string{a}, func(p *peer) { head(p, a); p.say("354 go on", "250 Ok"); p.gone() }, false,
			[]string{a + " deferred: 421 4.4.2 Connection lost while waiting for an answer that fits no question"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, RelayOptions{}, tt.script)
				check(t, deliver(t, r, job(testBody, tt.to...)), tt.fault, tt.want...)
			})
		})
	}
}
