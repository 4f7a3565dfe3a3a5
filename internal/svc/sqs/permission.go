package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
)

// A policy is a queue's policy as AddPermission and RemovePermission see it:
// statements by Sid, whose other members stay as they are.
type policy struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

// A statement is one that AddPermission writes.
type statement struct {
	Sid       string    `json:"Sid"`
	Effect    string    `json:"Effect"`
	Principal principal `json:"Principal"`
	Action    any       `json:"Action"` // a name, or several
	Resource  string    `json:"Resource"`
}

type principal struct {
	AWS any `json:"AWS"` // an ARN, or several
}

// sharable are the actions that can be permitted to others.
// sqs-guide:sqs-overview-of-managing-access
var sharable = []string{"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl"}

// AddPermission implements sqs-model:AddPermission: it adds a statement to the
// queue's policy.
func (s *Service) AddPermission(ctx context.Context, in *sqs.AddPermissionInput) (*sqs.AddPermissionOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	st, err := newStatement(q, in)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, q, func(_ finder, cur *settings) error {
		p, err := parsePolicy(cur.Policy)
		if err != nil {
			return err
		}
		if p.find(st.Sid) >= 0 {
			return invalidValue(st.Sid, "Label", "Already exists.")
		}
		if p.ID == "" {
			p.ID = q.arn() + "/SQSDefaultPolicy"
		}
		raw, err := json.Marshal(st)
		if err != nil {
			return fmt.Errorf("encode statement %q: %w", st.Sid, err)
		}
		p.Statement = append(p.Statement, raw)
		return cur.setPolicy(p)
	})
}

// RemovePermission implements sqs-model:RemovePermission. With its last
// statement the policy goes.
func (s *Service) RemovePermission(ctx context.Context, in *sqs.RemovePermissionInput) (*sqs.RemovePermissionOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	label := value(in.Label)
	return nil, s.change(ctx, q, func(_ finder, cur *settings) error {
		p, err := parsePolicy(cur.Policy)
		if err != nil {
			return err
		}
		i := p.find(label)
		if i < 0 {
			return invalidValue(label, "Label", "can't find label.")
		}
		p.Statement = slices.Delete(p.Statement, i, i+1)
		return cur.setPolicy(p)
	})
}

func newStatement(q queue, in *sqs.AddPermissionInput) (statement, error) {
	label := value(in.Label)
	switch {
	case !isName(label):
		return statement{}, invalidValue(label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	case len(in.AWSAccountIds) == 0:
		return statement{}, missing("AWSAccountIds")
	case len(in.Actions) == 0:
		return statement{}, missing("Actions")
	}
	var actions, accounts []string
	for _, a := range in.Actions {
		if err := checkAction(a); err != nil {
			return statement{}, err
		}
		actions = append(actions, "SQS:"+a)
	}
	for _, id := range in.AWSAccountIds {
		if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
			return statement{}, invalidValue(id, "PrincipalId", "Unable to verify.")
		}
		accounts = append(accounts, "arn:aws:iam::"+id+":root")
	}
	return statement{
		Sid: label, Effect: "Allow", Principal: principal{AWS: oneOrMore(accounts)},
		Action: oneOrMore(actions), Resource: q.arn(),
	}, nil
}

func checkAction(action string) error {
	if slices.Contains(sharable, action) {
		return nil
	}
	if sqs.API.OperationIndex(action) >= 0 {
		return invalidValue("SQS:"+action, "ActionName", "Only the queue owner is allowed to invoke this action.")
	}
	return invalidValue("SQS:"+action, "ActionName", "Please refer to the appropriate WSDL for a list of valid actions.")
}

func oneOrMore(values []string) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}

// parsePolicy reads a queue's policy; "" is one without statements. A policy's
// Statement may be a single object.
func parsePolicy(text string) (*policy, error) {
	p := &policy{Version: "2008-10-17"}
	if text == "" {
		return p, nil
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, invalidAttribute("Policy", "")
	}
	if raw.Version != "" {
		p.Version = raw.Version
	}
	p.ID = raw.ID
	if len(raw.Statement) == 0 || json.Unmarshal(raw.Statement, &p.Statement) == nil {
		return p, nil
	}
	p.Statement = []json.RawMessage{raw.Statement}
	return p, nil
}

// find returns the index of the statement with the Sid, or -1.
func (p *policy) find(sid string) int {
	return slices.IndexFunc(p.Statement, func(raw json.RawMessage) bool {
		var st struct{ Sid string }
		return json.Unmarshal(raw, &st) == nil && st.Sid == sid
	})
}

func (q *settings) setPolicy(p *policy) error {
	if len(p.Statement) == 0 {
		q.Policy = ""
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode policy: %w", err)
	}
	q.Policy = string(b)
	return nil
}
