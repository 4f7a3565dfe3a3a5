package accept

import (
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// draft is a submission on its way through the checks.
type draft struct {
	Submission
	id        sestina.ID
	messageID string
	now       time.Time

	msg        *message.Message
	fields     []message.Field // as submitted, for event records
	truncated  bool
	common     message.CommonHeaders
	fromDomain string // lower case
	// senders are the bare addresses that need a verified identity, each once,
	// the first From address first.
	senders    []string
	recipients []string
	tags       []sestina.Tag
	set        *sestina.ConfigurationSet
	identity   string
}

// read parses or composes the message, takes its control headers out, and
// settles tags, sender and recipients.
func (dr *draft) read() error {
	sub, err := dr.readMessage()
	if err != nil {
		return err
	}
	if size := dr.msg.Size(); dr.MaxBytes > 0 && size > dr.MaxBytes {
		return tooLong(size, dr.MaxBytes)
	}
	if dr.ConfigurationSet == "" {
		dr.ConfigurationSet = strings.TrimSpace(sub.ConfigurationSet)
	}
	if err := dr.readTags(sub); err != nil {
		return err
	}
	if err := dr.readSender(sub); err != nil {
		return err
	}
	if err := dr.readRecipients(sub); err != nil {
		return err
	}
	dr.msg.Stamp(dr.messageID, dr.Scope.Region, dr.now)
	return nil
}

// readMessage makes the message as it will be delivered, but for its stamps,
// and returns the instructions that a raw one carried.
func (dr *draft) readMessage() (sub message.Submission, err error) {
	if dr.Raw == nil {
		f := *dr.Formatted
		f.Seed = dr.messageID
		dr.msg, err = message.Compose(f)
	} else if dr.msg, err = message.Parse(dr.Raw); err == nil {
		err = dr.msg.Check()
	}
	if err != nil {
		return sub, err
	}
	dr.fields, dr.truncated = dr.msg.Header.EventFields()
	dr.common = dr.msg.Header.Common()
	if dr.Raw != nil {
		sub = dr.msg.Take()
	}
	return sub, nil
}

// readTags settles the message tags. Those of the API call replace those of the
// header completely, which is then not even looked at.
// ses-guide:event-publishing-send-email
func (dr *draft) readTags(sub message.Submission) error {
	if len(dr.Tags) > 0 {
		dr.tags = dr.Tags
		return sestina.ValidateMessageTags(dr.tags)
	}
	tags, err := message.ParseTags(sub.MessageTags)
	dr.tags = tags
	return err
}

// readSender settles source and return path and lists the senders.
func (dr *draft) readSender(sub message.Submission) error {
	froms, err := dr.fromAddresses()
	if err != nil {
		return err
	}
	for _, a := range froms {
		dr.addSender(a)
	}
	dr.fromDomain = strings.ToLower(froms[0].Domain)
	if s := dr.msg.Header.Get("Sender"); s != "" {
		a, err := message.ParseAddress(s)
		if err != nil {
			return err
		}
		dr.addSender(a)
	}
	source, given := froms[0], dr.Source != ""
	if !given {
		dr.Source = dr.common.From[0]
	} else if source, err = message.ParseAddress(dr.Source); err != nil {
		return err
	}
	dr.addSender(source)
	return dr.readReturnPath(source, given, sub)
}

func (dr *draft) fromAddresses() ([]message.Address, error) {
	if dr.Formatted != nil {
		return []message.Address{dr.Formatted.From}, nil
	}
	return dr.msg.From()
}

// readReturnPath settles where feedback goes: the parameter, else the source
// when it was given, else the header, else the From address.
// ses-guide:monitor-sending-activity-using-notifications-email
func (dr *draft) readReturnPath(source message.Address, sourceGiven bool, sub message.Submission) (err error) {
	path := source
	switch {
	case dr.ReturnPath == dr.Source: // SMTP: both are the MAIL FROM address
	case dr.ReturnPath != "":
		if path, err = message.ParseAddress(dr.ReturnPath); err != nil {
			return err
		}
	case !sourceGiven && sub.ReturnPath != "":
		header, err := message.ParseReturnPath(sub.ReturnPath)
		if err != nil {
			return err
		}
		if header.Domain != "" { // not the null sender, which is ours to use
			path = header
		}
	}
	dr.addSender(path)
	dr.ReturnPath = path.Addr()
	return nil
}

func (dr *draft) addSender(a message.Address) {
	if addr := a.Addr(); !slices.Contains(dr.senders, addr) {
		dr.senders = append(dr.senders, addr)
	}
}

// readRecipients settles the envelope recipients.
func (dr *draft) readRecipients(sub message.Submission) error {
	n := len(dr.Destinations)
	var list []message.Address
	if dr.Destinations == nil {
		var err error
		if list, err = dr.msg.Recipients(sub); err != nil {
			return err
		}
		n = len(list)
	}
	if n > MaxRecipients {
		return invalid("Recipient count exceeds %d.", MaxRecipients)
	}
	for _, s := range dr.Destinations {
		a, err := message.ParseAddress(s)
		if err != nil {
			return err
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return invalid("The message has no recipients: give at least one To, Cc or Bcc address.")
	}
	dr.recipients = make([]string, len(list))
	for i, a := range list {
		dr.recipients[i] = a.Addr()
	}
	return nil
}
