package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"testing"
)

var (
	ana  = Address{"Ana", "ana", "example.com"}
	lena = Address{"", "lena", "example.net"}
)

func content(data, charset string) *Content { return &Content{data, charset} }

func TestCompose(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Simple{
		"text": {
			From: ana, To: []Address{lena}, Subject: Content{"Spring list", ""}, Text: content("Hello\nthere\n", ""), Seed: testID,
		},
		"html": {
			From: ana, To: []Address{lena}, Subject: Content{"Spring list", ""}, HTML: content("<p>Zoë</p>", "UTF-8"), Seed: testID,
		},
		"alternative": {
			From: Address{"Zoë, the \"boss\"", "zoe", "example.com"}, ReplyTo: []Address{ana},
			To: []Address{lena, {"Max, M.", "max", "example.net"}}, Cc: []Address{{"", "cc", "example.net"}},
			Subject: Content{"Frühling für alle, die noch auf eine sehr lange Betreffzeile gewartet haben", "UTF-8"},
			Text:    content("日本語のテキスト\n", "ISO-2022-JP"), HTML: content("<p>日本語</p>", "Shift_JIS"), Seed: testID,
			Headers: []Field{{"X-Order", "17"}, {"List-Unsubscribe", "<https://example.com/u>"}},
		},
		"attachments": {
			From: ana, To: []Address{lena}, Subject: Content{"Files", ""},
			Text: content("See files.", ""), HTML: content(`<img src="cid:logo">`, ""), Seed: testID,
			Attachments: []Attachment{
				{FileName: "logo.png", ContentID: "<logo>", Disposition: "INLINE", Data: []byte{0x89, 'P', 'N', 'G', 0, 1, 2}},
				{FileName: "list.csv", Data: []byte("a,b\r\n1,2\r\n"), Description: "Liste für März"},
				{FileName: "notes.txt", ContentType: "text/plain; charset=utf-8", TransferEncoding: "QUOTED_PRINTABLE", Data: []byte("Zoë\nline\n")},
				{FileName: "größe und ein sehr langer Name, der nicht in eine Zeile passt.pdf", TransferEncoding: "BASE64", Data: bytes.Repeat([]byte("pdf"), 60)},
			},
		},
		"related": {
			From: ana, To: []Address{lena}, Subject: Content{"Picture", ""}, HTML: content(`<img src="cid:x">`, ""), Seed: testID,
			Attachments: []Attachment{{FileName: "x.gif", ContentID: "x", Disposition: "INLINE", ContentType: "image/gif", Data: []byte("GIF89a\x00")}},
		},
		"empty": {From: ana, Subject: Content{"", ""}, Seed: testID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := Compose(s)
			if err != nil {
				t.Fatal(err)
			}
			raw := m.Bytes()
			golden(t, "compose/"+name+".eml", raw)
			if _, err := mail.ReadMessage(bytes.NewReader(raw)); err != nil {
				t.Errorf("net/mail: %v", err)
			}
			if err := mustParse(t, string(raw)).Check(); err != nil {
				t.Error(err)
			}
			for line := range strings.SplitSeq(string(raw), "\r\n") {
				if len(line) > 998 {
					t.Errorf("line of %d characters", len(line))
				}
			}
		})
	}
}

func TestComposeEventFields(t *testing.T) {
	t.Parallel()
	m, err := Compose(Simple{From: ana, To: []Address{lena}, Subject: Content{"Spring list", ""},
		Text: content("a", ""), HTML: content("b", ""), Seed: testID})
	if err != nil {
		t.Fatal(err)
	}
	fields, _ := m.Header.EventFields()
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "From To Subject MIME-Version Content-Type" {
		t.Errorf("order: %s", got)
	}
	if got := fields[4].Value; !strings.HasPrefix(got, `multipart/alternative;  boundary="----=_Part_1_`) {
		t.Errorf("content type %q", got)
	}
}

