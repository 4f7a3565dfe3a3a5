package app

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/deliver"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/smtpd"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/svc/sns"
	"github.com/sestina-mail/sestina/internal/svc/sqs"
)

// The adapters join parts that declare what they need and do not import each
// other.

// maxMessage is the largest message by SMTP, in bytes. ses-guide:quotas
const maxMessage = 40 << 20

// smtpDoor lets smtpd hand messages to accept.
type smtpDoor struct{ door *accept.Door }

func (d smtpDoor) AcceptSMTP(ctx context.Context, s smtpd.Session, from string, to []string, data []byte) (string, error) {
	return d.door.Accept(ctx, accept.Submission{
		Scope: s.Scope, Operation: "SendSmtpEmail", UserName: s.UserName, SourceIP: s.RemoteIP, TLSVersion: s.TLSVersion,
		Source: from, Destinations: to, ReturnPath: from, Raw: data, MaxBytes: maxMessage,
	})
}

// queues lets sns put messages into queues.
type queues struct{ sqs *sqs.Service }

func (q queues) QueueMessage(arn string, body []byte, attrs map[string]sns.QueueAttribute, groupID, dedupID string, now time.Time) (store.QueueMessage, error) {
	list := make([]sqs.Attribute, 0, len(attrs))
	for name, v := range attrs {
		list = append(list, sqs.Attribute{Name: name, DataType: v.DataType, StringValue: v.StringValue, BinaryValue: v.BinaryValue})
	}
	return q.sqs.Row(arn, body, list, groupID, dedupID, now)
}

// mailer lets sns send to email subscriptions.
type mailer struct{ door *accept.Door }

func (m mailer) Compose(ctx context.Context, n sns.Mail) (store.Effects, error) {
	from, err := message.ParseAddress(n.From)
	if err != nil {
		return store.Effects{}, fmt.Errorf("sender of topic mail: %w", err)
	}
	to, err := message.ParseAddress(n.To)
	if err != nil {
		return store.Effects{}, fmt.Errorf("recipient of topic mail: %w", err)
	}
	return m.door.Notice(ctx, n.Scope, message.Simple{
		From: from, To: []message.Address{to}, Subject: message.Content{Data: n.Subject, Charset: "UTF-8"},
		Text: &message.Content{Data: n.Text, Charset: "UTF-8"},
	})
}

// noRoute is the transport of serve without a relay: every attempt is a
// temporary failure that says why, so that mail waits for an operator.
type noRoute struct{ clock *clock.Clock }

func (noRoute) Limits() deliver.Limits { return deliver.Limits{Batch: 1, Concurrency: 1} }

func (n noRoute) Deliver(_ context.Context, j deliver.Job) (deliver.Report, error) {
	r := deliver.Report{LaneFault: true}
	for _, to := range j.Recipients {
		r.Outcomes = append(r.Outcomes, bounce.Outcome{
			Recipient: to, Kind: bounce.Deferred, Code: 451, Enhanced: "4.4.4", Text: "no relay is configured and MX delivery is not supported yet", At: n.clock.Now(),
		})
	}
	return r, nil
}
