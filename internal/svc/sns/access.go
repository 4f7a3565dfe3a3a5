package sns

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// An accessPolicy is an access policy of a topic. It is kept, changed and
// returned; whoever may call the service may do everything.
type accessPolicy struct {
	Version   string            `json:"Version,omitempty"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

type statement struct {
	Sid       string         `json:"Sid"`
	Effect    string         `json:"Effect"`
	Principal map[string]any `json:"Principal"`
	Action    any            `json:"Action"` // a string or a list of them
	Resource  string         `json:"Resource"`
	Condition any            `json:"Condition,omitempty"`
}

// defaultActions are the actions of the default policy, in AWS's order.
var defaultActions = []string{
	"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
	"SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
}

// permittable are the actions that AddPermission takes.
var permittable = []string{
	"AddPermission", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource",
	"Publish", "PutDataProtectionPolicy", "RemovePermission", "SetTopicAttributes", "Subscribe",
}

// defaultPolicy is the policy of a topic on which none was set.
func defaultPolicy(scope sestina.Scope, arn string) string {
	st := mustJSON(statement{
		Sid: "__default_statement_ID", Effect: "Allow", Principal: map[string]any{"AWS": "*"},
		Action: defaultActions, Resource: arn,
		Condition: map[string]any{"StringEquals": map[string]string{"AWS:SourceOwner": scope.Account}},
	})
	return string(mustJSON(accessPolicy{Version: "2008-10-17", ID: "__default_policy_ID", Statement: []json.RawMessage{st}}))
}

// mustJSON encodes what always can be encoded, without escaping for HTML.
func mustJSON(v any) []byte {
	b, err := event.JSON(v)
	if err != nil {
		panic("sns: encode: " + err.Error())
	}
	return b
}

// checkPolicy checks that text is a policy.
func checkPolicy(text string) error {
	if _, err := parseAccessPolicy(text); err != nil {
		return errors.New("Policy Error: null")
	}
	return nil
}

func parseAccessPolicy(text string) (accessPolicy, error) {
	var p struct {
		Version, ID string
		Statement   json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return accessPolicy{}, err
	}
	out := accessPolicy{Version: p.Version, ID: p.ID}
	if err := json.Unmarshal(p.Statement, &out.Statement); err != nil { // one statement may stand without a list
		out.Statement = []json.RawMessage{p.Statement}
	}
	if len(p.Statement) == 0 || len(out.Statement) == 0 {
		return accessPolicy{}, errors.New("a policy has statements")
	}
	for _, raw := range out.Statement {
		var st struct{ Effect string }
		if err := json.Unmarshal(raw, &st); err != nil {
			return accessPolicy{}, err
		}
		if st.Effect != "Allow" && st.Effect != "Deny" {
			return accessPolicy{}, errors.New("the effect of a statement is Allow or Deny")
		}
	}
	return out, nil
}

func sidOf(raw json.RawMessage) string {
	var st struct{ Sid string }
	_ = json.Unmarshal(raw, &st) // was checked when it was set
	return st.Sid
}

// accessPolicy returns the topic's policy.
func (t *Topic) accessPolicy(scope sestina.Scope) (accessPolicy, error) {
	text := t.Attributes["Policy"]
	if text == "" {
		text = defaultPolicy(scope, topicARN(scope, t.Name))
	}
	return parseAccessPolicy(text)
}

// addPermission adds a statement that lets accounts do actions.
func (t *Topic) addPermission(scope sestina.Scope, label string, accounts, actions []string) error {
	p, err := t.accessPolicy(scope)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(p.Statement, func(raw json.RawMessage) bool { return sidOf(raw) == label }) {
		return invalid("Statement already exists")
	}
	var principals, allowed []string
	for _, a := range accounts {
		principals = append(principals, "arn:aws:iam::"+a+":root")
	}
	for _, a := range actions {
		if a != "*" && !slices.Contains(permittable, a) {
			return invalid("Policy statement action out of service scope!")
		}
		allowed = append(allowed, "SNS:"+a)
	}
	p.Statement = append(p.Statement, mustJSON(statement{
		Sid: label, Effect: "Allow", Principal: map[string]any{"AWS": oneOrMany(principals)},
		Action: oneOrMany(allowed), Resource: topicARN(scope, t.Name),
	}))
	t.setPolicy(p)
	return nil
}

// removePermission removes the statement with the label, if there is one.
func (t *Topic) removePermission(scope sestina.Scope, label string) error {
	p, err := t.accessPolicy(scope)
	if err != nil {
		return err
	}
	n := len(p.Statement)
	p.Statement = slices.DeleteFunc(p.Statement, func(raw json.RawMessage) bool { return sidOf(raw) == label })
	if len(p.Statement) < n {
		t.setPolicy(p)
	}
	return nil
}

func (t *Topic) setPolicy(p accessPolicy) {
	if t.Attributes == nil {
		t.Attributes = map[string]string{}
	}
	if p.Statement == nil {
		p.Statement = []json.RawMessage{}
	}
	t.Attributes["Policy"] = string(mustJSON(p))
}

func oneOrMany(list []string) any {
	if len(list) == 1 {
		return list[0]
	}
	return list
}