// TestComposeReadsBack lets the standard library read what Compose made.
func TestComposeReadsBack(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte{0, 1, 2, '\n', '\r', 0xff, '='}, 5000)
	var names []string
	s := Simple{From: ana, Subject: Content{"x", ""}, Text: content("text", "")}
	for _, enc := range []string{"", "SEVEN_BIT", "BASE64", "QUOTED_PRINTABLE"} {
		name := strings.Repeat("ä b", 40) + enc + ".bin"
		names = append(names, name)
		s.Attachments = append(s.Attachments, Attachment{FileName: name, TransferEncoding: enc, Data: file})
	}
	m, err := Compose(s)
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(bytes.NewReader(m.Body), params["boundary"])
	if _, err := r.NextPart(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = p // quoted-printable is decoded already
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			body = base64.NewDecoder(base64.StdEncoding, p)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s: content differs (%d bytes, %v)", name, len(got), err)
		}
		if p.FileName() != name {
			t.Errorf("name %q, want %q", p.FileName(), name)
		}
	}
	if _, err := r.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestComposeBoundaryIsNotInContent(t *testing.T) {
	t.Parallel()
	s := Simple{From: ana, Subject: Content{"x", ""}, Text: content("a", ""), HTML: content("b", ""), Seed: testID}
	m, err := Compose(s)
	if err != nil {
		t.Fatal(err)
	}
	_, boundary, _ := strings.Cut(m.Header.Get("Content-Type"), `"`)
	evil := "--" + strings.TrimSuffix(boundary, `"`) + "--\nContent-Type: text/html\n\nevil"
	s.Text = content(evil, "")
	if m, err = Compose(s); err != nil {
		t.Fatal(err)
	}
	v, err := Parts(m.Reader())
	if err != nil || v.Text != crlf(evil) || v.HTML != "b" {
		t.Errorf("read back as %+v, %v", v, err)
	}
}

