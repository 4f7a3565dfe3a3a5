package message

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

const testID = "0102019cb2f04d18-1a2b3c4d-5e6f-4711-8a9b-0c1d2e3f4a5b-000000"

var testTime = time.Date(2026, 3, 3, 12, 15, 0, 120e6, time.FixedZone("x", 7200))

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func mustParse(t *testing.T, raw string) *Message {
	t.Helper()
	m, err := Parse([]byte(raw))
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return m
}

func TestParseKeepsBytes(t *testing.T) {
	t.Parallel()
	raw := crlf("X-odd:no space\nFROM : Ana <ana@example.com>\nSubject: a\n\tb\n  c\nX-8bit: Zo\xc3\xab\nSubject2:\n\nbody\n.\n\nmore")
	m := mustParse(t, raw)
	if got := string(m.Bytes()); got != raw {
		t.Errorf("got %q, want %q", got, raw)
	}
	if got := m.Header.Get("subject"); got != "a b c" {
		t.Errorf("subject %q", got)
	}
	if got := m.Header.Get("From"); got != "Ana <ana@example.com>" {
		t.Errorf("from %q", got)
	}
	if m.Size() != int64(len(raw)) {
		t.Errorf("size %d, want %d", m.Size(), len(raw))
	}
	var w bytes.Buffer
	if n, err := m.WriteTo(&w); err != nil || n != m.Size() || w.String() != raw {
		t.Errorf("WriteTo: %d, %v, %q", n, err, w.String())
	}
	if got, _ := io.ReadAll(m.Reader()); string(got) != raw {
		t.Errorf("Reader: %q", got)
	}
}

func TestParseLineEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"LF":                  {"A: b\nC: d\n\nx\n\ny", "A: b\r\nC: d\r\n\r\nx\r\n\r\ny"},
		"Mixed":               {"A: b\nC: d\r\n\nx\r\ny\n", "A: b\r\nC: d\r\n\r\nx\r\ny\r\n"},
		"DoubledCR":           {"A: b\r\r\nC: d\r\r\n\r\r\nx\r\r\ny\r\r\n", "A: b\r\nC: d\r\n\r\nx\r\ny\r\n"},
		"BareCRInHeader":      {"A: b\rBcc: evil@x.y\r\n\r\nx", "A: b Bcc: evil@x.y\r\n\r\nx"},
		"BareCRInBody":        {"A: b\r\n\r\nx\ry\r\n.\rz\r", "A: b\r\n\r\nx\r\ny\r\n.\r\nz\r\n"},
		"SmuggledDot":         {"A: b\r\n\r\nx\n.\r\nMAIL FROM:<>\r\n", "A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<>\r\n"},
		"SmuggledDotCR":       {"A: b\r\n\r\nx\r.\rMAIL FROM:<>\r\n", "A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<>\r\n"},
		"NULInHeader":         {"A: b\x00c\r\n\r\nx", "A: b c\r\n\r\nx"},
		"BlankContinuation":   {"A: b\r\n \t\r\n c\r\n\r\nx", "A: b\r\n c\r\n\r\nx"},
		"HeaderOnly":          {"A: b", "A: b\r\n\r\n"},
		"HeaderWithoutBlank":  {"A: b\r\nhello\r\nC: d\r\n", "A: b\r\n\r\nhello\r\nC: d\r\n"},
		"NoHeader":            {"hello\n", "\r\nhello\r\n"},
		"BlankFirst":          {"\nA: b\n", "\r\nA: b\r\n"},
		"IndentedFirst":       {" A: b\nC: d\n", "\r\n A: b\r\nC: d\r\n"},
		"Empty":               {"", "\r\n"},
		"ContinuationAtEnd":   {"A: b\n c", "A: b\r\n c\r\n\r\n"},
		"TrailingCRAtTheEnd":  {"A: b\r", "A: b\r\n\r\n"},
		"LongLinesStay":       {"A: " + strings.Repeat("x", 2000) + "\r\n\r\n" + strings.Repeat("y", 3000), "A: " + strings.Repeat("x", 2000) + "\r\n\r\n" + strings.Repeat("y", 3000)},
		"CRBeforeDoubledLine": {"A: b\r\n\r\nx\r\n\r\r\ny", "A: b\r\n\r\nx\r\n\r\ny"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mustParse(t, c[0])
			if got := string(m.Bytes()); got != c[1] {
				t.Errorf("got %q, want %q", got, c[1])
			}
		})
	}
}

