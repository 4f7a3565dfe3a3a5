package sqs

import (
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
)

func TestPermissions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	add := func(label string, accounts []string, actions ...string) error {
		_, err := e.AddPermission(e.ctx, &sqs.AddPermissionInput{QueueUrl: url, Label: &label, AWSAccountIds: accounts, Actions: actions})
		return err
	}
	remove := func(label string) error {
		_, err := e.RemovePermission(e.ctx, &sqs.RemovePermissionInput{QueueUrl: url, Label: &label})
		return err
	}
	policy := func() string { return e.attributes(url, "Policy")["Policy"] }
	one := []string{"111111111111"}
	const ipv = "InvalidParameterValueException"

	refused(t, add("a", []string{"111111111111", "668614515564"}, "ReceiveMessage"), "", "")
	want := `{"Version":"2008-10-17","Id":"` + e.arn("q") + `/SQSDefaultPolicy","Statement":[{"Sid":"a","Effect":"Allow",` +
		`"Principal":{"AWS":["arn:aws:iam::111111111111:root","arn:aws:iam::668614515564:root"]},"Action":"SQS:ReceiveMessage","Resource":"` + e.arn("q") + `"}]}`
	if got := policy(); got != want {
		t.Errorf("policy\n%s, want\n%s", got, want)
	}
	refused(t, add("a", one, "SendMessage"), ipv, "Value a for parameter Label is invalid. Reason: Already exists.")
	refused(t, add("b", one, "SendMessage", "*"), "", "")
	if got := policy(); !strings.Contains(got, `{"Sid":"b","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":["SQS:SendMessage","SQS:*"]`) {
		t.Errorf("policy %s", got)
	}
	refused(t, remove("a"), "", "")
	refused(t, remove("a"), ipv, "Value a for parameter Label is invalid. Reason: can't find label.")
	refused(t, remove("b"), "", "")
	if got := policy(); got != "" {
		t.Errorf("policy without statements: %s", got)
	}

	refused(t, add("a b", one, "SendMessage"), ipv, "Value a b for parameter Label is invalid. Reason: Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	refused(t, add("a", one, "DeleteQueue"), ipv, "Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.")
	refused(t, add("a", one, "Fly"), ipv, "Value SQS:Fly for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list of valid actions.")
	refused(t, add("a", []string{"someone"}, "SendMessage"), ipv, "Value someone for parameter PrincipalId is invalid. Reason: Unable to verify.")
	refused(t, add("a", nil, "SendMessage"), "MissingRequiredParameterException", "The request must contain the parameter AWSAccountIds.")
	refused(t, add("a", one), "MissingRequiredParameterException", "The request must contain the parameter Actions.")
}

// A policy set as a whole keeps what is not known here.
func TestPermissionBesidePolicy(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const own = `{"Effect":"Deny","Principal":"*","Action":"sqs:*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
	url := e.create("q", "Policy", `{"Version":"2012-10-17","Id":"mine","Statement":`+own+`}`)
	_ = must[*sqs.AddPermissionOutput](t)(e.AddPermission(e.ctx, &sqs.AddPermissionInput{QueueUrl: url, Label: new("l"), AWSAccountIds: []string{"111111111111"}, Actions: []string{"SendMessage"}}))
	_ = must[*sqs.RemovePermissionOutput](t)(e.RemovePermission(e.ctx, &sqs.RemovePermissionInput{QueueUrl: url, Label: new("l")}))
	if got, want := e.attributes(url, "Policy")["Policy"], `{"Version":"2012-10-17","Id":"mine","Statement":[`+own+`]}`; got != want {
		t.Errorf("policy\n%s, want\n%s", got, want)
	}
}
