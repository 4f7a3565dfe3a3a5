package sqs

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// An attribute is a settable queue attribute. sqs-model:QueueAttributeName
type attribute struct {
	name string
	// fifo marks what only FIFO queues have.
	fifo bool
	// get returns the value as text, "" when the queue has none.
	get func(*settings) string
	// set takes the value, after checking it. find reads another queue of the
	// same scope.
	set func(find finder, q queue, value string) error
	// same compares two values of get.
	same func(a, b string) bool
}

// A finder returns the settings of the named queue, or nil when there is none.
type finder func(name string) (*settings, error)

// attributeOrder is the order in which attributes are assigned.
var attributeOrder = []attribute{
	number("DelaySeconds", 0, 900, func(q *settings) *int { return &q.DelaySeconds }),
	number("MaximumMessageSize", 1024, 1<<20, func(q *settings) *int { return &q.MaximumMessageSize }),
	number("MessageRetentionPeriod", 60, 1_209_600, func(q *settings) *int { return &q.MessageRetentionPeriod }),
	number("ReceiveMessageWaitTimeSeconds", 0, 20, func(q *settings) *int { return &q.ReceiveMessageWaitTimeSeconds }),
	number("VisibilityTimeout", 0, 43_200, func(q *settings) *int { return &q.VisibilityTimeout }),
	{name: "FifoQueue", fifo: true, get: getFIFO, set: setFIFO, same: equal},
	fifoOnly(boolean("ContentBasedDeduplication", func(q *settings) *bool { return &q.ContentBasedDeduplication })),
	fifoOnly(choice("DeduplicationScope", func(q *settings) *string { return &q.DeduplicationScope }, "queue", "messageGroup")),
	fifoOnly(choice("FifoThroughputLimit", func(q *settings) *string { return &q.FifoThroughputLimit }, "perQueue", "perMessageGroupId")),
	{name: "Policy", get: func(q *settings) string { return q.Policy }, set: setPolicy, same: sameJSON},
	{name: "RedrivePolicy", get: func(q *settings) string { return q.RedrivePolicy }, set: setRedrive, same: sameJSON},
	{name: "RedriveAllowPolicy", get: func(q *settings) string { return q.RedriveAllowPolicy }, set: setRedriveAllow, same: sameJSON},
	boolean("SqsManagedSseEnabled", func(q *settings) *bool { return &q.SqsManagedSseEnabled }),
	{name: "KmsMasterKeyId", get: func(q *settings) string { return q.KmsMasterKeyID }, set: setKMSKey, same: equal},
	kmsReuse(),
}

var attributeTable = func() map[string]attribute {
	m := map[string]attribute{}
	for _, a := range attributeOrder {
		m[a.name] = a
	}
	return m
}()

// readOnly are the attributes that can only be asked for.
var readOnly = []string{
	"QueueArn", "CreatedTimestamp", "LastModifiedTimestamp",
	"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
}

// defaults returns what a new queue has where nothing else was asked for.
func defaults(fifo bool) *settings {
	q := &settings{
		Format: 1, FIFO: fifo, MaximumMessageSize: 1 << 20, MessageRetentionPeriod: 345_600,
		VisibilityTimeout: 30, SqsManagedSseEnabled: true,
	}
	if fifo {
		q.DeduplicationScope, q.FifoThroughputLimit = "queue", "perQueue"
	}
	return q
}

// assign checks and sets attributes of q. With creation set, the type of the
// queue is one of them.
func assign(find finder, q queue, attributes map[string]string, creation bool) error {
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if err := checkAttribute(q, name, attributes[name], creation); err != nil {
			return err
		}
	}
	if attributes["KmsMasterKeyId"] != "" && attributes["SqsManagedSseEnabled"] == "true" {
		return sestina.Errorf("InvalidAttributeName", "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.")
	}
	for _, a := range attributeOrder {
		v, ok := attributes[a.name]
		if !ok {
			continue
		}
		if err := a.set(find, q, v); err != nil {
			return err
		}
	}
	if q.FifoThroughputLimit == "perMessageGroupId" && q.DeduplicationScope != "messageGroup" {
		return invalidAttribute("FifoThroughputLimit", "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.")
	}
	if attributes["SqsManagedSseEnabled"] == "true" {
		q.KmsMasterKeyID = ""
	}
	return nil
}

// checkAttribute checks that the queue's type has the attribute at all.
func checkAttribute(q queue, name, value string, creation bool) error {
	a, ok := attributeTable[name]
	switch {
	case !ok:
		return unknownAttribute(name)
	case !a.fifo || q.FIFO:
		if name == "FifoQueue" && !creation && value != "true" {
			return invalidAttribute(name, "Modifying queue type is not supported.")
		}
		return nil
	case name == "DeduplicationScope" || name == "FifoThroughputLimit":
		return sestina.Errorf("InvalidAttributeName", "You can specify the %s only when FifoQueue is set to true.", name)
	}
	return unknownAttribute(name)
}

