package deliver

import (
	"bufio"
	"bytes"
)

// A dotWriter writes a message as the data of SMTP: lines end with CRLF
// whatever they ended with, a leading dot is doubled, Close ends the data. So
// nothing in a message can end it early. rfc5321#4.5.2
type dotWriter struct {
	w       *bufio.Writer
	began   bool // something of the current line was written
	afterCR bool
}

// Write implements io.Writer.
func (d *dotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if d.afterCR {
			d.afterCR = false
			if err := d.endLine(); err != nil {
				return 0, err
			}
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexAny(p, "\r\n")
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if err := d.text(part); err != nil {
			return 0, err
		}
		if i < 0 {
			break
		}
		if p[i] == '\r' {
			d.afterCR = true
		} else if err := d.endLine(); err != nil {
			return 0, err
		}
		p = p[i+1:]
	}
	return n, nil
}

func (d *dotWriter) text(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !d.began && p[0] == '.' {
		if err := d.w.WriteByte('.'); err != nil {
			return err
		}
	}
	d.began = true
	_, err := d.w.Write(p)
	return err
}

func (d *dotWriter) endLine() error {
	d.began = false
	_, err := d.w.WriteString("\r\n")
	return err
}

// finish ends an unfinished line and flushes, so that only the final dot is
// missing.
func (d *dotWriter) finish() error {
	if d.began || d.afterCR {
		d.afterCR = false
		if err := d.endLine(); err != nil {
			return err
		}
	}
	return d.w.Flush()
}

// dot writes the end of the data. From here on nobody but the server's reply
// can say whether the message was taken.
func (d *dotWriter) dot() error {
	if _, err := d.w.WriteString(".\r\n"); err != nil {
		return err
	}
	return d.w.Flush()
}
