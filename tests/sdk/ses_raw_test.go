package sdk

import (
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

// delivered returns the header and body of a captured message.
func (l *lab) delivered(t *testing.T, id string) (mail.Header, string) {
	t.Helper()
	raw := l.raw(t, id)
	m, err := mail.ReadMessage(strings.NewReader(raw))
	check(t, err)
	_, body, _ := strings.Cut(raw, "\r\n\r\n")
	return m.Header, body
}

// bccIsHidden: Bcc recipients get the message, and no header names them.
func bccIsHidden(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	in := email("x@example.net")
	in.Destination.BccAddresses = []string{"Hidden <hidden@example.net>"}
	v1 := v1Email("a@example.com", "x@example.net")
	v1.Destination.BccAddresses = in.Destination.BccAddresses
	v1Out, err := p.v1.SendEmail(ctx, v1)
	check(t, err)
	for path, id := range map[string]string{
		"v2": p.send(t, in), "v1": *v1Out.MessageId,
		"raw": p.send(t, rawEmail("From: a@example.com\nBcc: hidden@example.net\nTo: x@example.net\nSubject: s\n\nhi\n")),
	} {
		record := p.sent(t, id)
		same(t, path+": destination", record.Mail.Destination, []string{"x@example.net", "hidden@example.net"})
		if raw := p.raw(t, id); strings.Contains(strings.ToLower(raw), "bcc") || strings.Contains(raw, "hidden") {
			t.Errorf("%s: the message names the Bcc:\n%s", path, raw)
		}
		if record.header("Bcc") != nil || record.Mail.CommonHeaders["bcc"] != nil {
			t.Errorf("%s: the record has a Bcc header: %+v", path, record.Mail)
		}
	}
	// Explicit recipients replace those of Bcc, too.
	raw := rawEmail("From: a@example.com\nBcc: hidden@example.net\nTo: x@example.net\n\nhi\n")
	raw.Destination = &types.Destination{ToAddresses: []string{"y@example.net"}}
	id := p.send(t, raw)
	same(t, "destination", p.sent(t, id).Mail.Destination, []string{"y@example.net"})
	if strings.Contains(p.raw(t, id), "hidden") {
		t.Error("Bcc was not removed")
	}
}

// rawHeaders: what SES replaces, removes and keeps.
func rawHeaders(t *testing.T, l *lab) {
	p := l.place(t)
	p.set(t, "s")
	id := p.send(t, rawEmail(`Received: from inside by outside; Tue, 3 Mar 2026 10:15:00 +0000
Return-Path: <bounces@example.com>
Date: Tue, 3 Mar 2026 10:15:00 +0000
From: =?UTF-8?Q?J=C3=B6rg?= <a@example.com>
Sender: s@example.com
To: X <x@example.net>,
 "Y, Z" <y@example.net>
Subject: a long
 folded subject
Message-ID: <mine@example.com>
x-ses-configuration-set: s
X-SES-MESSAGE-TAGS: a=b
X-SES-SOURCE-ARN: arn:aws:ses:us-east-1:000000000000:identity/example.com
X-Custom: one
X-Custom: two
X-SESAME: open

body
`))
	head, body := p.delivered(t, id)
	for name, want := range map[string][]string{
		"Message-Id": {"<" + id + "@" + p.region + ".amazonses.com>"}, "X-Custom": {"one", "two"}, "X-Sesame": {"open"},
		"Subject": {"a long folded subject"}, "From": {"=?UTF-8?Q?J=C3=B6rg?= <a@example.com>"}, "Sender": {"s@example.com"}, "To": {`X <x@example.net>, "Y, Z" <y@example.net>`},
		"Return-Path": nil, "X-Ses-Configuration-Set": nil, "X-Ses-Message-Tags": nil, "X-Ses-Source-Arn": nil,
		"Received": {"from inside by outside; Tue, 3 Mar 2026 10:15:00 +0000"},
	} {
		if !slices.Equal(head[name], want) {
			t.Errorf("delivered %s: %q, want %q", name, head[name], want)
		}
	}
	date, err := head.Date()
	check(t, err)
	if since := time.Since(date); since < -time.Minute || since > time.Hour || !strings.HasSuffix(head.Get("Date"), " +0000") {
		t.Errorf("Date %s", head.Get("Date"))
	}
	if body != "body\r\n" {
		t.Errorf("body %q", body)
	}

	// The record has the headers as submitted.
	r := p.sent(t, id)
	for name, want := range map[string][]string{
		"Message-ID": {"<mine@example.com>"}, "Date": {"Tue, 3 Mar 2026 10:15:00 +0000"}, "Subject": {"a long folded subject"}, "X-Custom": {"one", "two"},
		"X-SES-MESSAGE-TAGS": {"a=b"}, "Return-Path": {"<bounces@example.com>"},
	} {
		if got := r.header(name); !slices.Equal(got, want) {
			t.Errorf("recorded %s: %q, want %q", name, got, want)
		}
	}
	same(t, "common headers", r.Mail.CommonHeaders, map[string]any{
		"from": []string{"=?UTF-8?Q?J=C3=B6rg?= <a@example.com>"}, "sender": "s@example.com", "to": []string{"X <x@example.net>", `"Y, Z" <y@example.net>`},
		"subject": "a long folded subject", "date": "Tue, 3 Mar 2026 10:15:00 +0000", "returnPath": "<bounces@example.com>", "messageId": id,
	})
	if r.Mail.HeadersTruncated {
		t.Error("truncated")
	}

	// A header of more than 10 KB is cut in records, not in the message.
	long := p.send(t, rawEmail("From: a@example.com\nTo: x@example.net\n"+strings.Repeat("X-Filler: "+strings.Repeat("x", 90)+"\n", 110)+"X-Last: here\n\nhi\n"))
	r = p.sent(t, long)
	if !r.Mail.HeadersTruncated || len(r.header("X-Filler")) < 90 || r.header("X-Last") != nil || r.header("From") == nil {
		t.Errorf("truncated %t, %d fillers, last %q", r.Mail.HeadersTruncated, len(r.header("X-Filler")), r.header("X-Last"))
	}
	if head, _ := p.delivered(t, long); len(head["X-Filler"]) != 110 || head.Get("X-Last") != "here" {
		t.Errorf("delivered %d fillers", len(head["X-Filler"]))
	}
}

// returnPaths: where feedback goes is checked like a sender, so an unverified
// address tells which one was used. ses-guide:monitor-sending-activity
func returnPaths(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	const raw = "From: a@example.com\r\nReturn-Path: <header@other.example>\r\nTo: x@example.net\r\n\r\nhi\r\n"
	rejected := "Email address is not verified. The following identities failed the check in region " + strings.ToUpper(p.region) + ": "
	v1 := func(source *string) error {
		_, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{Source: source, RawMessage: &v1types.RawMessage{Data: []byte(raw)}})
		return err
	}
	wantError[*v1types.MessageRejected](t, v1(nil), rejected+"header@other.example")
	check(t, v1(aws.String("source@example.com"))) // the parameter wins over the header
	v2 := func(from, feedback *string) error {
		_, err := p.v2.SendEmail(ctx, &sesv2.SendEmailInput{FromEmailAddress: from, FeedbackForwardingEmailAddress: feedback, Content: &types.EmailContent{Raw: &types.RawMessage{Data: []byte(raw)}}})
		return err
	}
	wantError[*types.MessageRejected](t, v2(nil, nil), rejected+"header@other.example")
	check(t, v2(aws.String("from@example.com"), nil))
	check(t, v2(nil, aws.String("feedback@example.com")))
	wantError[*types.MessageRejected](t, v2(aws.String("from@example.com"), aws.String("feedback@third.example")), rejected+"feedback@third.example")
	p.send(t, rawEmail("From: a@example.com\nReturn-Path: <>\nTo: x@example.net\n\nhi\n")) // the null sender names nobody
}

