package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/emersion/go-smtp"
)

// serveFloor is the other program of the comparison: the same HTTP and SMTP
// libraries as sestina, taking the same requests, reading all of them and
// keeping nothing.
func serveFloor() {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mail, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := smtp.NewServer(discard{})
	s.Domain = "floor.example"
	go func() { log.Fatal(s.Serve(mail)) }()
	fmt.Printf("floor: ready http=http://%s smtp=%s\n", web.Addr(), mail.Addr())
	log.Fatal(http.Serve(web, http.HandlerFunc(sendEmail)))
}

// A sendEmailInput has the members of a SES v2 SendEmail call that are sent.
type sendEmailInput struct {
	FromEmailAddress, ConfigurationSetName string
	Destination                            struct{ ToAddresses []string }
	Content                                struct {
		Simple struct {
			Subject struct{ Data string }
			Body    struct{ Text struct{ Data string } }
		}
	}
	EmailTags []struct{ Name, Value string }
}

var messages atomic.Int64

func sendEmail(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in sendEmailInput
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || in.Content.Simple.Body.Text.Data == "" || len(in.Destination.ToAddresses) == 0 {
		http.Error(w, "not a SendEmail call", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"MessageId":"%d"}`, messages.Add(1))
}

type discard struct{}

func (discard) NewSession(*smtp.Conn) (smtp.Session, error) { return discard{}, nil }
func (discard) Mail(string, *smtp.MailOptions) error        { return nil }
func (discard) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (discard) Reset()                                      {}
func (discard) Logout() error                               { return nil }
func (discard) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.NoEnhancedCode, Message: "Ok " + strconv.FormatInt(messages.Add(1), 10)}
}
