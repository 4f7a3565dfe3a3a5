package sns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Protocols of subscriptions.
const (
	protocolHTTP      = "http"
	protocolHTTPS     = "https"
	protocolSQS       = "sqs"
	protocolEmail     = "email"
	protocolEmailJSON = "email-json"
	protocolFirehose  = "firehose"
)

// A subState is where a subscription is in its life.
type subState uint8

const (
	pending   subState = 0 // waits for its confirmation
	confirmed subState = 1
	deleted   subState = 2 // unsubscribed; it can be restored for a while
)

// A Subscription is a subscription as it is stored.
type Subscription struct {
	Format    int `json:"v"`
	ID        sestina.ID
	TopicID   sestina.ID
	TopicName string
	Protocol  string
	Endpoint  string
	State     subState
	CreatedAt time.Time
	// Until is when a pending or deleted subscription is forgotten.
	Until time.Time
	// Authenticated says that the confirmation was signed, or was not needed.
	Authenticated bool `json:",omitempty"`
	// SignedUnsubscribe says that only a signed call may unsubscribe.
	SignedUnsubscribe bool              `json:",omitempty"`
	Principal         string            // ARN of who subscribed
	Attributes        map[string]string `json:",omitempty"` // those that were set

	scope    sestina.Scope
	filter   *filterPolicy
	delivery subPolicy
	redrive  string // ARN of the dead-letter queue, or ""
}

// UnmarshalJSON also reads the policies, which were checked when they were set.
func (s *Subscription) UnmarshalJSON(b []byte) error {
	type plain Subscription
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	var err error
	if s.filter, err = parseFilter(s.Attributes["FilterPolicy"], s.filterScope()); err != nil {
		return fmt.Errorf("filter policy of subscription %s: %w", s.ID, err)
	}
	if text := s.Attributes["DeliveryPolicy"]; text != "" {
		s.delivery, _ = parseSubPolicy(text)
	}
	s.redrive, _ = parseRedrive(s.Attributes["RedrivePolicy"])
	return nil
}

// placed tells the subscription where its document was.
func (s *Subscription) placed(d store.Document) { s.scope = d.Scope }

// ARN is the subscription's ARN.
func (s *Subscription) ARN() string { return topicARN(s.scope, s.TopicName) + ":" + s.ID.String() }

func (s *Subscription) filterScope() string {
	if s.Attributes["FilterPolicyScope"] == scopeBody {
		return scopeBody
	}
	return scopeAttributes
}

func (s *Subscription) raw() bool { return s.Attributes["RawMessageDelivery"] == "true" }

func (s *Subscription) isHTTP() bool {
	return s.Protocol == protocolHTTP || s.Protocol == protocolHTTPS
}

func (s *Subscription) isEmail() bool {
	return s.Protocol == protocolEmail || s.Protocol == protocolEmailJSON
}

// endpointHash is the length of the hash of protocol and endpoint, in bytes.
const endpointHash = 16

func hashEndpoint(protocol, endpoint string) (h [endpointHash]byte) {
	sum := sha256.Sum256([]byte(protocol + "\n" + endpoint))
	copy(h[:], sum[:])
	return h
}

// subscriptionName is the name of a subscription's document.
func subscriptionName(topic sestina.ID, endpoint [endpointHash]byte) string {
	return topic.String() + "/" + hex.EncodeToString(endpoint[:])
}

func (s *Subscription) documentName() string {
	return subscriptionName(s.TopicID, hashEndpoint(s.Protocol, s.Endpoint))
}

// A subscribeRequest is what Subscribe asks for.
type subscribeRequest struct {
	scope     sestina.Scope
	topic     *Topic
	protocol  string
	endpoint  string
	attrs     map[string]string
	principal string
}