func attachments(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	in := email("x@example.net")
	in.Content.Simple.Body.Html = &types.Content{Data: aws.String(`<p>hello <img src="cid:logo"></p>`)}
	in.Content.Simple.Attachments = []types.Attachment{
		{FileName: aws.String("liste.pdf"), RawContent: []byte("%PDF-1.4\x00\x01"), ContentType: aws.String("application/pdf"), ContentDescription: aws.String("the list")},
		{FileName: aws.String("logo.png"), RawContent: []byte("\x89PNG"), ContentType: aws.String("image/png"), ContentDisposition: "INLINE", ContentId: aws.String("logo")},
		{FileName: aws.String("übersicht.txt"), RawContent: []byte("a=b\r\n"), ContentTransferEncoding: "QUOTED_PRINTABLE"},
	}
	id := p.send(t, in)
	var got struct {
		Text, HTML  string
		Attachments []struct {
			Index                        int
			Name, ContentType, ContentID string
			Inline                       bool
		}
	}
	p.own(t, "messages/"+id, &got)
	if strings.TrimSpace(got.Text) != "hello" || !strings.Contains(got.HTML, "cid:logo") || len(got.Attachments) != 3 {
		t.Fatalf("parts: %+v", got)
	}
	content := map[string]string{"liste.pdf": "%PDF-1.4\x00\x01", "logo.png": "\x89PNG", "übersicht.txt": "a=b\r\n"}
	for _, a := range got.Attachments {
		if data := string(p.Own(ctx, "GET", "messages/"+id+"/attachments/"+string(rune('0'+a.Index)), "")); data != content[a.Name] {
			t.Errorf("attachment %s: %q", a.Name, data)
		}
		if (a.Name == "logo.png") != (a.Inline && a.ContentID == "logo") {
			t.Errorf("attachment: %+v", a)
		}
	}
	raw := p.raw(t, id)
	for _, want := range []string{"multipart/mixed", "multipart/related", "multipart/alternative", "Content-Description: the list", "Content-ID: <logo>", "Content-Disposition: inline"} {
		if !strings.Contains(raw, want) {
			t.Errorf("no %q in\n%s", want, raw)
		}
	}
	for _, name := range []string{"virus.exe", "script.JS", "mail.vbs."} {
		in.Content.Simple.Attachments = []types.Attachment{{FileName: &name, RawContent: []byte("x")}}
		_, err := p.v2.SendEmail(ctx, in)
		wantError[*types.BadRequestException](t, err, "Illegal filename")
	}
	_, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte("From: a@example.com\r\nTo: x@example.net\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"run.exe\"\r\n\r\nx\r\n")}})
	wantFault(t, err, "InvalidParameterValue", "Illegal filename")
}

