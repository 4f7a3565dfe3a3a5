package ses

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A spelling is how one API version writes event types.
type spelling struct {
	read  func(name string) (sestina.EventType, bool)
	valid string // all names, as refusals list them
}

var (
	spellingV1 = newSpelling(sestina.EventType.V1, sestina.EventTypeFromV1)
	spellingV2 = newSpelling(func(t sestina.EventType) string { return string(t) },
		func(name string) (sestina.EventType, bool) { t := sestina.EventType(name); return t, t.Valid() })
)

func newSpelling(write func(sestina.EventType) string, read func(string) (sestina.EventType, bool)) spelling {
	var names []string
	for _, t := range sestina.EventTypes {
		if n := write(t); n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return spelling{read, "[" + strings.Join(names, ", ") + "]"}
}

// checkDestination checks the parts of an event destination that need no other
// service, and sets its event types, sorted. Its other members are set as the
// caller gave them; given says how many target objects there were.
func checkDestination(d *sestina.EventDestination, types []string, sp spelling, given int) error {
	switch {
	case len(d.Name) > sestina.MaxNameLength:
		return invalid("Event destination name cannot exceed %d characters.", sestina.MaxNameLength)
	case !validName(d.Name):
		return invalid("Invalid event destination name <%s>: only alphanumeric ASCII characters, '_', and '-' are allowed.", d.Name)
	case len(types) == 0:
		return invalid("At least one event type must be specified.")
	case given == 0:
		return invalid("Event destination is not provided.")
	case given > 1:
		return invalid("Please provide only one destination with each request. Either a Firehose Destination or a Cloudwatch Destination or an SNS Destination or an EventBridge Destination.")
	}
	for _, name := range types {
		t, ok := sp.read(name)
		if !ok {
			return invalid("Invalid event type: %s. Valid values are %s.", name, sp.valid)
		}
		d.EventTypes = append(d.EventTypes, t)
		if d.Kind == sestina.DestinationPinpoint && (t == sestina.DeliveryDelay || t == sestina.Subscription) {
			return invalid("Event type %s is not supported by Pinpoint destinations.", t)
		}
	}
	slices.Sort(d.EventTypes)
	d.EventTypes = slices.Compact(d.EventTypes)
	if d.Kind == sestina.DestinationCloudWatch {
		return checkDimensions(d.Dimensions)
	}
	return nil
}

// maxDimensions is the most dimensions of one CloudWatch destination.
const maxDimensions = 10

// forbiddenHeaders cannot give dimension values. ses-guide:event-publishing-add-event-destination-cloudwatch
var forbiddenHeaders = []string{"received", "to", "from", "dkim-signature", "cc", "message-id", "return-path"}

func checkDimensions(dims []sestina.Dimension) error {
	bad := func(format string, args ...any) error {
		return sestina.SESErrorf("InvalidCloudWatchDestination", "BadRequestException", format, args...)
	}
	if len(dims) == 0 {
		return invalid("CloudWatch metrics dimension configuration list cannot be empty.")
	}
	if len(dims) > maxDimensions {
		return bad("A CloudWatch destination can have at most %d dimension configurations.", maxDimensions)
	}
	seen := map[string]bool{}
	for _, d := range dims {
		switch {
		case d.Name == "" || len(d.Name) > 256 || !onlyChars(d.Name, "_-:"):
			return bad("Invalid dimension name <%s>: only alphanumeric ASCII characters, '_', '-' and ':' are allowed, at most 256.", d.Name)
		case d.Default == "" || len(d.Default) > 256 || !onlyChars(d.Default, "_-@."):
			return bad("Invalid default dimension value <%s>: only alphanumeric ASCII characters, '_', '-', '@' and '.' are allowed, at most 256.", d.Default)
		case seen[d.Name]:
			return bad("The dimension name <%s> is given twice.", d.Name)
		case d.Source == "EMAIL_HEADER" && slices.Contains(forbiddenHeaders, strings.ToLower(d.Name)):
			return bad("The header <%s> cannot be used as a dimension.", d.Name)
		}
		if err := oneOf("dimensionValueSource", d.Source, "EMAIL_HEADER", "LINK_TAG", "MESSAGE_TAG"); err != nil {
			return err
		}
		seen[d.Name] = true
	}
	return nil
}

func onlyChars(s, punctuation string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(punctuation, r) {
			return false
		}
	}
	return true
}

// checkTarget checks the target's ARN and, where the kind is served here, that
// the target exists. It returns what creating the destination publishes.
func (s *Service) checkTarget(ctx context.Context, scope sestina.Scope, d sestina.EventDestination) (store.Effects, error) {
	if err := checkARNs(scope, d); err != nil {
		return store.Effects{}, err
	}
	if kind := s.Destinations[d.Kind]; kind != nil {
		return kind.Check(ctx, scope, d)
	}
	return store.Effects{}, nil
}