// subscribe creates a subscription, or finds the one that the endpoint has
// already. A pending one gets a confirmation message, each time.
func (s *Service) subscribe(ctx context.Context, r subscribeRequest) (*Subscription, error) {
	automatic, err := s.checkEndpoint(r)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	fresh := &Subscription{
		Format: format, ID: s.IDs.New(now), TopicID: r.topic.ID, TopicName: r.topic.Name, Protocol: r.protocol, Endpoint: r.endpoint,
		CreatedAt: now, Until: now.Add(s.TokenLifetime), Principal: r.principal, scope: r.scope,
	}
	if automatic {
		fresh.State, fresh.Authenticated, fresh.Until = confirmed, true, time.Time{}
	}
	if err := s.setSubAttributes(fresh, r.topic, r.attrs); err != nil {
		return nil, err
	}
	var confirmation store.Effects
	if !automatic {
		if confirmation, err = s.confirmation(ctx, r.topic, fresh, typeConfirmation); err != nil {
			return nil, err
		}
	}
	var sub *Subscription
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		// A topic that is deleted at the same time must not keep a subscription.
		if err := sameTopicStill(tx, r.scope, r.topic); err != nil {
			return err
		}
		return change(tx, r.scope, kindSubscription, fresh.documentName(), func(cur *Subscription) (*Subscription, error) {
			if sub = cur; cur == nil || cur.State == deleted || cur.State == pending && !now.Before(cur.Until) {
				sub = fresh
				if err := s.checkSubLimit(r.topic); err != nil {
					return nil, err
				}
			} else if !sameSubscription(cur, r.attrs) {
				return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
			}
			if sub.State == confirmed {
				return sub, nil
			}
			sub.Until = fresh.Until
			return sub, tx.Apply(s.addressed(confirmation, sub))
		})
	})
	if err != nil {
		return nil, err
	}
	if sub.State == pending { // who asks again expects the endpoint to be well now
		s.wake(sub.ID)
	}
	return sub, nil
}

// sameTopicStill checks inside a transaction that a topic exists, and is the
// one that was meant.
func sameTopicStill(tx store.Tx, scope sestina.Scope, t *Topic) error {
	doc, err := tx.Get(scope, kindTopic, t.Name)
	if isNotFound(err) {
		return errNoTopic
	}
	if err != nil {
		return err
	}
	cur, err := decode[Topic](doc)
	if err == nil && cur.ID != t.ID {
		err = errNoTopic
	}
	return err
}

func (s *Service) checkSubLimit(t *Topic) error {
	limit := s.Limits.Subscriptions
	if t.FIFO {
		limit = s.Limits.FIFOSubscriptions
	}
	if n := s.subs.counts(t.ID); n[confirmed]+n[pending] >= limit {
		return sestina.Errorf("SubscriptionLimitExceeded", "Subscription limit exceeded: a topic of this type can have at most %d subscriptions", limit)
	}
	return nil
}

// sameSubscription reports whether a subscription has the attributes that a
// second Subscribe gives. Those that are not given do not count.
func sameSubscription(sub *Subscription, attrs map[string]string) bool {
	for name, v := range attrs {
		have := sub.Attributes[name]
		switch {
		case name == "RawMessageDelivery" && have == "":
			have = "false"
		case name == "FilterPolicyScope" && have == "":
			have = scopeAttributes
		case sameText(v, "{}"):
			v = ""
		}
		if !sameText(have, v) {
			return false
		}
	}
	return true
}

