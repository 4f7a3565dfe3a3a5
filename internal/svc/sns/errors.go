package sns

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var (
	errNoTopic        = sestina.Errorf("NotFound", "Topic does not exist")
	errNoSubscription = sestina.Errorf("NotFound", "Subscription does not exist")
	errNoResource     = sestina.Errorf("ResourceNotFound", "Resource does not exist")
)

// invalid returns the InvalidParameter error with AWS's beginning of its text.
func invalid(format string, args ...any) error {
	return sestina.Errorf("InvalidParameter", "Invalid parameter: "+format, args...)
}

func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// splitARN splits an ARN that a caller gave for a parameter.
func splitARN(param, s string) ([]string, error) {
	if s == "" {
		return nil, invalid("%s Reason: no value for required parameter", param)
	}
	parts := strings.Split(s, ":")
	if len(parts) < 6 {
		return nil, invalid("%s Reason: An ARN must have at least 6 elements, not %s", param, strconv.Itoa(len(parts)))
	}
	if parts[0] != "arn" || parts[2] != "sns" {
		return nil, invalid("%s", param)
	}
	return parts, nil
}

// checkScope refuses ARNs of another region or account than the caller's.
func checkScope(caller sestina.Scope, operation, param, arn string, parts []string) error {
	if parts[3] != caller.Region {
		return invalid("%s", param)
	}
	if parts[4] != caller.Account {
		return sestina.Errorf("AuthorizationError", "User: arn:aws:iam::%s:root is not authorized to perform: SNS:%s on resource: %s because no resource-based policy allows the SNS:%s action",
			caller.Account, operation, arn, operation)
	}
	return nil
}

// parseTopicARN returns the name of the topic of the caller's scope that an ARN
// names.
func parseTopicARN(caller sestina.Scope, operation, param, arn string) (string, error) {
	parts, err := splitARN(param, arn)
	if err != nil {
		return "", err
	}
	if len(parts) != 6 || parts[5] == "" {
		return "", invalid("%s", param)
	}
	return parts[5], checkScope(caller, operation, param, arn, parts)
}

// parseSubscriptionARN returns the id of the subscription that an ARN names.
func parseSubscriptionARN(caller sestina.Scope, operation, arn string) (sestina.ID, error) {
	parts, err := splitARN("SubscriptionArn", arn)
	if err != nil {
		return sestina.ID{}, err
	}
	if len(parts) != 7 {
		return sestina.ID{}, invalid("SubscriptionId")
	}
	if err := checkScope(caller, operation, "SubscriptionArn", arn, parts); err != nil {
		return sestina.ID{}, err
	}
	id, err := sestina.ParseID(parts[6])
	if err != nil {
		return sestina.ID{}, invalid("SubscriptionId")
	}
	return id, nil
}

// topicARN is the ARN of a topic.
func topicARN(s sestina.Scope, name string) string { return sestina.NewARN("sns", s, name) }

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