func customHeaders(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	in := email("x@example.net")
	in.ReplyToAddresses = []string{"Reply <r@example.net>", "q@example.net"}
	header := func(name, value string) types.MessageHeader { return types.MessageHeader{Name: &name, Value: &value} }
	in.Content.Simple.Headers = []types.MessageHeader{header("X-Campaign", "spring 2026"), header("List-Unsubscribe", "<https://example.com/u>"), header("x-campaign", "twice")}
	id := p.send(t, in)
	head, _ := p.delivered(t, id)
	same(t, "X-Campaign", head["X-Campaign"], []string{"spring 2026", "twice"})
	same(t, "List-Unsubscribe", head["List-Unsubscribe"], []string{"<https://example.com/u>"})
	same(t, "Reply-To", head["Reply-To"], []string{"Reply <r@example.net>, q@example.net"})
	r := p.sent(t, id)
	same(t, "replyTo", r.Mail.CommonHeaders["replyTo"], []string{"Reply <r@example.net>", "q@example.net"})
	var names []string
	for _, h := range r.Mail.Headers {
		names = append(names, h.Name)
	}
	same(t, "order", names, []string{"From", "Reply-To", "To", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Campaign", "List-Unsubscribe", "x-campaign"})

	refuse := func(headers ...types.MessageHeader) error {
		in.Content.Simple.Headers = headers
		_, err := p.v2.SendEmail(ctx, in)
		return err
	}
	wantError[*types.BadRequestException](t, refuse(header("Subject", "other")), "Illegal header 'Subject'.")
	wantError[*types.BadRequestException](t, refuse(header("bcc", "x@example.net")), "Illegal header 'bcc'.")
	wantError[*types.BadRequestException](t, refuse(header("X-SES-CONFIGURATION-SET", "s")), "Illegal header 'X-SES-CONFIGURATION-SET'.")
	wantError[*types.BadRequestException](t, refuse(header("Organization", "one"), header("organization", "two")), "Duplicate header 'organization'.")
	var many []types.MessageHeader
	for range 16 {
		many = append(many, header("X-Many", "x"))
	}
	check(t, refuse(many[:15]...))
	if err := refuse(many...); err == nil || !strings.Contains(err.Error(), "BadRequestException") {
		t.Errorf("16 headers: %v", err)
	}
}

// headerInjection: no input makes a header field of its own.
func headerInjection(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	const evil = "x\r\nBcc: victim@example.net\r\nX-Evil: yes"
	header := func(name, value string) types.MessageHeader { return types.MessageHeader{Name: &name, Value: &value} }
	accepted := 0
	for what, change := range map[string]func(*sesv2.SendEmailInput){
		"subject":     func(in *sesv2.SendEmailInput) { in.Content.Simple.Subject.Data = aws.String(evil) },
		"from name":   func(in *sesv2.SendEmailInput) { in.FromEmailAddress = aws.String("\"" + evil + "\" <a@example.com>") },
		"from":        func(in *sesv2.SendEmailInput) { in.FromEmailAddress = aws.String("a@example.com" + evil[1:]) },
		"to":          func(in *sesv2.SendEmailInput) { in.Destination.ToAddresses[0] = evil + " <x@example.net>" },
		"reply-to":    func(in *sesv2.SendEmailInput) { in.ReplyToAddresses = []string{"r@example.net" + evil[1:]} },
		"header":      func(in *sesv2.SendEmailInput) { in.Content.Simple.Headers = []types.MessageHeader{header("X-A", evil)} },
		"header name": func(in *sesv2.SendEmailInput) { in.Content.Simple.Headers = []types.MessageHeader{header(evil, "x")} },
		"charset":     func(in *sesv2.SendEmailInput) { in.Content.Simple.Body.Text.Charset = aws.String("UTF-8" + evil[1:]) },
		"file name": func(in *sesv2.SendEmailInput) {
			in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String(evil), RawContent: []byte("x")}}
		},
		"content type": func(in *sesv2.SendEmailInput) {
			in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.txt"), ContentType: aws.String("text/plain" + evil[1:]), RawContent: []byte("x")}}
		},
		"content id": func(in *sesv2.SendEmailInput) {
			in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.txt"), ContentId: aws.String(evil), RawContent: []byte("x")}}
		},
		"description": func(in *sesv2.SendEmailInput) {
			in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.txt"), ContentDescription: aws.String(evil), RawContent: []byte("x")}}
		},
		"text": func(in *sesv2.SendEmailInput) { in.Content.Simple.Body.Text.Data = aws.String(evil) },
	} {
		in := email("x@example.net")
		change(in)
		out, err := p.v2.SendEmail(ctx, in)
		if err != nil {
			if !strings.Contains(err.Error(), "BadRequestException") {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		accepted++
		head, _ := p.delivered(t, *out.MessageId)
		same(t, what+": destination", p.sent(t, *out.MessageId).Mail.Destination, []string{"x@example.net"})
		for _, part := range strings.Split(p.raw(t, *out.MessageId), "\r\n\r\n") {
			if what != "text" && strings.Contains(part, "\r\nX-Evil") || head["X-Evil"] != nil || head["Bcc"] != nil {
				t.Errorf("%s: a header was injected:\n%s", what, part)
			}
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted, not even line ends in the text")
	}
}

func rawNeedsFrom(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	for _, raw := range []string{"just text\n", "\nhi\n", "To: x@example.net\nSubject: s\n\nhi\n"} {
		_, err := p.v2.SendEmail(ctx, rawEmail(raw))
		wantError[*types.BadRequestException](t, err, "Missing required header 'From'.")
		_, err = p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(raw)}})
		wantFault(t, err, "InvalidParameterValue", "Missing required header 'From'.")
	}
	_, err := p.v2.SendEmail(ctx, &sesv2.SendEmailInput{Destination: &types.Destination{ToAddresses: []string{"x@example.net"}}, Content: content("hi")})
	wantError[*types.BadRequestException](t, err, "Missing required header 'From'.")
}

// virus: the EICAR test file in an attachment, by every path.
func virus(t *testing.T, l *lab) {
	p, ctx := l.placeIn(t, l.AWS().Region), t.Context()
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
	in := email("x@example.net", "y@example.org")
	in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("sample.txt"), RawContent: []byte(eicar)}}
	raw := "From: a@example.com\nTo: x@example.net\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Disposition: attachment; filename=sample.txt\n\n" + eicar + "\n--b--\n"
	v1, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(strings.ReplaceAll(raw, "\n", "\r\n"))}})
	check(t, err)
	smtp, err := harness.SMTPSend(l.SMTP, "a@example.com", []string{"x@example.net"}, raw)
	check(t, err)
	for path, id := range map[string]string{"v2": p.send(t, in), "v1": *v1.MessageId, "SMTP": smtp} {
		r := p.records(t, id, 2)
		if r[0].EventType != "Send" || r[1].EventType != "Reject" {
			t.Errorf("%s: events %s, %s", path, r[0].EventType, r[1].EventType)
		}
		same(t, path+": reject", r[1].Reject, map[string]any{"reason": "Bad content"})
	}
}