// checkEndpoint checks that the protocol can deliver to the endpoint. It
// reports whether the subscription needs no confirmation.
func (s *Service) checkEndpoint(r subscribeRequest) (automatic bool, err error) {
	switch r.protocol {
	case protocolHTTP, protocolHTTPS, protocolEmail, protocolEmailJSON, protocolSQS, protocolFirehose:
	default:
		return false, invalid("Amazon SNS does not support this protocol string: %s", r.protocol)
	}
	if r.endpoint == "" {
		return false, invalid("Endpoint Reason: no value for required parameter")
	}
	if r.topic.FIFO && r.protocol != protocolSQS {
		return false, invalid("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")
	}
	switch r.protocol {
	case protocolHTTP, protocolHTTPS:
		return false, s.checkURL(r.protocol, r.endpoint)
	case protocolEmail, protocolEmailJSON:
		if a, err := mail.ParseAddress(r.endpoint); err != nil || a.Address != r.endpoint || a.Name != "" {
			return false, invalid("Email address")
		}
		return false, nil
	case protocolFirehose:
		return true, s.checkStream(r)
	}
	arn, err := sestina.ParseARN(r.endpoint)
	if err != nil || arn.Service != "sqs" || arn.Region == "" || arn.Account == "" || arn.Resource == "" {
		return false, invalid("SQS endpoint ARN")
	}
	if !r.topic.FIFO && strings.HasSuffix(arn.Resource, ".fifo") {
		return false, invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	return arn.Account == r.scope.Account, nil
}

func (s *Service) checkURL(protocol, endpoint string) error {
	scheme, _, ok := strings.Cut(endpoint, "://")
	if !ok || scheme != protocol && !s.plainLoopback(protocol, endpoint) {
		return invalid("Endpoint must match the specified protocol")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || strings.ContainsFunc(endpoint, isControl) || strings.ContainsAny(endpoint, " ") {
		return invalid("Endpoint")
	}
	return nil
}

// plainLoopback reports whether an http endpoint may be subscribed as https: on
// the loopback interface, when the options allow it.
func (s *Service) plainLoopback(protocol, endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || !s.LoopbackHTTP || protocol != protocolHTTPS || u.Scheme != "http" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}

func (s *Service) checkStream(r subscribeRequest) error {
	arn, err := sestina.ParseARN(r.endpoint)
	if err != nil || arn.Service != "firehose" || !strings.HasPrefix(arn.Resource, "deliverystream/") {
		return invalid("Firehose endpoint ARN")
	}
	if s.Streams == nil || !s.Streams.Exists(r.endpoint) {
		return invalid("Endpoint Reason: the delivery stream %s does not exist", r.endpoint)
	}
	if r.attrs["SubscriptionRoleArn"] == "" {
		return invalid("Attributes Reason: SubscriptionRoleArn is required for the firehose protocol")
	}
	return nil
}

// setSubAttributes sets the attributes that Subscribe was given.
func (s *Service) setSubAttributes(sub *Subscription, t *Topic, attrs map[string]string) error {
	// A filter policy is read in its scope, so the scope comes first.
	names := slices.Sorted(maps.Keys(attrs))
	if i := slices.Index(names, "FilterPolicyScope"); i > 0 {
		names[0], names[i] = names[i], names[0]
	}
	for _, name := range names {
		if err := wordSubError("Attributes Reason: ", s.setSubAttribute(sub, t, name, attrs[name])); err != nil {
			return err
		}
	}
	return nil
}

// wordSubError makes the InvalidParameter error of an attribute.
func wordSubError(prefix string, err error) error {
	var e *sestina.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return invalid("%s%s", prefix, err)
}

// setSubAttribute checks an attribute and sets it on sub, which is not shared.
// Its errors are the reason alone, or *sestina.Error.
func (s *Service) setSubAttribute(sub *Subscription, t *Topic, name, v string) error {
	var err error
	remove := v == ""
	switch name {
	case "RawMessageDelivery":
		switch {
		case v != "true" && v != "false":
			err = fmt.Errorf("RawMessageDelivery: Invalid value [%s]. Must be true or false.", v)
		case v == "true" && sub.isEmail():
			err = fmt.Errorf("RawMessageDelivery: Invalid value [true]. Raw message delivery is not supported for the protocol %s.", sub.Protocol)
		}
	case "FilterPolicyScope":
		if v != scopeAttributes && v != scopeBody {
			return fmt.Errorf("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", v)
		}
		if f, err := parseFilter(sub.Attributes["FilterPolicy"], v); err != nil {
			return fmt.Errorf("FilterPolicy: %w", err)
		} else if sub.filter = f; f == nil && v == scopeAttributes {
			remove = true
		}
	case "FilterPolicy":
		var f *filterPolicy
		if f, err = parseFilter(v, sub.filterScope()); err != nil {
			return fmt.Errorf("FilterPolicy: %w", err)
		}
		if remove = f == nil; !remove {
			err = s.checkFilterLimit(sub)
		}
		sub.filter = f
	case "DeliveryPolicy":
		if remove = remove || sameText(v, "{}"); !remove {
			_, err = parseSubPolicy(v)
		}
	case "RedrivePolicy":
		if remove = remove || sameText(v, "{}"); !remove {
			err = checkRedrive(sub, t, v)
		}
	case "SubscriptionRoleArn":
		if a, perr := sestina.ParseARN(v); perr != nil || a.Service != "iam" {
			err = errors.New("SubscriptionRoleArn: Invalid value [" + v + "]. Must be the ARN of a role.")
		}
	case "ReplayPolicy":
		if remove = remove || sameText(v, "{}"); !remove {
			err = errors.New("ReplayPolicy: Message archiving is not supported")
		}
	default:
		err = errors.New("AttributeName")
	}
	if err != nil {
		return err
	}
	sub.Attributes = maps.Clone(sub.Attributes)
	if sub.Attributes == nil {
		sub.Attributes = map[string]string{}
	}
	sub.Attributes[name] = v
	if remove {
		delete(sub.Attributes, name)
	}
	return nil
}

func (s *Service) checkFilterLimit(sub *Subscription) error {
	if sub.Attributes["FilterPolicy"] != "" {
		return nil
	}
	ofTopic, ofScope := s.subs.filters(sub.scope, sub.TopicID)
	if ofTopic >= s.Limits.FilterPoliciesOfTopic || ofScope >= s.Limits.FilterPolicies {
		return sestina.Errorf("FilterPolicyLimitExceeded", "Filter policy limit exceeded: at most %d per topic and %d per account and region",
			s.Limits.FilterPoliciesOfTopic, s.Limits.FilterPolicies)
	}
	return nil
}

// parseRedrive returns the queue that a redrive policy names, or "" for none.
func parseRedrive(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var p struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return "", errors.New("RedrivePolicy: failed to parse JSON")
	}
	return p.Target, nil
}

func checkRedrive(sub *Subscription, t *Topic, text string) error {
	target, err := parseRedrive(text)
	if err != nil {
		return err
	}
	arn, err := sestina.ParseARN(target)
	if err != nil || arn.Service != "sqs" || arn.Resource == "" || arn.Scope() != sub.scope {
		return errors.New("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	}
	fifoQueue := strings.HasSuffix(arn.Resource, ".fifo")
	if t.FIFO && strings.HasSuffix(sub.Endpoint, ".fifo") && !fifoQueue {
		return errors.New("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
	}
	if !t.FIFO && fifoQueue {
		return errors.New("RedrivePolicy: must use a standard queue as DLQ for a subscription to a standard topic")
	}
	return nil
}

// changeSub changes a subscription that is not deleted with fn, durably.
func (s *Service) changeSub(ctx context.Context, sub *Subscription, fn func(tx store.Tx, sub *Subscription) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		return change(tx, sub.scope, kindSubscription, sub.documentName(), func(cur *Subscription) (*Subscription, error) {
			if cur == nil || cur.ID != sub.ID || cur.State == deleted {
				return nil, errNoSubscription
			}
			return cur, fn(tx, cur)
		})
	})
}

// subAttributes returns what GetSubscriptionAttributes answers.
func (s *Service) subAttributes(sub *Subscription, t *Topic) map[string]string {
	out := map[string]string{
		"SubscriptionArn":              sub.ARN(),
		"TopicArn":                     topicARN(sub.scope, sub.TopicName),
		"Owner":                        sub.scope.Account,
		"Protocol":                     sub.Protocol,
		"Endpoint":                     maskEndpoint(sub),
		"PendingConfirmation":          fmt.Sprint(sub.State == pending),
		"ConfirmationWasAuthenticated": fmt.Sprint(sub.Authenticated),
		"RawMessageDelivery":           "false",
		"SubscriptionPrincipal":        sub.Principal,
	}
	maps.Copy(out, sub.Attributes)
	if sub.isHTTP() || sub.Attributes["DeliveryPolicy"] != "" {
		var topic topicPolicy
		if t != nil {
			topic = t.delivery
		}
		out["EffectiveDeliveryPolicy"] = sub.delivery.under(topic).effective()
	}
	delete(out, "FilterPolicyScope")
	if sub.filter != nil {
		out["FilterPolicyScope"] = sub.filterScope()
	}
	return out
}

// maskEndpoint is the endpoint without the password that it may hold.
func maskEndpoint(sub *Subscription) string {
	if !sub.isHTTP() {
		return sub.Endpoint
	}
	u, err := url.Parse(sub.Endpoint)
	if err != nil || u.User == nil {
		return sub.Endpoint
	}
	_, at, _ := strings.Cut(sub.Endpoint, "@")
	return u.Scheme + "://" + u.User.Username() + ":****@" + at
}
