package sns

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A Topic is a topic as it is stored.
type Topic struct {
	Format    int `json:"v"`
	ID        sestina.ID
	Name      string
	FIFO      bool `json:",omitempty"`
	CreatedAt time.Time
	// Attributes are those that were set, with the text they were set to.
	Attributes map[string]string `json:",omitempty"`
	Tags       []sestina.Tag     `json:",omitempty"`
	// DataProtectionPolicy is kept and returned, never applied.
	DataProtectionPolicy string `json:",omitempty"`

	delivery topicPolicy // of the attribute DeliveryPolicy
}

// UnmarshalJSON also reads the delivery policy.
func (t *Topic) UnmarshalJSON(b []byte) error {
	type plain Topic
	if err := json.Unmarshal(b, (*plain)(t)); err != nil {
		return err
	}
	if text := t.Attributes["DeliveryPolicy"]; text != "" {
		// It was checked when it was set.
		t.delivery, _ = parseTopicPolicy(text)
	}
	return nil
}

// signatureVersion is "1" or "2".
func (t *Topic) signatureVersion() string {
	if t.Attributes["SignatureVersion"] == "2" {
		return "2"
	}
	return "1"
}

func (t *Topic) contentDedup() bool { return t.Attributes["ContentBasedDeduplication"] == "true" }

// maxTags is the most tags of a topic. sns-guide:quotas
const maxTags = 50

// createTopic creates a topic, or returns without error when the same topic
// exists. It returns the topic's ARN.
func (s *Service) createTopic(ctx context.Context, scope sestina.Scope, name string, attrs map[string]string, tags []sestina.Tag, dataProtection string) (string, error) {
	fifo := attrs["FifoTopic"] == "true"
	if !validTopicName(name, fifo) {
		return "", invalid("Topic Name")
	}
	now := s.Clock.Now()
	fresh := &Topic{Format: format, ID: s.IDs.New(now), Name: name, FIFO: fifo, CreatedAt: now,
		Tags: tags, DataProtectionPolicy: dataProtection}
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		if err := s.setTopicAttribute(scope, fresh, k, attrs[k], true); err != nil {
			return "", err
		}
	}
	if err := checkTags(tags); err != nil {
		return "", err
	}
	if existing := s.topics.Get(scope, name); existing != nil {
		return topicARN(scope, name), s.sameTopic(scope, existing, attrs, tags)
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		return change(tx, scope, kindTopic, name, func(cur *Topic) (*Topic, error) {
			if cur != nil {
				return cur, s.sameTopic(scope, cur, attrs, tags)
			}
			return fresh, s.checkTopicLimit(tx, scope, fifo)
		})
	})
	return topicARN(scope, name), err
}

func (s *Service) checkTopicLimit(tx store.Tx, scope sestina.Scope, fifo bool) error {
	n, err := tx.Count(scope, kindTopic)
	if err != nil {
		return err
	}
	limit := s.Limits.Topics
	if fifo {
		// FIFO topics are few: they are counted only when there are enough
		// topics of any kind.
		limit = s.Limits.FIFOTopics
		if n >= limit {
			n = 0
			_, all := s.topics.List(scope, "", 0)
			for _, t := range all {
				if t.FIFO {
					n++
				}
			}
		}
	}
	if n >= limit {
		return sestina.Errorf("TopicLimitExceeded", "Topic limit exceeded: at most %d topics of this type can exist", limit)
	}
	return nil
}

