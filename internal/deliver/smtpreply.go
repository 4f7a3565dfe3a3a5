package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
)

// Limits of a reply. rfc5321#4.5.3.1.5 asks for 512 bytes a line; real servers
// exceed it.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
)

var errBadReply = errors.New("not an SMTP reply")

// A reply is a server's answer to one command.
type reply struct {
	code  int
	lines []string // the text after the code of each line
}

// positive reports whether the command was done. rfc5321#4.2.1
func (r reply) positive() bool { return r.code/100 == 2 }

// readReply reads one reply, all its lines. br must have a buffer of at least
// maxReplyLine bytes. Errors: errBadReply (wrapped) for what is no reply, else
// those of reading. rfc5321#4.2
func readReply(br *bufio.Reader) (reply, error) {
	var r reply
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = fmt.Errorf("%w: a line of more than %d bytes", errBadReply, br.Size())
			}
			return reply{}, err
		}
		code, more, text, ok := splitReplyLine(line)
		switch {
		case !ok:
			return reply{}, fmt.Errorf("%w: %.40q", errBadReply, line)
		case r.code != 0 && code != r.code:
			return reply{}, fmt.Errorf("%w: code %d in a reply of %d", errBadReply, code, r.code)
		case len(r.lines) == maxReplyLines:
			return reply{}, fmt.Errorf("%w: more than %d lines", errBadReply, maxReplyLines)
		}
		r.code = code
		r.lines = append(r.lines, text)
		if !more {
			return r, nil
		}
	}
}

// splitReplyLine takes one line apart: three digits, then a hyphen when more
// lines follow, a space, or nothing, then text.
func splitReplyLine(line []byte) (code int, more bool, text string, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', string(line[4:]), true
}
