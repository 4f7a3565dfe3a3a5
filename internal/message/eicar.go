package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// eicar is the test string that virus scanners agree to report. It is joined
// here, so that neither this file nor a binary's constants hold it and scanners
// leave them alone. ses-guide:send-email-simulator
var eicar = append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}`), "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"...)

// A matcher looks for eicar in what is written to it.
type matcher struct {
	tail  []byte // the end of what was written, shorter than the pattern
	found bool
}

func (m *matcher) write(p []byte) {
	if m.found {
		return
	}
	keep := len(eicar) - 1
	if len(m.tail) > 0 {
		m.tail = append(m.tail, p[:min(len(p), keep)]...)
		m.found = bytes.Contains(m.tail, eicar)
	}
	if !m.found {
		m.found = bytes.Contains(p, eicar)
	}
	if len(p) >= keep {
		m.tail = append(m.tail[:0], p[len(p)-keep:]...)
		return
	}
	if len(m.tail) == 0 {
		m.tail = append(m.tail, p...)
	}
	if over := len(m.tail) - keep; over > 0 {
		m.tail = append(m.tail[:0], m.tail[over:]...)
	}
}

// eicarScan is the visitor of ScanEICAR.
type eicarScan struct {
	found bool
	where PartInfo
}

// eicarSink scans one part.
type eicarSink struct {
	matcher
	scan *eicarScan
	info PartInfo
}

func (s *eicarScan) part(e *entity) sink {
	return &eicarSink{scan: s, info: e.info()}
}

func (s *eicarSink) write(p []byte) {
	s.matcher.write(p)
	if s.found && !s.scan.found {
		s.scan.found, s.scan.where = true, s.info
	}
}

func (s *eicarSink) close() {}

var errFound = errors.New("found")

// ScanEICAR reports whether the EICAR test string occurs anywhere in the
// message: in a decoded MIME part, also of an attached message, or in the
// message as it stands, however malformed its structure. part says where; it is
// zero (index 0, no name) for a find outside every part. Its Size is not filled
// in, and its Index counts the parts of attached messages, unlike that of Parts.
// Parts beyond 500, which Check refuses, are scanned as they stand only. Memory
// is bounded; err comes only from r.
func ScanEICAR(r io.Reader) (found bool, part PartInfo, err error) {
	var scan eicarScan
	var raw matcher
	w := newWalker(&scan, true)
	_, err = io.Copy(writerFunc(func(p []byte) (int, error) {
		raw.write(p)
		_, _ = w.Write(p)
		if scan.found || raw.found {
			return 0, errFound
		}
		return len(p), nil
	}), r)
	if err != nil && !errors.Is(err, errFound) {
		return false, PartInfo{}, fmt.Errorf("scan message: %w", err)
	}
	w.close()
	return scan.found || raw.found, scan.where, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
