package sns

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Limits of publishing. sns-guide:quotas
const (
	maxMessageBytes = 262_144 // body, attribute names, types and values; of a batch together
	maxSubject      = 100     // characters
	maxBatch        = 10
	maxBatchID      = 80
	maxGroupID      = 128 // of MessageGroupId and MessageDeduplicationId
)

// An entry is one message as a caller gives it.
type entry struct {
	message    string
	subject    *string
	structure  string
	attributes map[string]sns.MessageAttributeValue
	groupID    *string
	dedupID    *string
}

// compose checks an entry and makes a message of it.
func (s *Service) compose(scope sestina.Scope, t *Topic, e entry) (*message, error) {
	now := s.Clock.Now()
	m := &message{
		Type: typeNotification, TopicARN: topicARN(scope, t.Name), MessageID: sestina.DerivedUUID(s.IDs.New(now), "sns"), At: now,
		Subject: e.subject, Message: e.message, SignatureVersion: t.signatureVersion(), GroupID: value(e.groupID),
	}
	if err := checkText(e); err != nil {
		return nil, err
	}
	var err error
	if m.Attributes, err = readAttributes(e.attributes); err != nil {
		return nil, err
	}
	if e.size() > maxMessageBytes {
		return nil, invalid("Message too long")
	}
	if e.structure != "" {
		if m.ByProtocol, err = readStructure(e.structure, e.message); err != nil {
			return nil, err
		}
		m.Message = m.ByProtocol["default"]
		delete(m.ByProtocol, "default")
	}
	return m, checkFIFO(t, m, e)
}

func checkText(e entry) error {
	switch {
	case e.message == "":
		return invalid("Empty message")
	case !utf8.ValidString(e.message):
		return invalid("Message")
	case e.subject != nil && !validSubject(*e.subject):
		return invalid("Subject")
	}
	return nil
}

// validSubject wants 1 to 99 characters of one line that do not begin with
// white space.
func validSubject(s string) bool {
	if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) >= maxSubject || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	first, _ := utf8.DecodeRuneInString(s)
	return !unicode.IsSpace(first)
}

// size is what counts towards the limit.
func (e entry) size() int {
	n := len(e.message)
	for name, a := range e.attributes {
		n += len(name) + len(value(a.DataType)) + len(value(a.StringValue)) + len(a.BinaryValue)
	}
	return n
}