// sameTopic says whether a topic is what a second CreateTopic asks for.
// Attributes and tags count only when they are given.
func (s *Service) sameTopic(scope sestina.Scope, t *Topic, attrs map[string]string, tags []sestina.Tag) error {
	have := s.topicAttributes(scope, t)
	for k, v := range attrs {
		if h, ok := have[k]; !sameText(h, v) && (ok || v != "" && v != "false") {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	if len(tags) == 0 {
		return nil
	}
	if !maps.Equal(tagMap(tags), tagMap(t.Tags)) {
		return invalid("Tags Reason: Topic already exists with different tags")
	}
	return nil
}

// sameText compares attribute values: as text, or as JSON.
func sameText(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	ja, _ := json.Marshal(x)
	jb, _ := json.Marshal(y)
	return string(ja) == string(jb)
}

func validTopicName(name string, fifo bool) bool {
	base, isFIFO := strings.CutSuffix(name, ".fifo")
	if base == "" || len(name) > 256 || isFIFO != fifo {
		return false
	}
	return onlyNameBytes(base)
}

// onlyNameBytes reports whether s has only letters, digits, '-' and '_'.
func onlyNameBytes(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// feedbackAttributes set the logging of deliveries; they are kept and returned.
var feedbackAttributes = func() map[string]bool {
	m := map[string]bool{}
	for _, p := range []string{"HTTP", "Firehose", "Lambda", "Application", "SQS"} {
		m[p+"SuccessFeedbackRoleArn"] = true
		m[p+"SuccessFeedbackSampleRate"] = true
		m[p+"FailureFeedbackRoleArn"] = true
	}
	return m
}()

// setTopicAttribute checks an attribute and sets it on t. creating says that
// CreateTopic asks, which words errors in its own way.
func (s *Service) setTopicAttribute(scope sestina.Scope, t *Topic, name, v string, creating bool) error {
	prefix := ""
	if creating {
		prefix = "Attributes Reason: "
	}
	bad := func(reason string) error { return invalid("%s%s", prefix, reason) }
	remove := v == ""
	var err error
	switch name {
	case "FifoTopic":
		if !creating {
			return invalid("AttributeName")
		}
		if v != "true" && v != "false" {
			return bad("FifoTopic: Invalid value [" + v + "]. Must be true or false.")
		}
		return nil // kept in Topic.FIFO
	case "ContentBasedDeduplication", "FifoThroughputScope":
		if !t.FIFO && creating {
			return bad("Unknown attribute " + name)
		}
		if !t.FIFO {
			return invalid("AttributeName")
		}
		allowed := []string{"true", "false"}
		if name == "FifoThroughputScope" {
			allowed = []string{"Topic", "MessageGroup"}
		}
		err = oneOf(name, v, allowed...)
	case "DisplayName":
		if len([]rune(v)) > 100 || strings.ContainsFunc(v, isControl) {
			err = errors.New("DisplayName")
		}
	case "SignatureVersion":
		err = oneOf(name, v, "1", "2")
	case "TracingConfig":
		err = oneOf(name, v, "PassThrough", "Active")
	case "Policy":
		if !remove {
			err = checkPolicy(v)
		}
	case "DeliveryPolicy":
		if !remove {
			_, err = parseTopicPolicy(v)
		}
	case "KmsMasterKeyId":
	case "ArchivePolicy":
		if !remove && !sameText(v, "{}") {
			err = errors.New("ArchivePolicy: Message archiving is not supported")
		}
		remove = true
	default:
		switch {
		case feedbackAttributes[name]:
			err = checkFeedback(name, v)
		case creating:
			err = errors.New("Unknown attribute " + name)
		default:
			err = errors.New("AttributeName")
		}
	}
	if err != nil {
		return bad(err.Error())
	}
	t.Attributes = maps.Clone(t.Attributes)
	if t.Attributes == nil {
		t.Attributes = map[string]string{}
	}
	t.Attributes[name] = v
	if remove {
		delete(t.Attributes, name)
	}
	return nil
}

func oneOf(name, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return errors.New(name + ": Invalid value [" + v + "]. Must be " + strings.Join(allowed, " or ") + ".")
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func checkFeedback(name, v string) error {
	if !strings.HasSuffix(name, "SampleRate") || v == "" {
		return nil
	}
	if n, err := strconv.Atoi(v); err != nil || n < 0 || n > 100 {
		return errors.New(name + ": Invalid value [" + v + "]. Must be a number from 0 to 100.")
	}
	return nil
}

// topicAttributes returns what GetTopicAttributes answers.
func (s *Service) topicAttributes(scope sestina.Scope, t *Topic) map[string]string {
	arn := topicARN(scope, t.Name)
	n := s.subs.counts(t.ID)
	out := map[string]string{
		"TopicArn":                arn,
		"Owner":                   scope.Account,
		"DisplayName":             "",
		"Policy":                  defaultPolicy(scope, arn),
		"EffectiveDeliveryPolicy": t.delivery.effective(),
		"SubscriptionsConfirmed":  strconv.Itoa(n[confirmed]),
		"SubscriptionsPending":    strconv.Itoa(n[pending]),
		"SubscriptionsDeleted":    strconv.Itoa(n[deleted]),
	}
	if t.FIFO {
		out["FifoTopic"], out["ContentBasedDeduplication"] = "true", "false"
	}
	maps.Copy(out, t.Attributes)
	return out
}

// changeTopic changes an existing topic with fn, durably.
func (s *Service) changeTopic(ctx context.Context, scope sestina.Scope, name string, missing error, fn func(t *Topic) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		return change(tx, scope, kindTopic, name, func(t *Topic) (*Topic, error) {
			if t == nil {
				return nil, missing
			}
			return t, fn(t)
		})
	})
}

// deleteTopic deletes a topic, its subscriptions and its memory of published
// deduplication ids in one transaction. A missing topic is no fault.
func (s *Service) deleteTopic(ctx context.Context, scope sestina.Scope, name string) error {
	var id sestina.ID
	var backlogs []sestina.ID // of subscriptions that may have one
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		id, backlogs = sestina.ID{}, nil
		err := change(tx, scope, kindTopic, name, func(t *Topic) (*Topic, error) {
			if t != nil {
				id = t.ID
			}
			return nil, nil
		})
		if err != nil || id.IsZero() {
			return err
		}
		backlogs = s.subs.backlogs(id)
		if err := deletePrefix(tx, scope, kindSubscription, id.String()+"/"); err != nil {
			return err
		}
		return deletePrefix(tx, scope, kindDedup, id.String()+"/")
	})
	if err != nil {
		return err
	}
	// What waits becomes dead letters now, not when a failing endpoint would have
	// been probed next.
	for _, sub := range backlogs {
		s.wake(sub)
	}
	return nil
}

