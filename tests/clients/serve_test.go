package clients

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/tests/harness"
)

// startServe runs `sestina serve` with a key of its own, made by `sestina key
// create`, and returns what that printed, by name.
func startServe(t *testing.T) (*harness.Instance, map[string]string) {
	t.Helper()
	ca := harness.Start(t) // only for a certificate that serve can use
	cert, key := leaf(t, ca)
	s := harness.StartMode(t, "serve", "--smtps", "none", "--relay", "smtp://127.0.0.1:1", "--tls-cert", cert, "--tls-key", key)
	s.Stop() // keys are made in the folder itself, which a running Sestina locks
	out, err := exec.Command(harness.Binary(t), "key", "create", "--data", s.Dir, "--user", "app").CombinedOutput()
	if err != nil {
		t.Fatalf("sestina key create: %v\n%s", err, out)
	}
	printed := map[string]string{"CA": filepath.Join(ca.Dir, "ca.pem")}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		printed[name] = value
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SMTP_USERNAME", "SMTP_PASSWORD"} {
		if printed[name] == "" {
			t.Fatalf("sestina key create printed no %s:\n%s", name, out)
		}
	}
	s.Restart()
	return s, printed
}

// TestSignatures: serve checks signatures, so every client's own signing is
// verified here, for plain, escaped and repeated parameters; and a wrong secret
// is refused everywhere.
func TestSignatures(t *testing.T) {
	t.Parallel()
	s, key := startServe(t)
	id, secret := "AWS_ACCESS_KEY_ID="+key["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY="+key["AWS_SECRET_ACCESS_KEY"]
	bash := need(t, "bash")
	need(t, "/usr/bin/aws")
	cli := client{name: bash, args: []string{"-c", `
		try() { if out=$(/usr/bin/aws --region eu-central-1 --endpoint-url $E "$@" 2>&1 >/dev/null); then echo "$1: ok"; else echo "$1: $out" | tr -d '\n'; echo; fi; }
		try sts get-caller-identity
		try sns create-topic --name c --tags 'Key=ü & +,Value=b c'
		try sqs create-queue --queue-name c
		try ses list-configuration-sets
		try sesv2 create-configuration-set --configuration-set-name c
		try sesv2 list-tags-for-resource --resource-arn arn:aws:ses:eu-central-1:000000000000:configuration-set/c`}}
	for name, c := range map[string]client{
		"AWS CLI":    cli,
		"boto3":      {name: need(t, "/usr/bin/python3"), args: []string{"-B", script(t, "python", "signatures.py")}},
		"JavaScript": scriptOf(node(t, "signatures.mjs")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, line := range signedCalls(t, c, "E="+s.HTTP, id, secret) {
				if !strings.HasSuffix(line, ": ok") {
					t.Errorf("with the right key: %s", line)
				}
			}
			for _, line := range signedCalls(t, c, "E="+s.HTTP, id, "AWS_SECRET_ACCESS_KEY=wrong") {
				if !strings.Contains(line, "SignatureDoesNotMatch") && !strings.Contains(line, "InvalidSignatureException") {
					t.Errorf("with a wrong secret: %s", line)
				}
			}
			for _, line := range signedCalls(t, c, "E="+s.HTTP, "AWS_ACCESS_KEY_ID=AKIANOBODY", secret) {
				if !strings.Contains(line, "InvalidClientTokenId") && !strings.Contains(line, "UnrecognizedClientException") {
					t.Errorf("with an unknown key: %s", line)
				}
			}
		})
	}
}

// scriptOf runs the JavaScript file as a program instead of as tests.
func scriptOf(c client) client {
	c.args = c.args[len(c.args)-1:]
	return c
}

func signedCalls(t *testing.T, c client, env ...string) []string {
	t.Helper()
	c.env = env
	lines := strings.Split(strings.TrimSpace(c.run(t)), "\n")
	if len(lines) < 6 {
		t.Fatalf("only %d calls: %q", len(lines), lines)
	}
	return lines
}

// TestServeSMTP: in serve SMTP submission needs STARTTLS and the password that
// belongs to an access key.
func TestServeSMTP(t *testing.T) {
	t.Parallel()
	swaks := need(t, "swaks")
	s, key := startServe(t)
	login := []string{"--auth", "LOGIN", "--auth-user", key["SMTP_USERNAME"], "--auth-password", key["SMTP_PASSWORD"]}
	wrong := []string{"--auth", "PLAIN", "--auth-user", key["SMTP_USERNAME"], "--auth-password", "wrong"}
	checked := []string{"--tls", "--tls-verify", "--tls-ca-path", key["CA"]}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"plain":           {nil, "<** 530 Must issue a STARTTLS command first"},
		"without AUTH":    {checked, "<~* 530 Authentication required"},
		"wrong password":  {append(checked[:len(checked):len(checked)], wrong...), "<~* 535 Authentication Credentials Invalid"},
		"unknown sender":  {append(checked[:len(checked):len(checked)], login...), "<~* 554 Message rejected: Email address is not verified."},
		"AUTH before TLS": {login, "Host did not advertise authentication"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, out, err := client{name: swaks, args: append([]string{"--server", s.SMTP, "--from", "a@example.com", "--to", "b@example.net"}, c.args...)}.try(t.Context())
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v, want %q:\n%s", err, c.says, out)
			}
			if strings.Contains(out, "250 Ok 01") {
				t.Errorf("accepted:\n%s", out)
			}
		})
	}
}

// TestServeBadSignatures: what is not even a signature, where signatures count.
func TestServeBadSignatures(t *testing.T) {
	t.Parallel()
	s, key := startServe(t)
	id := key["AWS_ACCESS_KEY_ID"]
	head := func(header string) []byte {
		return request("POST /", "Authorization: "+header+"\r\nX-Amz-Date: 20260303T101500Z\r\nContent-Type: application/x-www-form-urlencoded\r\n", "Action=ListTopics")
	}
	cases := append(badSignatures(),
		probe{name: "an old time", raw: head("AWS4-HMAC-SHA256 Credential=" + id + "/20260303/us-east-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"), status: []int{403}, code: "SignatureDoesNotMatch"},
		probe{name: "two credentials", raw: head("AWS4-HMAC-SHA256 Credential=A/20260303/us-east-1/ses/aws4_request, Credential=" + id + "/20260303/us-east-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"), status: []int{400, 403}},
		probe{name: "host not signed", raw: head("AWS4-HMAC-SHA256 Credential=" + id + "/20260303/us-east-1/sns/aws4_request, SignedHeaders=x-amz-date, Signature=00"), status: []int{403}},
		probe{name: "own API unsigned", raw: request("GET /sestina/v1/messages", "", ""), status: []int{403}},
		probe{name: "own API for another service", raw: request("GET /sestina/v1/messages", signed("sns"), ""), status: []int{400, 403}},
		probe{name: "a large body of nobody", raw: request("POST /v2/email/outbound-emails", signed("ses"), strings.Repeat("x", 30<<20)), status: []int{0, 403}},
	)
	for _, p := range cases {
		p.try(t, hostOf(s))
	}
	if strings.Contains(s.Log(), "panic") {
		t.Error("the log tells of a panic")
	}
}
