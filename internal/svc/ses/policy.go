package ses

import (
	"encoding/json"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// maxPolicySize is the size of a sending authorization policy, in bytes.
const maxPolicySize = 4096

// checkPolicy checks that a sending authorization policy is a JSON policy
// document with at least one statement. ses-guide:policy-anatomy
func checkPolicy(policy string) error {
	bad := func(text string) error {
		return sestina.SESErrorf("InvalidPolicy", "BadRequestException", "%s", text)
	}
	if len(policy) > maxPolicySize {
		return bad("The policy exceeds 4 KB.")
	}
	var doc struct {
		Version   string
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(policy), &doc); err != nil {
		return bad("The policy is not valid JSON.")
	}
	type statement struct {
		Effect    string
		Principal any
		Action    any
		Resource  any
	}
	var list []statement
	if err := json.Unmarshal(doc.Statement, &list); err != nil {
		var one statement
		if err := json.Unmarshal(doc.Statement, &one); err != nil {
			return bad("The policy has no statement.")
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return bad("The policy has no statement.")
	}
	for _, st := range list {
		if st.Effect != "Allow" && st.Effect != "Deny" {
			return bad("Each statement needs an Effect of Allow or Deny.")
		}
		if st.Action == nil || st.Resource == nil || st.Principal == nil {
			return bad("Each statement needs Principal, Action and Resource.")
		}
	}
	return nil
}