// checkARNs checks the form of the target's ARNs and that they are of this
// account and region.
func checkARNs(scope sestina.Scope, d sestina.EventDestination) error {
	var code, service, resource, what string
	switch d.Kind {
	case sestina.DestinationFirehose:
		code, service, resource, what = "InvalidFirehoseDestination", "firehose", "deliverystream/", "Firehose delivery stream"
		if a, err := sestina.ParseARN(d.RoleARN); err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
			return sestina.SESErrorf(code, "BadRequestException", "Invalid IAM role ARN provided: %s.", d.RoleARN)
		}
	case sestina.DestinationPinpoint:
		code, service, resource, what = "InvalidParameterValue", "mobiletargeting", "apps/", "Pinpoint application"
	case sestina.DestinationEventBridge:
		code, service, resource, what = "InvalidParameterValue", "events", "event-bus/", "EventBridge event bus"
	default:
		return nil // CloudWatch has no target; SNS checks its own topics
	}
	a, err := sestina.ParseARN(d.TargetARN())
	if err != nil || a.Service != service || !strings.HasPrefix(a.Resource, resource) || len(a.Resource) == len(resource) {
		return sestina.SESErrorf(code, "BadRequestException", "Invalid %s ARN provided: %s.", what, d.TargetARN())
	}
	if d.Kind == sestina.DestinationEventBridge && a.Resource != "event-bus/default" {
		return sestina.SESErrorf(code, "BadRequestException", "The EventBridge event bus %s is not the default event bus.", d.EventBusARN)
	}
	if a.Scope() != scope {
		return sestina.SESErrorf(code, "BadRequestException", "The %s %s is not in account %s and region %s.", what, d.TargetARN(), scope.Account, scope.Region)
	}
	if d.Kind == sestina.DestinationEventBridge && a.Resource != "event-bus/default" {
		return sestina.SESErrorf(code, "BadRequestException", "Only the default event bus is supported: %s.", d.EventBusARN)
	}
	return nil
}

// createDestination adds an event destination to a set. What its check
// publishes (the test message to a topic) is committed with it.
func (s *Service) createDestination(ctx context.Context, scope sestina.Scope, set string, d sestina.EventDestination) error {
	effects, err := s.checkTarget(ctx, scope, d)
	if err != nil {
		if _, missing := s.getSet(ctx, scope, set); missing != nil {
			return missing
		}
		return err
	}
	d.ID = s.IDs.New(s.Clock.Now())
	return s.changeSet(ctx, scope, set, func(tx store.Tx, c *sestina.ConfigurationSet) error {
		if c.Destination(d.Name) != nil {
			return sestina.SESErrorf("EventDestinationAlreadyExists", "AlreadyExistsException",
				"An event destination with name <%s> already exists for configuration set <%s>.", d.Name, set)
		}
		if len(c.Destinations) >= sestina.MaxEventDestinations {
			return sestina.SESErrorf("LimitExceeded", "LimitExceededException",
				"A configuration set can have at most %d event destinations.", sestina.MaxEventDestinations)
		}
		c.Destinations = append(c.Destinations, d)
		return tx.Apply(effects)
	})
}

// updateDestination replaces an event destination's definition. It keeps its
// internal id, so that its backlog follows the new definition.
func (s *Service) updateDestination(ctx context.Context, scope sestina.Scope, set string, d sestina.EventDestination) error {
	effects, checkErr := s.checkTarget(ctx, scope, d)
	err := s.changeSet(ctx, scope, set, func(tx store.Tx, c *sestina.ConfigurationSet) error {
		old := c.Destination(d.Name)
		if old == nil {
			return noDestination(set, d.Name)
		}
		if checkErr != nil {
			return checkErr
		}
		d.ID = old.ID
		*old = d
		return tx.Apply(effects)
	})
	if err == nil {
		s.wake(d.ID)
	}
	return err
}

// deleteDestination removes an event destination. What was queued for it
// becomes dead letters when its turn comes.
func (s *Service) deleteDestination(ctx context.Context, scope sestina.Scope, set, name string) error {
	var id sestina.ID
	err := s.changeSet(ctx, scope, set, func(_ store.Tx, c *sestina.ConfigurationSet) error {
		i := slices.IndexFunc(c.Destinations, func(d sestina.EventDestination) bool { return d.Name == name })
		if i < 0 {
			return noDestination(set, name)
		}
		id = c.Destinations[i].ID
		c.Destinations = slices.Delete(c.Destinations, i, i+1)
		return nil
	})
	if err == nil {
		s.wake(id)
	}
	return err
}

func noDestination(set, name string) error {
	return &sestina.Error{
		Code: "EventDestinationDoesNotExist", REST: "NotFoundException",
		Message: fmt.Sprintf("An event destination with name <%s> does not exist for configuration set <%s>.", name, set),
	}
}
