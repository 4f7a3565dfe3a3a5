package accept

import (
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// mail makes the frozen mail object of event records.
func (dr *draft) mail() ([]byte, error) {
	m := event.Mail{
		Timestamp: event.Time(dr.now), Source: dr.Source,
		SourceARN:        sestina.NewARN("ses", dr.Scope, "identity/"+dr.identity),
		SendingAccountID: dr.Scope.Account, MessageID: dr.messageID, Destination: dr.recipients,
		HeadersTruncated: dr.truncated,
		CommonHeaders: event.CommonHeaders{
			From: dr.common.From, To: dr.common.To, CC: dr.common.Cc, ReplyTo: dr.common.ReplyTo, Sender: dr.common.Sender,
			ReturnPath: dr.common.ReturnPath, Date: dr.common.Date, Subject: dr.common.Subject, MessageID: dr.messageID,
		},
		Tags: dr.eventTags(),
	}
	m.Headers = make([]event.Header, len(dr.fields))
	for i, f := range dr.fields {
		m.Headers[i] = event.Header(f)
	}
	return m.Encode()
}

// eventTags are the auto-tags known at acceptance, then the message tags.
// ses-guide:event-publishing-auto-tags
func (dr *draft) eventTags() event.Tags {
	var t event.Tags
	add := func(name, value string) {
		if value != "" {
			t = append(t, sestina.Tag{Name: name, Value: value})
		}
	}
	add("ses:source-tls-version", dr.TLSVersion)
	add("ses:operation", dr.Operation)
	if dr.set != nil {
		add("ses:configuration-set", dr.set.Name)
	}
	if dr.SourceIP.IsValid() {
		add("ses:source-ip", dr.SourceIP.Unmap().String())
	}
	add("ses:from-domain", dr.fromDomain)
	add("ses:caller-identity", dr.UserName)
	return append(t, dr.tags...)
}
