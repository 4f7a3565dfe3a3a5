package event

// An Object is a type object: the part of a record that says what happened.
type Object interface{ object() }

// Encode returns the JSON of a type object.
func Encode(o Object) ([]byte, error) { return JSON(o) }

// Send has no members: the message was accepted.
type Send struct{}

// Reject says that a message was found to hold a virus.
type Reject struct {
	Reason string `json:"reason"` // always "Bad content"
}

// Delivery says that the recipients' server took the message.
type Delivery struct {
	Timestamp            string   `json:"timestamp"`
	ProcessingTimeMillis int64    `json:"processingTimeMillis"`
	Recipients           []string `json:"recipients"`
	SMTPResponse         string   `json:"smtpResponse"`
	RemoteMTAIP          string   `json:"remoteMtaIp,omitempty"`
	ReportingMTA         string   `json:"reportingMTA"`
}

// Bounce says that the message did not reach the recipients and will not be
// tried again, or that an answer of their server came back later.
type Bounce struct {
	FeedbackID        string             `json:"feedbackId"`
	BounceType        string             `json:"bounceType"`
	BounceSubType     string             `json:"bounceSubType"`
	BouncedRecipients []BouncedRecipient `json:"bouncedRecipients"`
	Timestamp         string             `json:"timestamp"`
	RemoteMTAIP       string             `json:"remoteMtaIp,omitempty"`
	ReportingMTA      string             `json:"reportingMTA,omitempty"`
}

// A BouncedRecipient carries the members after the address only when a status
// notification named them.
type BouncedRecipient struct {
	EmailAddress   string `json:"emailAddress"`
	Action         string `json:"action,omitempty"`
	Status         string `json:"status,omitempty"`
	DiagnosticCode string `json:"diagnosticCode,omitempty"`
}

// Complaint says that a recipient called the message unwanted.
type Complaint struct {
	FeedbackID            string                `json:"feedbackId"`
	ComplaintSubType      *string               `json:"complaintSubType"` // null normally
	ComplainedRecipients  []ComplainedRecipient `json:"complainedRecipients"`
	Timestamp             string                `json:"timestamp"`
	UserAgent             string                `json:"userAgent,omitempty"`
	ComplaintFeedbackType string                `json:"complaintFeedbackType,omitempty"`
	ArrivalDate           string                `json:"arrivalDate,omitempty"`
}

// A ComplainedRecipient is one address a complaint may be from.
type ComplainedRecipient struct {
	EmailAddress string `json:"emailAddress"`
}

// DeliveryDelay says that an attempt failed for now and delivery goes on.
type DeliveryDelay struct {
	Timestamp         string             `json:"timestamp"`
	DelayType         string             `json:"delayType"`
	ExpirationTime    string             `json:"expirationTime"`
	DelayedRecipients []DelayedRecipient `json:"delayedRecipients"`
	ReportingMTA      string             `json:"reportingMTA,omitempty"`
}

// A DelayedRecipient is one recipient that has to wait.
type DelayedRecipient struct {
	EmailAddress   string `json:"emailAddress"`
	Status         string `json:"status"`
	DiagnosticCode string `json:"diagnosticCode"`
}

func (Send) object()          {}
func (Reject) object()        {}
func (Delivery) object()      {}
func (Bounce) object()        {}
func (Complaint) object()     {}
func (DeliveryDelay) object() {}