func TestParseCleanBodyIsNotCopied(t *testing.T) {
	t.Parallel()
	raw := []byte("A: b\r\n\r\nbody\r\n")
	m, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if &m.Body[0] != &raw[8] {
		t.Error("the body was copied")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"EmptyName":    {"A: b\r\n: c\r\n\r\n", "Empty header names are illegal."},
		"IllegalName":  {"A: b\r\n<!DOCTYPE html PUBLIC \"http://x\">\r\n\r\n", "Illegal header '<!DOCTYPE html PUBLIC \"http'."},
		"NonASCIIName": {"Zoë: b\r\n\r\n", "Illegal header 'Zoë'."},
		"TooLong":      {"A: " + strings.Repeat("x", 600<<10) + "\r\n\r\n", "Message header is longer than 524288 bytes"},
		"TooMany":      {strings.Repeat("A: b\r\n", 1001) + "\r\n", "Message has more than 1000 header fields"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c[0]))
			if got := text(t, err); got != c[1] {
				t.Errorf("got %q, want %q", got, c[1])
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	mixed := "From: a@x.y\nContent-Type: multipart/mixed; boundary=b\n\n--b\n%s\n\nx\n--b--\n"
	nest := strings.Repeat("Content-Type: multipart/mixed; boundary=%d\n\n--%d\n", 60)
	var nums []any
	for i := range 60 {
		nums = append(nums, i, i)
	}
	for name, c := range map[string][2]string{
		"OK":                  {"From: a@x.y\nTo: a@x.y\nTo: b@x.y\nX-A: 1\nX-A: 2\n\n", ""},
		"NoFrom":              {"To: a@x.y\n\n", "Missing required header 'From'."},
		"EmptyFrom":           {"From:\n\n", "Missing required header 'From'."},
		"NoHeader":            {"\nhello", "Missing required header 'From'."},
		"TwoSubjects":         {"From: a@x.y\nSubject: 1\nsubject: 2\n\n", "Duplicate header 'subject'."},
		"TwoFroms":            {"From: a@x.y\nFrom: b@x.y\n\n", "Duplicate header 'From'."},
		"TwoWithSpace":        {"From: a@x.y\nFrom : b@x.y\n\n", "Duplicate header 'From'."},
		"TwoSignatures":       {"From: a@x.y\nDKIM-Signature: a\nDKIM-Signature: b\n\n", "Duplicate header 'DKIM-Signature'."},
		"NoBoundaryLine":      {"From: a@x.y\nContent-Type: multipart/mixed; boundary=b\n\nhello\n", "Missing start boundary"},
		"NoBoundaryParam":     {"From: a@x.y\nContent-Type: multipart/mixed\n\n--b\n\nhello\n--b--\n", "Missing start boundary"},
		"NoEndBoundary":       {"From: a@x.y\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n", ""},
		"Exe":                 {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=\"setup.EXE\""), "Illegal filename"},
		"ExeInName":           {fmt.Sprintf(mixed, "Content-Type: application/octet-stream; name=setup.exe"), "Illegal filename"},
		"ExeSecondName":       {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=a.txt; filename=b.exe"), "Illegal filename"},
		"ExeSecondField":      {fmt.Sprintf(mixed, "Content-Disposition: inline\nContent-Disposition: attachment; filename=b.exe"), "Illegal filename"},
		"ExeTrailingDot":      {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=\"setup.exe. \""), "Illegal filename"},
		"ExeUnquotedSpace":    {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=my setup.exe"), "Illegal filename"},
		"ExeUnclosedQuote":    {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=\"setup.exe"), "Illegal filename"},
		"ExeFolded":           {fmt.Sprintf(mixed, "Content-Disposition: attachment;\n filename=setup.exe"), "Illegal filename"},
		"ExeEncodedWord":      {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=\"=?UTF-8?B?c2V0dXAuZXhl?=\""), "Illegal filename"},
		"Exe2231":             {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename*=UTF-8''setup%2Eexe"), "Illegal filename"},
		"Exe2231Segments":     {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename*1=.exe; filename*0=setup"), "Illegal filename"},
		"ExeInAttachedMail":   {fmt.Sprintf(mixed, "Content-Type: message/rfc822\n\nContent-Disposition: attachment; filename=a.scr\n"), "Illegal filename"},
		"ExeInEncodedMail":    {fmt.Sprintf(mixed, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQ29udGVudC1EaXNwb3NpdGlvbjogYTsgZmlsZW5hbWU9YS5leGUKCng="), "Illegal filename"},
		"ExeAtTop":            {"From: a@x.y\nContent-Disposition: attachment; filename=a.exe\n\nx", "Illegal filename"},
		"PDF":                 {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=exe.pdf"), ""},
		"NoExtension":         {fmt.Sprintf(mixed, "Content-Disposition: attachment; filename=exe"), ""},
		"TooManyParts":        {fmt.Sprintf(mixed, "\nx"+strings.Repeat("\n--b\n\nx", 500)), "Message has more than 500 MIME parts"},
		"ManyParts":           {fmt.Sprintf(mixed, "\nx"+strings.Repeat("\n--b\n\nx", 499)), ""},
		"TooDeep":             {"From: a@x.y\n" + fmt.Sprintf(nest, nums...), "MIME parts are nested more than 50 deep"},
		"AttachedMailNoStart": {fmt.Sprintf(mixed, "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=q\n\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := text(t, mustParse(t, crlf(c[0])).Check()); got != c[1] {
				t.Errorf("got %q, want %q", got, c[1])
			}
		})
	}
}

const submitted = `Received: from app
X-SES-Configuration-Set: spring
From: Ana <ana@example.com>
to: Lena <lena@example.net>, max@example.net
Cc: cc@example.net
BCC: secret@example.net
Bcc: other@example.net
Return-Path: <bounce@example.com>
x-ses-message-tags: campaign=spring, kind=news
X-SES-MESSAGE-TAGS: ignored=1
X-SES-SOURCE-ARN: arn:1
X-SES-FROM-ARN: arn:2
X-SES-RETURN-PATH-ARN: arn:3
X-SES-LIST-MANAGEMENT-OPTIONS: news; topic=weekly
X-SES-TENANT: t1
Message-ID: <mine@app>
Date: Mon, 2 Mar 2026 01:02:03 +0100
Subject: =?UTF-8?Q?Fr=C3=BChling?=
X-Custom:   kept
	as it is
MIME-Version: 1.0

Hello
`

func TestTakeAndStamp(t *testing.T) {
	t.Parallel()
	m := mustParse(t, crlf(submitted))
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	got := m.Take()
	want := Submission{
		ConfigurationSet: "spring", MessageTags: "campaign=spring, kind=news", SourceARN: "arn:1", FromARN: "arn:2",
		ReturnPathARN: "arn:3", ListManagementOptions: "news; topic=weekly", Tenant: "t1",
		ReturnPath: "<bounce@example.com>", Bcc: []string{"secret@example.net", "other@example.net"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	rcpts, err := m.Recipients(got)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, a := range rcpts {
		addrs = append(addrs, a.Addr())
	}
	if want := "lena@example.net max@example.net cc@example.net secret@example.net other@example.net"; strings.Join(addrs, " ") != want {
		t.Errorf("recipients %v, want %s", addrs, want)
	}
	if from, err := m.From(); err != nil || len(from) != 1 || from[0].Addr() != "ana@example.com" {
		t.Errorf("from %v, %v", from, err)
	}
	m.Stamp(testID, "eu-west-1", testTime)
	m.Header.Prepend(Field{"X-SES-Outgoing", "2026.03.03-198.51.100.7"}, Field{"Feedback-ID", "::1.eu-west-1.x=:AmazonSES"})
	if err := m.Header.PrependRaw([]byte("DKIM-Signature: v=1;\r\n\tb=abc\r\n")); err != nil {
		t.Fatal(err)
	}
	golden(t, "rewrite/submitted.eml", m.Bytes())
}

func TestStampAddsWhatIsMissing(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"From: a@x.y\nSubject: s\n\n": "Date: Tue, 3 Mar 2026 10:15:00 +0000\nFrom: a@x.y\nMessage-ID: <1@email.amazonses.com>\nSubject: s\n\n",
		"From: a@x.y\n\n":             "Date: Tue, 3 Mar 2026 10:15:00 +0000\nFrom: a@x.y\nMessage-ID: <1@email.amazonses.com>\n\n",
	} {
		m := mustParse(t, crlf(in))
		m.Stamp("1", "us-east-1", testTime)
		if got := string(m.Bytes()); got != crlf(want) {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

func TestParseTags(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                           "[]",
		"a=b":                        "[{a b}]",
		" a = b ,c=d.e@f,":           "[{a b} {c d.e@f}]",
		"ses:feedback-id-a=x":        "[{ses:feedback-id-a x}]",
		"a=b, a=c":                   "[{a b} {a c}]",
		"a":                          "The tag value must be specified.",
		"=a":                         "The tag name must be specified.",
		"a=b=c":                      "Invalid tag value <b=c>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed.",
		strings.Repeat("a=b,", 51):   "Tag count exceeds 50.",
		strings.Repeat(" ", 100_000): "Message tags are longer than 25700 characters.",
	} {
		tags, err := ParseTags(in)
		got := fmt.Sprint(tags)
		if err != nil {
			got = text(t, err)
		}
		if got != want {
			t.Errorf("%.40q: %s, want %s", in, got, want)
		}
	}
}

func TestParseListManagement(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"news":                                "news|",
		"news; topic=weekly":                  "news|weekly",
		" news ;Topic = weekly; ":             "news|weekly",
		"contactListName=news;topicName=week": "news|week",
		"":                                    "ContactListName can't be blank.",
		"; topic=x":                           "ContactListName can't be blank.",
		"news; topic=":                        "TopicName can't be blank.",
		"news; color=red":                     "Invalid list management options <news; color=red>.",
	} {
		list, topic, err := ParseListManagement(in)
		got := list + "|" + topic
		if err != nil {
			got = text(t, err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestParseReturnPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"<a@b.c>": "a@b.c", "a@b.c": "a@b.c", "<>": "", "": ""} {
		if a, err := ParseReturnPath(in); err != nil || a.Addr() != want {
			t.Errorf("%q: %v, %v", in, a, err)
		}
	}
	if _, err := ParseReturnPath("<a>"); text(t, err) != "Missing final '@domain'" {
		t.Errorf("got %v", err)
	}
}

func TestHeaderEdit(t *testing.T) {
	t.Parallel()
	m := mustParse(t, crlf("A: 1\nb: 2\nA: 3\nC: 4\na: 5\n\n"))
	h := &m.Header
	if got := h.Values("a"); !reflect.DeepEqual(got, []string{"1", "3", "5"}) {
		t.Errorf("values %q", got)
	}
	h.Set("A", "x")
	h.Set("New", "y")
	h.Append("Evil\r\nName:", "v\r\nBcc: x@y\x00")
	h.Append("Wide", "Frühling")
	h.Prepend(Field{"P1", "1"}, Field{"P2", strings.Repeat("word ", 30) + strings.Repeat("x", 90)})
	if n := h.Del("B", "c"); n != 2 {
		t.Errorf("removed %d", n)
	}
	want := crlf("P1: 1\nP2: word word word word word word word word word word word word word word\n" +
		" word word word word word word word word word word word word word word word\n word\n " +
		strings.Repeat("x", 90) + "\nA: x\nNew: y\nEvil--Name-: v  Bcc: x@y\nWide: =?UTF-8?Q?Fr=C3=BChling?=\n\n")
	if got := string(h.AppendTo(nil)); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if h.Has("b") || !h.Has("evil--name-") || h.Get("missing") != "" || h.Len() != 6 {
		t.Error("lookup is wrong")
	}
	if string(h.Raw(0)) != "P1: 1\r\n" {
		t.Errorf("raw %q", h.Raw(0))
	}
	var names []string
	for name, value := range h.All() {
		names = append(names, name+"="+value[:1])
		if name == "New" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "P1=1 P2=w A=x New=y" {
		t.Errorf("all: %s", got)
	}
	for _, bad := range []string{"A: b", "A: b\n", "A: b\r\n\r\n", "A: b\r\nhello\r\n", ": b\r\n", "A: b\rC: d\r\n"} {
		if err := h.PrependRaw([]byte(bad)); err == nil {
			t.Errorf("PrependRaw took %q", bad)
		}
	}
}

func TestReadHeader(t *testing.T) {
	t.Parallel()
	head := "A: " + strings.Repeat("x", 10_000) + "\r\n b\r\n\r\n"
	r := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(head+"\r\nbody\r\n\r\n")), 16)
	h, err := ReadHeader(r)
	if err != nil || string(h.AppendTo(nil)) != head {
		t.Fatalf("%v, %q", err, h.AppendTo(nil))
	}
	if rest, _ := io.ReadAll(r); string(rest) != "\r\nbody\r\n\r\n" {
		t.Errorf("body %q", rest)
	}
	for in, want := range map[string]string{"\r\nbody": "\r\n", "": "\r\n", "A: b": "A: b\r\n\r\n"} {
		h, err := ReadHeader(bufio.NewReader(strings.NewReader(in)))
		if err != nil || string(h.AppendTo(nil)) != want {
			t.Errorf("%q: %v, %v", in, h, err)
		}
	}
	if _, err := ReadHeader(bufio.NewReader(iotest.ErrReader(io.ErrClosedPipe))); err == nil {
		t.Error("a read error is lost")
	}
	if _, err := ReadHeader(bufio.NewReader(strings.NewReader(strings.Repeat("x", 600<<10)))); err == nil {
		t.Error("an endless header is read")
	}
}

func TestEventFields(t *testing.T) {
	t.Parallel()
	m := mustParse(t, crlf("X-Z: 1\nfrom: Ana\n <ana@example.com>\nBcc: secret@x.y\nX-Bad: \xff\nContent-Type: multipart/alternative; \n\tboundary=\"x\"\n\n"))
	fields, cut := m.Header.EventFields()
	want := []Field{
		{"X-Z", "1"}, {"from", "Ana <ana@example.com>"}, {"X-Bad", "\uFFFD"},
		{"Content-Type", `multipart/alternative;  boundary="x"`},
	}
	if cut || !reflect.DeepEqual(fields, want) {
		t.Errorf("got %q, %v", fields, cut)
	}
	m = mustParse(t, crlf("A: 1\nB: "+strings.Repeat("x", 10_240-6-5)+"\n\n"))
	if fields, cut := m.Header.EventFields(); cut || len(fields) != 2 {
		t.Errorf("10240 bytes: %d fields, %v", len(fields), cut)
	}
	m = mustParse(t, crlf("A: 1\nB: "+strings.Repeat("x", 10_240-6-4)+"\nC: 2\n\n"))
	if fields, cut := m.Header.EventFields(); !cut || len(fields) != 1 {
		t.Errorf("10241 bytes: %d fields, %v", len(fields), cut)
	}
	m = mustParse(t, "\r\nhello")
	if fields, cut := m.Header.EventFields(); cut || fields == nil || len(fields) != 0 {
		t.Errorf("no header: %v, %v", fields, cut)
	}
}

func TestCommon(t *testing.T) {
	t.Parallel()
	m := mustParse(t, crlf(submitted))
	want := CommonHeaders{
		From: []string{"Ana <ana@example.com>"}, To: []string{"Lena <lena@example.net>", "max@example.net"},
		Cc: []string{"cc@example.net"}, ReturnPath: "<bounce@example.com>",
		Date: "Mon, 2 Mar 2026 01:02:03 +0100", Subject: "Frühling", HasSubject: true,
	}
	if got := m.Header.Common(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	m = mustParse(t, crlf("From: \"a, b\" <a@x.y>, \"broken\nReply-To: r@x.y, \"s\" <s@x.y>\nSender: s@x.y\nSubject:\n\n"))
	want = CommonHeaders{
		From: []string{`"a, b" <a@x.y>, "broken`}, ReplyTo: []string{"r@x.y", `"s" <s@x.y>`}, Sender: "s@x.y", HasSubject: true,
	}
	if got := m.Header.Common(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// bareLineEnd reports whether b has a CR or LF outside a CRLF.
func bareLineEnd(b []byte) bool {
	rest := bytes.ReplaceAll(b, []byte("\r\n"), nil)
	return bytes.ContainsAny(rest, "\r\n")
}

func FuzzRewrite(f *testing.F) {
	for _, s := range []string{
		crlf(submitted), submitted, "From: a@b\rBcc: c@d\r\n\r\nx", "From: a@b\r\n \r\nBcc: x\r\n\r\n", "\x00:\x00", "A:\r\r\r\n\r\r\n\r",
		"bcc : x\n\ny", "From:a\n\n.\r\n.\n.\r", "x", "A: b\nhello: there you\nC", "0:\r\r", "A: b\r\n \x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		m, err := Parse(raw)
		if err != nil {
			return
		}
		_ = m.Check()
		m.Header.EventFields()
		m.Header.Common()
		body := bytes.Clone(m.Body)
		sub := m.Take()
		_, _ = m.Recipients(sub)
		_, _ = m.From()
		m.Stamp(testID, "eu-west-1", testTime)
		m.Header.Prepend(Field{"X-SES-Outgoing", "x"})
		out := m.Bytes()
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was written to")
		}
		if bareLineEnd(out) {
			t.Fatalf("bare CR or LF in %q", out)
		}
		if !bytes.HasSuffix(out, append([]byte("\r\n\r\n"), body...)) {
			t.Fatalf("body %q is not the end of %q", body, out)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("result is refused: %v: %q", err, out)
		}
		if !bytes.Equal(again.Bytes(), out) || !bytes.Equal(again.Body, body) || again.Header.Len() != m.Header.Len() {
			t.Fatalf("result changes when parsed again: %q, %q", out, again.Bytes())
		}
		if left := again.Take(); !reflect.DeepEqual(left, Submission{}) {
			t.Fatalf("left behind: %+v", left)
		}
		if len(again.Header.Values("Date")) != 1 || len(again.Header.Values("Message-ID")) != 1 {
			t.Fatalf("stamps: %q", out)
		}
		h, err := ReadHeader(bufio.NewReaderSize(bytes.NewReader(out), 16))
		if err != nil || !bytes.Equal(h.AppendTo(nil), m.Header.AppendTo(nil)) {
			t.Fatalf("ReadHeader: %v", err)
		}
	})
}

func FuzzParseTags(f *testing.F) {
	for _, s := range []string{"a=b", "a=b, c=d", "a=b=c", ",,", "ses:feedback-id-a=1", "é=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := ParseTags(s)
		if err != nil {
			if text(t, err) == "" {
				t.Fatal("refusal without text")
			}
			return
		}
		var parts []string
		for _, tag := range tags {
			if tag.Name == "" || tag.Value == "" || strings.ContainsAny(tag.Name+tag.Value, ",= \r\n") {
				t.Fatalf("%q: bad tag %+v", s, tag)
			}
			parts = append(parts, tag.Name+"="+tag.Value)
		}
		again, err := ParseTags(strings.Join(parts, ", "))
		if err != nil || !reflect.DeepEqual(again, tags) {
			t.Fatalf("%q: %v, then %v, %v", s, tags, again, err)
		}
	})
}

// benchMessage is a 5 KB message as a library makes it.
func benchMessage() []byte {
	head := strings.TrimSuffix(submitted, "\n\nHello\n") + "\nContent-Type: multipart/alternative; boundary=\"b1\"\n\n"
	text := strings.Repeat("A line of text that is seventy characters long, more or less, I think\n", 30)
	html := strings.Repeat("<p>A line of text that is about seventy characters long, I think</p>\n", 30)
	return []byte(crlf(head + "--b1\nContent-Type: text/plain\n\n" + text + "\n--b1\nContent-Type: text/html\n\n" + html + "\n--b1--\n"))
}

// BenchmarkRewrite is all that happens to the bytes of a 5 KB message between
// submission and the store.
func BenchmarkRewrite(b *testing.B) {
	raw := benchMessage()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Check(); err != nil {
			b.Fatal(err)
		}
		m.Take()
		m.Stamp(testID, "eu-west-1", testTime)
		if len(m.Bytes()) == 0 {
			b.Fatal("empty")
		}
	}
}

// BenchmarkEventHeaders makes the headers of an event record from it.
func BenchmarkEventHeaders(b *testing.B) {
	m, err := Parse(benchMessage())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if fields, _ := m.Header.EventFields(); len(fields) == 0 {
			b.Fatal("empty")
		}
		if m.Header.Common().Subject == "" {
			b.Fatal("empty")
		}
	}
}

// BenchmarkParseLarge splits a clean 40 MB message.
func BenchmarkParseLarge(b *testing.B) {
	raw := append([]byte("From: a@b.c\r\n\r\n"), bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 40<<20/78)...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
