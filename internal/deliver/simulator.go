package deliver

import (
	"context"
	"strings"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
)

// SimulatorDomain is the domain of the mailbox simulator.
// ses-guide:send-an-email-from-console#send-email-simulator
const SimulatorDomain = "simulator.amazonses.com"

// A Simulator answers as the SES mailbox simulator does. What is before a '+'
// in the local part decides, in any case of letters:
//
//	success          delivered
//	bounce           refused, 550 5.1.1
//	suppressionlist  refused, 550 5.1.1 (a plain hard bounce, not Suppressed)
//	complaint        delivered, then a complaint
//	ooto             delivered, then an automatic reply: a transient bounce
//	                 (no message is sent to the return path)
//
// Any other local part is refused as bounce is.
type Simulator struct{ Clock *clock.Clock }

// Limits implements Transport.
func (*Simulator) Limits() Limits { return inProcess }

// Deliver implements Transport.
func (s *Simulator) Deliver(_ context.Context, j Job) (Report, error) {
	delivered := bounce.Outcome{
		Kind: bounce.Delivered, Code: 250, Text: "Ok",
		RemoteIP: localIP, Host: SimulatorDomain, LocalIP: localIP, TLSVersion: emulatedTLS, At: s.Clock.Now(),
	}
	complaint := &bounce.Report{UserAgent: "Amazon SES Mailbox Simulator", FeedbackType: "abuse", Arrived: delivered.At}
	rep := Report{Outcomes: all(j.Recipients, delivered)}
	for i := range rep.Outcomes {
		o := &rep.Outcomes[i]
		switch mailbox(o.Recipient) {
		case "success":
		case "complaint":
			o.Complaint = complaint
		case "ooto":
			o.AutoReply = true
		case "suppressionlist":
			refuse(o, "As requested: user unknown (suppressed address: "+o.Recipient+")")
		default:
			refuse(o, "As requested: user unknown <"+o.Recipient+">")
		}
	}
	return rep, nil
}

// refuse turns o into what a server says to an unknown user.
func refuse(o *bounce.Outcome, text string) {
	o.Kind, o.Code, o.Enhanced, o.Text = bounce.Failed, 550, "5.1.1", text
}

// mailbox returns the local part before its label, in lower case.
func mailbox(address string) string {
	local := address[:max(strings.LastIndexByte(address, '@'), 0)]
	name, _, _ := strings.Cut(local, "+")
	return strings.ToLower(name)
}