func TestComposeRefuses(t *testing.T) {
	t.Parallel()
	attach := func(a Attachment) Simple { return Simple{Attachments: []Attachment{a}} }
	head := func(f ...Field) Simple { return Simple{Headers: f} }
	for name, c := range map[string]struct {
		s    Simple
		want string
	}{
		"SubjectLineEnd":     {Simple{Subject: Content{"a\r\nBcc: x@y", ""}}, "Subject contains control characters"},
		"SubjectTooLong":     {Simple{Subject: Content{strings.Repeat("x", 999), ""}}, "Subject is longer than 998 characters"},
		"SubjectCharset":     {Simple{Subject: Content{"a", "nope"}}, "Unknown charset: nope"},
		"TextCharset":        {Simple{Text: content("a", "x-none")}, "Unknown charset: x-none"},
		"CharsetInjection":   {Simple{HTML: content("a", "utf-8\r\nX: y")}, "Unknown charset: utf-8  X: y"},
		"CharsetLineEnd":     {Simple{HTML: content("a", "big5\r\n")}, "Unknown charset: big5"},
		"UTF7":               {Simple{HTML: content("a", "utf-7")}, "Unknown charset: utf-7"},
		"HeaderEmpty":        {head(Field{"", "x"}), "Empty header names are illegal."},
		"HeaderColon":        {head(Field{"A:b", "x"}), "Illegal header 'A:b'."},
		"HeaderLineEnd":      {head(Field{"A\r\nB", "x"}), "Illegal header 'A  B'."},
		"HeaderReserved":     {head(Field{"BCC", "x"}), "Illegal header 'BCC'."},
		"HeaderControl":      {head(Field{"X-SES-Tenant", "x"}), "Illegal header 'X-SES-Tenant'."},
		"HeaderValueLineEnd": {head(Field{"A", "x\r\nBcc: y"}), "Header 'A' contains illegal characters."},
		"HeaderValueUTF8":    {head(Field{"A", "ë"}), "Header 'A' contains illegal characters."},
		"HeaderTwice":        {head(Field{"Precedence", "x"}, Field{"precedence", "y"}), "Duplicate header 'precedence'."},
		"HeaderLong":         {head(Field{"AAA", strings.Repeat("x", 994)}), "Header 'AAA' is too long."},
		"HeaderMany":         {head(slices.Repeat([]Field{{"A", "x"}}, 16)...), "Header count exceeds 15."},
		"FileExe":            {attach(Attachment{FileName: "a.exe"}), "Illegal filename"},
		"FileNone":           {attach(Attachment{}), "Attachment file name must be specified."},
		"FileLineEnd":        {attach(Attachment{FileName: "a\r\nb.txt"}), "Illegal filename"},
		"FileLong":           {attach(Attachment{FileName: strings.Repeat("x", 256)}), "Illegal filename"},
		"TypeBroken":         {attach(Attachment{FileName: "a", ContentType: "text"}), "Invalid attachment content type: text"},
		"TypeLineEnd":        {attach(Attachment{FileName: "a", ContentType: "text/plain\r\nX: y"}), "Invalid attachment content type: text/plain  X: y"},
		"TypeMultipart":      {attach(Attachment{FileName: "a", ContentType: "multipart/mixed; boundary=x"}), "Invalid attachment content type: multipart/mixed; boundary=x"},
		"IDSpace":            {attach(Attachment{FileName: "a", ContentID: "a b"}), "Attachment content id contains illegal characters"},
		"IDBracket":          {attach(Attachment{FileName: "a", ContentID: "a>b"}), "Attachment content id contains illegal characters"},
		"Description":        {attach(Attachment{FileName: "a", Description: "a\nb"}), "Attachment description contains control characters"},
		"Disposition":        {attach(Attachment{FileName: "a", Disposition: "inline"}), "Invalid attachment content disposition: inline"},
		"Encoding":           {attach(Attachment{FileName: "a", TransferEncoding: "8BIT"}), "Invalid attachment content transfer encoding: 8BIT"},
		"NoFrom":             {Simple{Seed: "nofrom"}, "Missing required header 'From'."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.s.Seed == "" {
				c.s.From = ana
			}
			_, err := Compose(c.s)
			if got := text(t, err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestComposeLongestHeaders(t *testing.T) {
	t.Parallel()
	m, err := Compose(Simple{From: Address{strings.Repeat(`"`, 900), "a", "b.c"}, Subject: Content{strings.Repeat("x", 998), ""},
		Headers: []Field{{"X", strings.Repeat("y", 995)}}, Attachments: []Attachment{
			{FileName: strings.Repeat("\U0001f600", 255), Description: strings.Repeat("z", 1000), ContentType: "image/png"}}})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(m.Bytes()), "\r\n") {
		if len(line) > 998 {
			t.Errorf("line of %d characters: %.60s", len(line), line)
		}
	}
	if got := m.Header.Common().Subject; got != strings.Repeat("x", 998) {
		t.Errorf("subject changed: %q", got)
	}
	if from, err := m.From(); err != nil || from[0].Name != strings.Repeat(`"`, 900) {
		t.Errorf("name changed: %v, %v", from, err)
	}
}

func TestComposeCharsets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ charset, text, label, encoding, raw string }{
		{"", "plain", "UTF-8", "7bit", "plain"},
		{"us-ascii", "plain", "us-ascii", "7bit", "plain"},
		{"us-ascii", "Zoë, Ana", "UTF-8", "quoted-printable", "Zo=C3=AB, Ana"},
		{"ISO-8859-1", "Zoë, Ana", "ISO-8859-1", "quoted-printable", "Zo=EB, Ana"},
		{"iso-8859-1", "10 € only", "UTF-8", "quoted-printable", "10 =E2=82=AC only"}, // not in that charset
		{"ISO-8859-15", "10 € only", "ISO-8859-15", "quoted-printable", "10 =A4 only"},
		{"utf8", "日本", "UTF-8", "base64", "5pel5pys"},
		{"Shift_JIS", "日本", "Shift_JIS", "base64", "k/qWew=="},
		{"UTF-16BE", "a", "UTF-16BE", "base64", "AGE="},
		{"", strings.Repeat("x", 999), "UTF-8", "quoted-printable", ""},
	} {
		m, err := Compose(Simple{From: ana, Text: content(c.text, c.charset)})
		if err != nil {
			t.Errorf("%s: %v", c.charset, err)
			continue
		}
		if got := m.Header.Get("Content-Type"); got != "text/plain; charset="+c.label {
			t.Errorf("%s: type %s", c.charset, got)
		}
		if got := m.Header.Get("Content-Transfer-Encoding"); got != c.encoding {
			t.Errorf("%s: encoding %s", c.charset, got)
		}
		if c.raw != "" && string(m.Body) != c.raw {
			t.Errorf("%s: body %q", c.charset, m.Body)
		}
		if v, err := Parts(m.Reader()); err != nil || v.Text != c.text {
			t.Errorf("%s: reads back as %.40q, %v", c.charset, v.Text, err)
		}
	}
}

func TestComposeSubjectCharset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ charset, text, want string }{
		{"", "=?UTF-8?Q?Fr=C3=BChling?=", "=?UTF-8?Q?Fr=C3=BChling?="},
		{"UTF-8", "Frühling", "=?UTF-8?Q?Fr=C3=BChling?="},
		{"ISO-8859-1", "Frühling", "=?ISO-8859-1?Q?Fr=FChling?="},
		{"ISO-8859-1", "10 € Rabatt", "=?UTF-8?Q?10_=E2=82=AC_Rabatt?="},
		{"ISO-2022-JP", "日本", "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?="},
	} {
		m, err := Compose(Simple{From: ana, Subject: Content{c.text, c.charset}})
		if err != nil {
			t.Errorf("%s: %v", c.charset, err)
			continue
		}
		if got := m.Header.Get("Subject"); got != c.want {
			t.Errorf("%s: %q, want %q", c.charset, got, c.want)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("Ana", "Spring\r\nBcc: x@y", "text", "<p>", "UTF-8", "X-A", "v", "a.txt", "text/plain", "id", "d", []byte("data"))
	f.Add("Zoë \"x\"", "=?UTF-8?Q?=0A?=", "\r.\r", "日本", "iso-2022-jp", "List-Id", " x  y ", "ä\".pdf", "a/b; c=\"d\\\"\"", "<i@d>", "ü", []byte("\r\n\x00"))
	f.Add("", "a  b", "--x\n", "", "big5", "A", "", "x\u2028.gif", "IMAGE/GIF", "", "", []byte{})
	f.Fuzz(func(t *testing.T, name, subject, text, html, charset, hname, hvalue, file, ctype, cid, desc string, data []byte) {
		s := Simple{
			From: Address{cleanName(name), "ana", "example.com"}, To: []Address{{name, "b", "example.com"}},
			Subject: Content{subject, charset}, Text: &Content{text, charset}, HTML: &Content{html, charset},
			Headers: []Field{{hname, hvalue}}, Seed: name,
			Attachments: []Attachment{
				{FileName: file, ContentType: ctype, ContentID: cid, Description: desc, Disposition: "INLINE", Data: data},
				{FileName: file, ContentType: ctype, Description: desc, TransferEncoding: "QUOTED_PRINTABLE", Data: data},
			},
		}
		m, err := Compose(s)
		if err != nil {
			return
		}
		raw := m.Bytes()
		if bareLineEnd(raw) {
			t.Fatalf("bare CR or LF in %q", raw)
		}
		again, err := Parse(raw)
		if err != nil {
			t.Fatalf("refused: %v: %q", err, raw)
		}
		var names []string
		for n := range again.Header.All() {
			names = append(names, n)
		}
		want := []string{"From", "To", "Subject", "MIME-Version", "Content-Type", hname}
		if !slices.Equal(names, want) {
			t.Fatalf("fields %q, want %q", names, want)
		}
		if err := again.Check(); err != nil {
			t.Fatalf("%v: %q", err, raw)
		}
		from, err := again.From()
		if err != nil || len(from) != 1 || from[0] != s.From {
			t.Fatalf("from %+v became %+v, %v", s.From, from, err)
		}
		v, err := Parts(bytes.NewReader(raw))
		if err != nil || len(v.Attachments) != 2 || v.Truncated && len(text)+len(html) < 1000 {
			t.Fatalf("%d attachments in %q", len(v.Attachments), raw)
		}
		for _, a := range v.Attachments {
			if a.Size != int64(len(data)) || a.Name != cleanName(decodeWords(file)) && a.Name != cleanName(file) {
				t.Fatalf("attachment %+v of %d bytes in %q", a, len(data), raw)
			}
			var got bytes.Buffer
			if _, err := WritePart(&got, bytes.NewReader(raw), a.Index); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Fatalf("attachment %q became %q, %v", data, got.Bytes(), err)
			}
		}
		if lines := bytes.Split(raw, []byte("\r\n")); slices.ContainsFunc(lines, func(l []byte) bool { return len(l) > 998 }) {
			t.Fatalf("a line is too long")
		}
		if asUTF8 := charset == "" || strings.EqualFold(charset, "utf-8"); asUTF8 {
			if want := string(normalize([]byte(strings.ToValidUTF8(html, "\uFFFD")))); v.HTML != strings.TrimPrefix(want, "\uFEFF") {
				t.Fatalf("html %q became %q", want, v.HTML)
			}
		}
	})
}
