package sestina

import (
	"fmt"
	"strings"
)

// An ARN is an Amazon Resource Name, split at its first five colons.
type ARN struct {
	Partition string // "aws"
	Service   string // "sns", "ses", ...
	Region    string
	Account   string
	Resource  string // the rest, colons and slashes included
}

// String joins the parts.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Scope returns the account and region the ARN names.
func (a ARN) Scope() Scope { return Scope{Account: a.Account, Region: a.Region} }

// ParseARN splits s. It requires the six elements and the arn: prefix, nothing
// more; what a service wants of each element is the service's to check.
func ParseARN(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) < 6 {
		return ARN{}, fmt.Errorf("an ARN must have at least 6 elements, not %d", len(parts))
	}
	if parts[0] != "arn" {
		return ARN{}, fmt.Errorf("an ARN begins with arn:, not %q", parts[0])
	}
	return ARN{Partition: parts[1], Service: parts[2], Region: parts[3], Account: parts[4], Resource: parts[5]}, nil
}

// NewARN returns the ARN of a resource in a scope, partition aws.
func NewARN(service string, s Scope, resource string) string {
	return ARN{Partition: "aws", Service: service, Region: s.Region, Account: s.Account, Resource: resource}.String()
}
