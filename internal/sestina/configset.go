package sestina

import "time"

// An EventType is one of the ten sending events, spelled as the SES v2 API
// does. ses-model:EventType
type EventType string

// The ten event types. None implies another: a Delivery may still be followed
// by a Bounce, and an Open does not say who opened.
const (
	Send             EventType = "SEND"              // accepted; delivery will be attempted
	Reject           EventType = "REJECT"            // accepted, then found to hold a virus; nothing was delivered
	Bounce           EventType = "BOUNCE"            // will not be delivered (or was, and came back)
	Complaint        EventType = "COMPLAINT"         // delivered, and the recipient called it spam
	Delivery         EventType = "DELIVERY"          // the next server took the message; it may still bounce later
	Open             EventType = "OPEN"              // the tracking pixel was fetched
	Click            EventType = "CLICK"             // a tracked link was followed
	RenderingFailure EventType = "RENDERING_FAILURE" // the template could not be rendered; nothing was sent
	DeliveryDelay    EventType = "DELIVERY_DELAY"    // a temporary failure; delivery goes on
	Subscription     EventType = "SUBSCRIPTION"      // the recipient changed list preferences
)

// EventTypes lists all event types in the order of the API model.
var EventTypes = []EventType{Send, Reject, Bounce, Complaint, Delivery, Open, Click, RenderingFailure, DeliveryDelay, Subscription}

// eventNames has, per type, the SES v1 spelling ("" where v1 lacks the type)
// and the text of eventType in records.
var eventNames = map[EventType]struct{ v1, record string }{
	Send: {"send", "Send"}, Reject: {"reject", "Reject"}, Bounce: {"bounce", "Bounce"},
	Complaint: {"complaint", "Complaint"}, Delivery: {"delivery", "Delivery"}, Open: {"open", "Open"},
	Click: {"click", "Click"}, RenderingFailure: {"renderingFailure", "Rendering Failure"},
	DeliveryDelay: {"", "DeliveryDelay"}, Subscription: {"", "Subscription"},
}

// V1 returns the SES v1 spelling, or "" where v1 does not know the type.
func (t EventType) V1() string { return eventNames[t].v1 }

// RecordName returns the text of eventType in an event record, such as
// "Rendering Failure".
func (t EventType) RecordName() string { return eventNames[t].record }

// Valid reports whether t is one of the ten types.
func (t EventType) Valid() bool { _, ok := eventNames[t]; return ok }

// EventTypeFromV1 returns the type that SES v1 spells s.
func EventTypeFromV1(s string) (EventType, bool) {
	for t, n := range eventNames {
		if n.v1 == s && s != "" {
			return t, true
		}
	}
	return "", false
}

// A DestinationKind is a kind of event destination.
type DestinationKind string

// The five kinds. A destination has exactly one.
const (
	DestinationSNS         DestinationKind = "sns"
	DestinationCloudWatch  DestinationKind = "cloudwatch"
	DestinationFirehose    DestinationKind = "firehose"
	DestinationPinpoint    DestinationKind = "pinpoint"
	DestinationEventBridge DestinationKind = "eventbridge"
)

// A Dimension is one CloudWatch dimension of an event destination.
// ses-model:CloudWatchDimensionConfiguration
type Dimension struct {
	Name    string
	Source  string // MESSAGE_TAG, EMAIL_HEADER or LINK_TAG
	Default string
}

// An EventDestination says where events of the listed types are published.
// Which of the target members are set follows from Kind.
type EventDestination struct {
	// ID is unlike every other destination's, also one of the same name that
	// was deleted before: backlog and dead letters refer to it.
	ID         ID
	Name       string
	Enabled    bool
	EventTypes []EventType // sorted
	Kind       DestinationKind

	TopicARN       string      `json:",omitempty"` // sns
	Dimensions     []Dimension `json:",omitempty"` // cloudwatch, 1 to 10
	StreamARN      string      `json:",omitempty"` // firehose
	RoleARN        string      `json:",omitempty"` // firehose; stored and returned, never assumed
	ApplicationARN string      `json:",omitempty"` // pinpoint
	EventBusARN    string      `json:",omitempty"` // eventbridge
}

