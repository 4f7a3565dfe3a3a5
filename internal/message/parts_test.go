package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw  string
		want View
	}{
		"Plain":        {"Subject: x\n\nhello\nthere\n", View{Text: "hello\nthere\n"}},
		"HTML":         {"Content-Type: Text/HTML; charset=\"iso-8859-1\"\n\n\xe9", View{HTML: "é"}},
		"QP":           {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: Quoted-Printable\n\nZo=C3=AB =\nx=3d=zz=\n", View{Text: "Zoë x==zz"}},
		"Base64":       {"Content-Transfer-Encoding: base64\n\naGVs\nbG8=\n", View{Text: "hello"}},
		"Base64Broken": {"Content-Transfer-Encoding: base64\n\naG!V s\nb-G8\n", View{Text: "hello"}},
		"NoHeader":     {"\nhello", View{Text: "hello"}},
		"Empty":        {"", View{}},
		"UnknownCharset": {"Content-Type: text/plain; charset=nope\n\nZo\xc3\xab\xff",
			View{Text: "Zoë\uFFFD"}},
		"Alternative": {"Content-Type: multipart/alternative; boundary=b\n\npreamble\n--b\n\ntext\n\n--b\nContent-Type: text/html\n\n<p>\n--b--\nepilogue",
			View{Text: "text\n", HTML: "<p>"}},
		"Nested": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\ntext\n--bb\nContent-Type: text/html\n\n<p>\n--bb--\n\n--b\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\nContent-ID: <x@y>\n\nAAAA\n--b--\n",
			View{Text: "text", HTML: "<p>", Attachments: []PartInfo{{Index: 4, Name: "a.pdf", ContentType: "application/pdf", ContentID: "x@y", Inline: true, Size: 3}}}},
		"InnerNotClosed": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\ntext\n--b\nContent-Disposition: attachment; filename*=iso-8859-1'de'%FC.txt\n\nxyz\n--b--",
			View{Text: "text", Attachments: []PartInfo{{Index: 3, Name: "ü.txt", ContentType: "text/plain", Size: 3}}}},
		"AttachedMail": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner text\n--b--",
			View{Attachments: []PartInfo{{Index: 1, ContentType: "message/rfc822", Size: 26}}}},
		"Digest": {"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: inner\n\nx\n--b--",
			View{Attachments: []PartInfo{{Index: 1, ContentType: "message/rfc822", Size: 17}}}},
		"SecondText": {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--",
			View{Text: "one", Attachments: []PartInfo{{Index: 2, ContentType: "text/plain", Size: 3}}}},
		"NoBoundary": {"Content-Type: multipart/mixed\n\n--b\n\none\n--b--", View{}},
		"BoundaryLookalike": {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bc\n--b-\n --b\n--b \t\n\ntwo\n--b--",
			View{Text: "--bc\n--b-\n --b", Attachments: []PartInfo{{Index: 2, ContentType: "text/plain", Size: 3}}}},
		"HeaderCutByBoundary": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n\ntwo\n--b--",
			View{Text: "two"}},
		"FileNameControl": {"Content-Disposition: attachment; filename=\"=?UTF-8?Q?a=0D=0Ab?=\"\n\nx",
			View{Attachments: []PartInfo{{Index: 0, Name: "a  b", ContentType: "text/plain", Size: 1}}}},
		"Image": {"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA",
			View{Attachments: []PartInfo{{Index: 0, ContentType: "image/png", Size: 3}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parts(strings.NewReader(c.raw))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("LF: got %+v, %v\nwant %+v", got, err, c.want)
			}
			got, err = Parts(iotest.OneByteReader(strings.NewReader(crlf(c.raw))))
			got.Text = strings.ReplaceAll(got.Text, "\r\n", "\n")
			for i := range got.Attachments {
				if strings.HasPrefix(got.Attachments[i].ContentType, "message/") {
					got.Attachments[i].Size -= int64(strings.Count("Subject: inner\n\n", "\n"))
				}
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("CRLF: got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestPartsBounds(t *testing.T) {
	t.Parallel()
	v, err := Parts(strings.NewReader("\n" + strings.Repeat("x", 3<<20)))
	if err != nil || !v.Truncated || len(v.Text) != 2<<20 {
		t.Errorf("%d bytes of text, %v, %v", len(v.Text), v.Truncated, err)
	}
	v, err = Parts(strings.NewReader("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 2000)))
	if err != nil || !v.Truncated || v.Text != "x" || len(v.Attachments) != 499 {
		t.Errorf("%d attachments, %v, %v", len(v.Attachments), v.Truncated, err)
	}
	v, err = Parts(strings.NewReader("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 500)))
	if err != nil || v.Truncated || len(v.Attachments) != 499 {
		t.Errorf("%d attachments, %v, %v", len(v.Attachments), v.Truncated, err)
	}
	if _, err := Parts(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read error: %v", err)
	}
}

func TestWritePart(t *testing.T) {
	t.Parallel()
	raw := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\nAQID\n--b--"
	var w bytes.Buffer
	info, err := WritePart(&w, strings.NewReader(raw), 2)
	if want := (PartInfo{Index: 2, Name: "a.png", ContentType: "image/png", Size: 3}); err != nil || info != want || w.String() != "\x01\x02\x03" {
		t.Errorf("%+v, %v, %q", info, err, w.String())
	}
	if _, err := WritePart(&w, strings.NewReader(raw), 3); !errors.Is(err, ErrNoPart) {
		t.Errorf("missing part: %v", err)
	}
	if _, err := WritePart(writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }), strings.NewReader(raw), 2); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write error: %v", err)
	}
}

func qp(s string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func b64(s string) string { return string(encodeBase64([]byte(s))) }

func TestScanEICAR(t *testing.T) {
	t.Parallel()
	virus := string(eicar)
	mixed := "From: a@b.c\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Type: text/plain; name=sample.txt\nContent-Transfer-Encoding: %s\n\n%s\n--b--\n"
	inner := "Content-Type: text/plain; name=inner.txt\nContent-Transfer-Encoding: base64\n\n" + b64(virus)
	for name, c := range map[string]struct {
		raw   string
		found bool
		file  string
	}{
		"Clean":            {fmt.Sprintf(mixed, "base64", b64("hello")), false, ""},
		"AlmostFound":      {fmt.Sprintf(mixed, "7bit", virus[:67]+"\n"+virus[67:]), false, ""},
		"Plain":            {fmt.Sprintf(mixed, "7bit", virus), true, "sample.txt"},
		"Base64":           {fmt.Sprintf(mixed, "base64", b64(virus)), true, "sample.txt"},
		"Base64Shifted":    {fmt.Sprintf(mixed, "BASE64 ", b64("xx"+virus)), true, "sample.txt"},
		"Base64Spaced":     {fmt.Sprintf(mixed, "base64", strings.Join(strings.Split(b64(virus), ""), " \n")), true, "sample.txt"},
		"Base64AfterPad":   {fmt.Sprintf(mixed, "base64", "eA==\n"+b64(virus)), true, "sample.txt"},
		"Base64Large":      {fmt.Sprintf(mixed, "base64", b64(strings.Repeat("z", 100_001)+virus+strings.Repeat("z", 5000))), true, "sample.txt"},
		"QP":               {fmt.Sprintf(mixed, "quoted-printable", qp(virus)), true, "sample.txt"},
		"QPSoftBreaks":     {fmt.Sprintf(mixed, "quoted-printable", strings.Join(strings.Split(strings.ReplaceAll(virus, "=", "=3D"), ""), "= \t\n")), true, "sample.txt"},
		"InAttachedMail":   {strings.Replace(fmt.Sprintf(mixed, "7bit", inner), "text/plain; name=sample.txt", "message/rfc822", 1), true, "inner.txt"},
		"AttachedMail":     {"Content-Type: message/rfc822\n\n" + inner, true, "inner.txt"},
		"AttachedEncoded":  {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64(inner), true, "inner.txt"},
		"AttachedTwice":    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n"+qp(inner)), true, "inner.txt"},
		"Preamble":         {"Content-Type: multipart/mixed; boundary=b\n\n" + virus + "\n--b\n\nx\n--b--", true, ""},
		"Header":           {"X: " + virus + "\n\nx", true, ""},
		"NoMIME":           {virus, true, ""},
		"WrongBoundary":    {"Content-Type: multipart/mixed; boundary=c\n\n--b\n\n" + virus, true, ""},
		"NotBase64":        {fmt.Sprintf(mixed, "base64", virus), true, ""},
		"NoBoundaryBase64": {"Content-Type: multipart/mixed\nContent-Transfer-Encoding: base64\n\n" + b64(virus), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, raw := range []string{c.raw, crlf(strings.ReplaceAll(c.raw, "\r\n", "\n"))} {
				for _, r := range []io.Reader{strings.NewReader(raw), iotest.OneByteReader(strings.NewReader(raw)), iotest.HalfReader(strings.NewReader(raw))} {
					found, part, err := ScanEICAR(r)
					if err != nil || found != c.found || part.Name != c.file && c.file != "" {
						t.Errorf("found %v in %+v, %v", found, part, err)
					}
				}
			}
		})
	}
	if _, _, err := ScanEICAR(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read error: %v", err)
	}
}

// TestDecodersInPieces checks that where a part is cut into pieces does not
// matter.
func TestDecodersInPieces(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, encoding := range []string{"base64", "quoted-printable"} {
		for range 200 {
			data := make([]byte, rng.IntN(300))
			for i := range data {
				data[i] = byte(rng.IntN(256))
			}
			enc := encodeBase64(data)
			if encoding == "quoted-printable" {
				enc = encodeQP(data, true)
			}
			var got bytesSink
			d := newDecoder(encoding, &got)
			for len(enc) > 0 {
				n := 1 + rng.IntN(min(len(enc), 9))
				d.write(enc[:n])
				enc = enc[n:]
			}
			d.close()
			if !bytes.Equal(got.b, data) || !got.closed {
				t.Fatalf("%s: got %x, want %x", encoding, got.b, data)
			}
		}
	}
}

type bytesSink struct {
	b      []byte
	closed bool
}

func (s *bytesSink) write(p []byte) { s.b = append(s.b, p...) }
func (s *bytesSink) close()         { s.closed = true }

func FuzzParts(f *testing.F) {
	for _, s := range []string{
		"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\nAQID\n--b--",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64("Subject: x\n\nhello"),
		"Content-Transfer-Encoding: quoted-printable\n\na=\n=3D= \n=", "Content-Type: multipart/digest; boundary=\"\n\n--\n--\"", "\r\r\n\r\r\n--\r--",
		"Content-Type: multipart/a;boundary*0=a;boundary*1*=%20b\n\n--a b\nContent-Type: multipart/x; boundary=c\n\n--c\n--a b--\n",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8) {
		v, err := Parts(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		chunks := &chunkReader{b: raw, n: int(piece) + 1}
		again, err := Parts(chunks)
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("in pieces of %d: %+v, %v\nat once: %+v", piece, again, err, v)
		}
		for _, a := range v.Attachments {
			var w bytes.Buffer
			info, err := WritePart(&w, bytes.NewReader(raw), a.Index)
			if err != nil || info != a || int64(w.Len()) != a.Size {
				t.Fatalf("attachment %+v is written as %+v, %d bytes, %v", a, info, w.Len(), err)
			}
			if hasControl(a.Name) || hasControl(a.ContentID) {
				t.Fatalf("control character in %+v", a)
			}
		}
		found, _, err := ScanEICAR(bytes.NewReader(raw))
		if err != nil || !found && bytes.Contains(raw, eicar) {
			t.Fatalf("scan: %v, %v", found, err)
		}
		if m, err := Parse(raw); err == nil {
			_ = m.Check()
		}
		// An infected attachment is found, whatever stands around it.
		infected := append([]byte("Content-Type: multipart/mixed; boundary=outer-4711\r\n\r\n--outer-4711\r\n\r\n"), raw...)
		infected = append(infected, "\r\n--outer-4711\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString(eicar)...)
		if found, _, err := ScanEICAR(bytes.NewReader(infected)); err != nil || !found {
			t.Fatalf("missed in %q", infected)
		}
	})
}

// chunkReader reads n bytes at a time and, unlike a bytes.Reader, cannot be
// copied from in one piece.
type chunkReader struct {
	b []byte
	n int
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.b)
	r.b = r.b[n:]
	return n, nil
}

func BenchmarkScanEICAR(b *testing.B) {
	file := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	m, err := Compose(Simple{From: ana, Attachments: []Attachment{{FileName: "a.bin", TransferEncoding: "BASE64", Data: file}}})
	if err != nil {
		b.Fatal(err)
	}
	raw := m.Bytes()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if found, _, err := ScanEICAR(bytes.NewReader(raw)); found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	s := Simple{From: ana, To: []Address{lena}, Subject: Content{"Spring list", ""}, Seed: testID,
		Text: content(strings.Repeat("A line of text that is seventy characters long, more or less.\n", 30), ""),
		HTML: content(strings.Repeat("<p>A line of text that is about seventy characters long.</p>\n", 30), "")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compose(s); err != nil {
			b.Fatal(err)
		}
	}
}
