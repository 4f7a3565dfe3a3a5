package sestina

import "strings"

// A Tag is a name and a value: a message tag or a resource tag.
type Tag struct {
	Name  string
	Value string
}

// Limits of message tags. ses-guide:event-publishing-send-email
const (
	MaxMessageTags      = 50  // per message
	MaxMessageTagLength = 255 // of a name or a value, in characters
)

// The two tags with a colon that a sender may set; their values lead the
// Feedback-ID header. ses-guide:feedback-id
const (
	TagFeedbackIDA = "ses:feedback-id-a"
	TagFeedbackIDB = "ses:feedback-id-b"
)

// ValidateMessageTags checks the tags a sender gave, from the API or from
// X-SES-MESSAGE-TAGS, in order, each name before its value. It accepts what SES
// was seen to accept, which is a little more than its guide says: '.' and '@'
// in values. The error is an *Error with the text SES uses.
func ValidateMessageTags(tags []Tag) error {
	if len(tags) > MaxMessageTags {
		return tagErrorf("Tag count exceeds %d.", MaxMessageTags)
	}
	for _, t := range tags {
		if err := validateTagName(t.Name); err != nil {
			return err
		}
		if err := validateTagValue(t.Value); err != nil {
			return err
		}
	}
	return nil
}

func validateTagName(name string) error {
	switch {
	case name == "":
		return tagErrorf("The tag name must be specified.")
	case len(name) > MaxMessageTagLength:
		return tagErrorf("Tag name cannot exceed %d characters.", MaxMessageTagLength)
	case name == TagFeedbackIDA || name == TagFeedbackIDB:
		return nil
	case !consistsOf(name, "_-"):
		return tagErrorf("Invalid tag name <%s>: only alphanumeric ASCII characters, '_',  '-' are allowed.", name)
	}
	return nil
}

func validateTagValue(value string) error {
	switch {
	case value == "":
		return tagErrorf("The tag value must be specified.")
	case len(value) > MaxMessageTagLength:
		return tagErrorf("Tag value cannot exceed %d characters.", MaxMessageTagLength)
	case !consistsOf(value, "_-.@"):
		return tagErrorf("Invalid tag value <%s>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed.", value)
	}
	return nil
}

func tagErrorf(format string, args ...any) *Error {
	return SESErrorf("InvalidParameterValue", "BadRequestException", format, args...)
}

// consistsOf reports whether s has only ASCII letters, digits and the bytes of more.
func consistsOf(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

// TagValues are all values given for one tag name.
type TagValues struct {
	Name   string
	Values []string
}

// GroupTags joins the values of tags with the same name, both in the order
// given, as the tags object of an event record wants them.
func GroupTags(tags []Tag) []TagValues {
	var out []TagValues
	at := make(map[string]int, len(tags))
	for _, t := range tags {
		i, ok := at[t.Name]
		if !ok {
			i = len(out)
			at[t.Name] = i
			out = append(out, TagValues{Name: t.Name})
		}
		out[i].Values = append(out[i].Values, t.Value)
	}
	return out
}