// TargetARN returns the ARN events go to, or "" for CloudWatch.
func (d EventDestination) TargetARN() string {
	return d.TopicARN + d.StreamARN + d.ApplicationARN + d.EventBusARN
}

// Matches reports whether the destination takes events of type t now.
func (d EventDestination) Matches(t EventType) bool {
	if !d.Enabled {
		return false
	}
	for _, x := range d.EventTypes {
		if x == t {
			return true
		}
	}
	return false
}

// A ConfigurationSet is a named group of rules for the messages sent with it.
// It is one document in the store, its event destinations included, so that
// limits, deletion and matching are atomic. A nil option group means "not set".
type ConfigurationSet struct {
	Name         string
	CreatedAt    time.Time
	Destinations []EventDestination // in order of creation, at most MaxEventDestinations

	Tracking       *TrackingOptions    `json:",omitempty"`
	Delivery       *DeliveryOptions    `json:",omitempty"`
	Suppression    *SuppressionOptions `json:",omitempty"`
	VDM            *VDMOptions         `json:",omitempty"`
	ArchiveARN     string              `json:",omitempty"`
	Security       *MessageSecurity    `json:",omitempty"`
	ReputationOn   bool                // ReputationMetricsEnabled
	LastFreshStart time.Time           // zero until sending was disabled and enabled again
	SendingOff     bool                // the negation of SendingEnabled, so that the zero value sends
	Tags           []Tag               `json:",omitempty"`
}

// Limits of configuration sets. ses-guide:quotas
const (
	MaxConfigurationSets = 10_000 // per account and region
	MaxEventDestinations = 10     // per configuration set
	MaxNameLength        = 64     // of a configuration set or event destination, in characters
)

// Match returns the destinations that take an event of type t at this moment.
func (c *ConfigurationSet) Match(t EventType) []EventDestination {
	if c == nil {
		return nil
	}
	var out []EventDestination
	for _, d := range c.Destinations {
		if d.Matches(t) {
			out = append(out, d)
		}
	}
	return out
}

// Destination returns the destination with the name, or nil.
func (c *ConfigurationSet) Destination(name string) *EventDestination {
	for i := range c.Destinations {
		if c.Destinations[i].Name == name {
			return &c.Destinations[i]
		}
	}
	return nil
}

// TrackingOptions are the open and click tracking rules of a configuration set.
type TrackingOptions struct {
	CustomRedirectDomain string
	HTTPSPolicy          string `json:",omitempty"` // REQUIRE, REQUIRE_OPEN_ONLY, OPTIONAL or ""
}

// DeliveryOptions are the delivery rules of a configuration set.
type DeliveryOptions struct {
	TLSPolicy          string `json:",omitempty"` // REQUIRE or OPTIONAL
	SendingPoolName    string `json:",omitempty"`
	MaxDeliverySeconds int64  `json:",omitempty"` // 300 to 50400; 0 means not set
}

// SuppressionOptions override the account's suppression settings. An empty
// Reasons list means no suppression at all.
type SuppressionOptions struct {
	Reasons             []string // BOUNCE, COMPLAINT
	Scope               string   `json:",omitempty"` // ACCOUNT or TENANT
	ConditionThreshold  string   `json:",omitempty"` // ValidationOptions: ENABLED or DISABLED
	ConfidenceThreshold string   `json:",omitempty"` // ValidationOptions: MEDIUM, HIGH or MANAGED
}

// MessageSecurity says whether and how messages get an S/MIME signature.
// ses-model:MessageSecurityOptions
type MessageSecurity struct {
	SMIME           bool   // the scheme is S/MIME, else the default: no signature
	SignatureFormat string `json:",omitempty"` // of S/MIME, as given
}

// VDMOptions are the Virtual Deliverability Manager switches.
type VDMOptions struct {
	EngagementMetrics       string `json:",omitempty"` // ENABLED or DISABLED
	OptimizedSharedDelivery string `json:",omitempty"` // ENABLED or DISABLED
}