// setAttributes changes attributes of an existing queue.
func (s *Service) setAttributes(ctx context.Context, q queue, attributes map[string]string) error {
	if len(attributes) == 0 {
		return missing("Attributes")
	}
	return s.change(ctx, q, func(find finder, cur *settings) error {
		if err := assign(find, queue{cur, q.scope, q.name}, attributes, false); err != nil {
			return err
		}
		cur.ModifiedAt = s.clock.Now()
		return nil
	})
}

// getAttributes returns the values of the named attributes that q has.
func (s *Service) getAttributes(ctx context.Context, q queue, names []string) (map[string]string, error) {
	want := map[string]bool{}
	for _, n := range names {
		switch {
		case n == "All":
			for _, a := range attributeOrder {
				want[a.name] = true
			}
			for _, n := range readOnly {
				want[n] = true
			}
		case attributeTable[n].get == nil && !slices.Contains(readOnly, n):
			return nil, unknownAttribute(n)
		default:
			want[n] = true
		}
	}
	out := map[string]string{}
	for _, a := range attributeOrder {
		if v := a.get(q.settings); v != "" && want[a.name] && (!a.fifo || q.FIFO) {
			out[a.name] = v
		}
	}
	return out, s.getReadOnly(ctx, q, want, out)
}

func (s *Service) getReadOnly(ctx context.Context, q queue, want map[string]bool, out map[string]string) error {
	put := func(name, v string) {
		if want[name] {
			out[name] = v
		}
	}
	put("QueueArn", q.arn())
	put("CreatedTimestamp", strconv.FormatInt(q.CreatedAt.Unix(), 10))
	put("LastModifiedTimestamp", strconv.FormatInt(q.ModifiedAt.Unix(), 10))
	if !want["ApproximateNumberOfMessages"] && !want["ApproximateNumberOfMessagesNotVisible"] && !want["ApproximateNumberOfMessagesDelayed"] {
		return nil
	}
	visible, inFlight, delayed, err := s.counts(ctx, q.ID, s.clock.Now())
	if err != nil {
		return err
	}
	put("ApproximateNumberOfMessages", strconv.Itoa(visible))
	put("ApproximateNumberOfMessagesNotVisible", strconv.Itoa(inFlight))
	put("ApproximateNumberOfMessagesDelayed", strconv.Itoa(delayed))
	return nil
}

// ---- kinds of attributes ----------------------------------------------------

func equal(a, b string) bool { return a == b }

// sameJSON compares two JSON texts by what they say.
func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}

// parseNumber reads digits: no sign, no space.
func parseNumber(s string, low, high int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil && int(n) >= low && int(n) <= high
}

func number(name string, low, high int, field func(*settings) *int) attribute {
	return attribute{
		name: name, same: equal,
		get: func(q *settings) string { return strconv.Itoa(*field(q)) },
		set: func(_ finder, q queue, v string) error {
			n, ok := parseNumber(v, low, high)
			if !ok {
				return invalidAttribute(name, "")
			}
			*field(q.settings) = n
			return nil
		},
	}
}

func boolean(name string, field func(*settings) *bool) attribute {
	return attribute{
		name: name, same: equal,
		get: func(q *settings) string { return strconv.FormatBool(*field(q)) },
		set: func(_ finder, q queue, v string) error {
			if v != "true" && v != "false" {
				return invalidAttribute(name, "")
			}
			*field(q.settings) = v == "true"
			return nil
		},
	}
}

func choice(name string, field func(*settings) *string, values ...string) attribute {
	return attribute{
		name: name, same: equal,
		get: func(q *settings) string { return *field(q) },
		set: func(_ finder, q queue, v string) error {
			if !slices.Contains(values, v) {
				return invalidAttribute(name, "")
			}
			*field(q.settings) = v
			return nil
		},
	}
}

func fifoOnly(a attribute) attribute {
	a.fifo = true
	return a
}

func getFIFO(q *settings) string {
	if q.FIFO {
		return "true"
	}
	return ""
}

// setFIFO has nothing to set: the type is decided before attributes are.
func setFIFO(_ finder, _ queue, v string) error {
	if v != "true" {
		return invalidAttribute("FifoQueue", "")
	}
	return nil
}

func setPolicy(_ finder, q queue, v string) error {
	var object map[string]any
	if v != "" && (json.Unmarshal([]byte(v), &object) != nil || object == nil) {
		return invalidAttribute("Policy", "")
	}
	q.Policy = v
	return nil
}

// setKMSKey turns SQS-managed encryption off: a queue has one kind.
func setKMSKey(_ finder, q queue, v string) error {
	q.KmsMasterKeyID = v
	if v != "" {
		q.SqsManagedSseEnabled = false
	}
	return nil
}

// kmsReuse shows its default of 300 seconds only beside a key.
func kmsReuse() attribute {
	a := number("KmsDataKeyReusePeriodSeconds", 60, 86_400, func(q *settings) *int { return &q.KmsDataKeyReusePeriodSeconds })
	a.get = func(q *settings) string {
		switch {
		case q.KmsDataKeyReusePeriodSeconds != 0:
			return strconv.Itoa(q.KmsDataKeyReusePeriodSeconds)
		case q.KmsMasterKeyID != "":
			return "300"
		}
		return ""
	}
	return a
}