// deletePrefix deletes all documents of a kind whose names begin with prefix.
func deletePrefix(tx store.Tx, scope sestina.Scope, kind, prefix string) error {
	for {
		docs, err := tx.List(scope, kind, prefix, 500)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if !strings.HasPrefix(d.Name, prefix) {
				return nil
			}
			if err := tx.Delete(scope, kind, d.Name, d.Version); err != nil {
				return err
			}
		}
		if len(docs) == 0 {
			return nil
		}
	}
}

// checkTags checks resource tags as CreateTopic and TagResource do.
func checkTags(tags []sestina.Tag) error {
	if len(tags) > maxTags {
		return errTooManyTags
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		switch {
		case seen[t.Name]:
			return invalid("Duplicated keys are not allowed.")
		case t.Name == "" || len([]rune(t.Name)) > 128:
			return invalid("Tags Reason: tag keys have 1 to 128 characters")
		case strings.HasPrefix(strings.ToLower(t.Name), "aws:"):
			return invalid("Tags Reason: tag keys cannot begin with aws:")
		case len([]rune(t.Value)) > 256:
			return invalid("Tags Reason: tag values have at most 256 characters")
		}
		seen[t.Name] = true
	}
	return nil
}

var errTooManyTags = sestina.Errorf("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")

func tagMap(tags []sestina.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Name] = t.Value
	}
	return m
}

// addTags sets tags on the topic, replacing those of the same key.
func (t *Topic) addTags(tags []sestina.Tag) error {
	next := slices.Clone(t.Tags)
	for _, tag := range tags {
		if i := slices.IndexFunc(next, func(o sestina.Tag) bool { return o.Name == tag.Name }); i >= 0 {
			next[i] = tag
		} else {
			next = append(next, tag)
		}
	}
	if len(next) > maxTags {
		return errTooManyTags
	}
	t.Tags = next
	return nil
}

func (t *Topic) removeTags(keys []string) {
	t.Tags = slices.DeleteFunc(slices.Clone(t.Tags), func(tag sestina.Tag) bool { return slices.Contains(keys, tag.Name) })
}
