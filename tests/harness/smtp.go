package harness

import (
	"fmt"
	"net/textproto"
	"strings"
)

// SMTPSend submits a message by hand, line by line, and returns the message id
// that the answer to DATA holds.
func SMTPSend(addr, from string, to []string, message string) (string, error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return "", fmt.Errorf("greeting: %w", err)
	}
	commands := []string{"EHLO test.example", "MAIL FROM:<" + from + ">"}
	for _, r := range to {
		commands = append(commands, "RCPT TO:<"+r+">")
	}
	for _, cmd := range commands {
		if err := c.PrintfLine("%s", cmd); err != nil {
			return "", err
		}
		if _, _, err := c.ReadResponse(250); err != nil {
			return "", fmt.Errorf("%s: %w", cmd, err)
		}
	}
	if err := c.PrintfLine("DATA"); err != nil {
		return "", err
	}
	if _, _, err := c.ReadResponse(354); err != nil {
		return "", fmt.Errorf("DATA: %w", err)
	}
	w := c.DotWriter()
	if _, err := w.Write([]byte(strings.ReplaceAll(message, "\n", "\r\n"))); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	_, text, err := c.ReadResponse(250)
	if err != nil {
		return "", fmt.Errorf("end of DATA: %w", err)
	}
	_ = c.PrintfLine("QUIT")
	id, ok := strings.CutPrefix(text, "Ok ")
	if !ok {
		return "", fmt.Errorf("the answer to DATA is %q, want \"Ok <message id>\"", text)
	}
	return id, nil
}