// checkFIFO checks group and deduplication id and completes the latter.
func checkFIFO(t *Topic, m *message, e entry) error {
	for _, p := range []struct {
		name string
		id   *string
	}{{"MessageGroupId", e.groupID}, {"MessageDeduplicationId", e.dedupID}} {
		if p.id != nil && !validGroupID(*p.id) {
			return invalid("%s Reason: The %s can only include alphanumeric and punctuation characters. 1 to %d in length", p.name, p.name, maxGroupID)
		}
	}
	if !t.FIFO {
		if e.dedupID != nil {
			return invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
		}
		return nil
	}
	m.SignatureVersion = "" // messages of FIFO topics are not signed
	if m.GroupID == "" {
		return invalid("The MessageGroupId parameter is required for FIFO topics")
	}
	switch {
	case e.dedupID != nil:
		m.DedupID = *e.dedupID
	case t.contentDedup():
		m.DedupID = dedupOf(e.message)
	default:
		return invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

func validGroupID(s string) bool {
	if s == "" || len(s) > maxGroupID {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// readStructure reads the texts of a message with the structure "json", by
// protocol. Members that are no strings are passed over.
func readStructure(structure, text string) (map[string]string, error) {
	if structure != "json" {
		return nil, invalid("MessageStructure")
	}
	const unreadable = "Message Structure - JSON message body failed to parse"
	dec := json.NewDecoder(strings.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid(unreadable)
	}
	out, seen := map[string]string{}, map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, invalid(unreadable)
		}
		var v any
		if err := dec.Decode(&v); err != nil {
			return nil, invalid(unreadable)
		}
		key, _ := name.(string)
		if seen[key] {
			return nil, invalid("Duplicated keys are not allowed.")
		}
		seen[key] = true
		if s, ok := v.(string); ok {
			out[key] = s
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, invalid(unreadable)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid(unreadable)
	}
	if _, ok := out["default"]; !ok {
		return nil, invalid("Message Structure - No default entry in JSON message body")
	}
	return out, nil
}

func badAttribute(format string, args ...any) error {
	return sestina.Errorf("ParameterValueInvalid", format, args...)
}

// readAttributes checks message attributes and returns them by name.
func readAttributes(attrs map[string]sns.MessageAttributeValue) ([]attribute, error) {
	var out []attribute
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if err := checkAttributeName(name); err != nil {
			return nil, err
		}
		a, err := readAttribute(name, attrs[name])
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	sortAttributes(out)
	return out, nil
}

func checkAttributeName(name string) error {
	switch {
	case name == "":
		return badAttribute("The message attribute name can not be empty.")
	case len(name) > 256:
		return badAttribute("Length of message attribute name must be less than 256 bytes.")
	case name[0] == '.':
		return badAttribute("Invalid message attribute name starting with character '.' was found.")
	case name[len(name)-1] == '.':
		return badAttribute("Invalid message attribute name ending with character '.' was found.")
	case strings.Contains(name, ".."):
		return badAttribute("Message attribute name can not have successive '.' character.")
	}
	for _, r := range name {
		if r != '.' && (r > '~' || !onlyNameBytes(string(r))) {
			return badAttribute("Invalid non-alphanumeric character '#x%X' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.", r)
		}
	}
	return nil
}

func readAttribute(name string, v sns.MessageAttributeValue) (attribute, error) {
	dataType := value(v.DataType)
	if v.DataType == nil {
		return attribute{}, sestina.Errorf("ValidationError", "1 validation error detected: Value null at 'messageAttributes.%s.member.dataType' failed to satisfy constraint: Member must not be null", name)
	}
	a := attribute{Name: name, Type: dataType}
	kind, _, _ := strings.Cut(dataType, ".")
	if !slices.Contains([]string{"Binary", "Number", "String"}, kind) || len(dataType) > 256 || !utf8.ValidString(dataType) || strings.ContainsFunc(dataType, isControl) {
		return a, badAttribute("The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	}
	empty := badAttribute("The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", name, dataType)
	if kind == "Binary" {
		switch {
		case v.StringValue != nil && len(v.BinaryValue) == 0:
			return a, badAttribute("The message attribute '%s' with type '%s' must use field 'Binary'.", name, dataType)
		case len(v.BinaryValue) == 0:
			return a, empty
		}
		a.Value = base64.StdEncoding.EncodeToString(v.BinaryValue)
		return a, nil
	}
	a.Value = value(v.StringValue)
	switch {
	case v.BinaryValue != nil && v.StringValue == nil:
		return a, badAttribute("The message attribute '%s' with type '%s' must use field 'String'.", name, dataType)
	case a.Value == "" || !utf8.ValidString(a.Value):
		return a, empty
	case kind == "Number" && !isNumber(a.Value):
		return a, badAttribute("Could not cast message attribute '%s' value to number.", name)
	}
	return a, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return (err == nil || errors.Is(err, strconv.ErrRange)) && !strings.ContainsAny(s, "xXpPnN_") // no hex, NaN, Inf
}

// publish publishes messages to a topic, durably before it returns. On a FIFO
// topic it replaces duplicates in ms with what was answered to the original.
func (s *Service) publish(ctx context.Context, scope sestina.Scope, t *Topic, ms []*message) error {
	if t.FIFO {
		return s.publishFIFO(ctx, scope, t, ms)
	}
	var all store.Effects
	for _, m := range ms {
		c, err := s.fanOut(ctx, scope, t, m, origin{})
		if err != nil {
			return err
		}
		all.Merge(c.effects)
	}
	if len(all.Units)+len(all.Queued) == 0 {
		return nil // nobody is subscribed
	}
	if err := s.Store.Do(ctx, &store.Write{Effects: all, Accepting: true}); err != nil {
		return fmt.Errorf("publish to topic %s of %s: %w", t.Name, scope, err)
	}
	return nil
}

// checkBatch checks what concerns the entries of a batch together.
func checkBatch(ids []string, size int) error {
	switch {
	case len(ids) == 0:
		return sestina.Errorf("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(ids) > maxBatch:
		return sestina.Errorf("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen := map[string]bool{}
	for _, id := range ids {
		switch {
		case seen[id]:
			return sestina.Errorf("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		case len(id) > maxBatchID:
			return sestina.Errorf("InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: %s", id)
		case id == "" || !onlyNameBytes(id):
			return sestina.Errorf("InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: %s", id)
		}
		seen[id] = true
	}
	if size > maxMessageBytes {
		return sestina.Errorf("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	return nil
}
