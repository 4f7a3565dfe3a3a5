package sdk

import (
	"crypto/tls"
	"errors"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/sestina-mail/sestina/tests/harness"
)

// createKey makes an access key on the command line and returns what it prints.
func createKey(t *testing.T, dir string, database ...string) map[string]string {
	t.Helper()
	args := append([]string{"key", "create", "--data", dir, "--user", "mailer"}, database...)
	out, err := exec.Command(harness.Binary(t), args...).Output()
	check(t, err)
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	return values
}

func TestServeChecksSignaturesAndPasswords(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	database := harness.Database(t)
	key := createKey(t, dir, database...)
	cert, keyFile := selfSigned(t)
	s := harness.StartMode(t, "serve", append(database, "--data", dir, "--smtps", "none", "--relay", "smtp://127.0.0.1:1",
		"--tls-cert", cert, "--tls-key", keyFile, "--any-sender")...)

	cfg := s.AWS()
	_, err := sns.NewFromConfig(cfg).ListTopics(t.Context(), &sns.ListTopicsInput{})
	wantCode(t, err, "InvalidClientTokenId")
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key["AWS_ACCESS_KEY_ID"], "wrong", "")
	_, err = sns.NewFromConfig(cfg).ListTopics(t.Context(), &sns.ListTopicsInput{})
	wantCode(t, err, "SignatureDoesNotMatch")
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"], "")
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	check(t, err)
	if *who.Arn != "arn:aws:iam::000000000000:user/mailer" {
		t.Errorf("caller %s", *who.Arn)
	}
	if _, err := s.TryOwn(t.Context(), "GET", "messages", ""); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("an unsigned call of the own API: %v", err)
	}

	message := []byte("From: a@example.com\r\nTo: b@example.net\r\nSubject: hi\r\n\r\nhello\r\n")
	host, _, _ := strings.Cut(s.SMTP, ":")
	trust := &tls.Config{InsecureSkipVerify: true} // a self-signed certificate of this test
	submit := func(starttls bool, user, password string) error {
		c, err := smtp.Dial(s.SMTP)
		check(t, err)
		defer c.Close()
		if starttls {
			check(t, c.StartTLS(trust))
		}
		if user != "" {
			if err := c.Auth(smtp.PlainAuth("", user, password, host)); err != nil {
				return err
			}
		}
		if err := c.Mail("a@example.com"); err != nil {
			return err
		}
		check(t, c.Rcpt("b@example.net"))
		w, err := c.Data()
		check(t, err)
		_, err = w.Write(message)
		check(t, err)
		return w.Close()
	}
	wantReply(t, submit(false, "", ""), "530")
	wantReply(t, submit(true, "", ""), "530")
	wantReply(t, submit(true, key["SMTP_USERNAME"], "wrong"), "535")
	wantReply(t, submit(true, key["SMTP_USERNAME"], key["AWS_SECRET_ACCESS_KEY"]), "535")
	check(t, submit(true, key["SMTP_USERNAME"], key["SMTP_PASSWORD"]))
}

// TestServeWithoutRelayKeepsMail: serve starts with nothing but ports, says what
// is missing, and mail that it accepts waits and says why.
func TestServeWithoutRelayKeepsMail(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	database := harness.Database(t)
	key := createKey(t, dir, database...)
	s := harness.StartMode(t, "serve", append(database, "--data", dir, "--smtps", "none", "--any-sender")...)
	cfg := s.AWS()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"], "")
	_, err := sesv2.NewFromConfig(cfg).SendEmail(t.Context(), &sesv2.SendEmailInput{
		FromEmailAddress: aws.String("a@example.com"), Destination: &types.Destination{ToAddresses: []string{"b@example.net"}},
		Content: &types.EmailContent{Raw: &types.RawMessage{Data: []byte("From: a@example.com\r\n\r\nhello\r\n")}},
	})
	check(t, err)
	s.Stop() // from here on the log is complete
	if log := s.Log(); !strings.Contains(log, "no --relay") || !strings.Contains(log, "no --tls-cert") {
		t.Errorf("the log does not say what is missing:\n%s", log)
	}
}

// TestForeignSecretKey: with another installation's secret.key the program does
// not start, and says which file is wrong.
func TestForeignSecretKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	database := harness.Database(t)
	createKey(t, dir, database...)
	check(t, os.Remove(filepath.Join(dir, "secret.key")))
	args := append([]string{"serve", "--data", dir, "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0", "--smtps", "none"}, database...)
	out, err := exec.Command(harness.Binary(t), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "secret.key") {
		t.Errorf("serve with a new secret.key: %v: %s", err, out)
	}
}

// TestDataFolderInUse: a second process is told which folder is in use. With
// PostgreSQL nodes may share one: it holds only keys.
func TestDataFolderInUse(t *testing.T) {
	t.Parallel()
	if harness.OnPostgreSQL() {
		return
	}
	s := harness.Start(t)
	out, err := exec.Command(harness.Binary(t), "dev", "--data", s.Dir, "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), s.Dir) {
		t.Errorf("a second process on the same folder: %v: %s", err, out)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}

func wantReply(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), code) {
		t.Errorf("reply %v, want %s", err, code)
	}
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(path, data, 0o600))
	return path
}
