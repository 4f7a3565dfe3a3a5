package message

import (
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// maxTagHeader bounds the X-SES-MESSAGE-TAGS value that is read: 50 tags of the
// longest name and value, with separators.
const maxTagHeader = sestina.MaxMessageTags * (2*sestina.MaxMessageTagLength + 4)

// ParseTags reads an X-SES-MESSAGE-TAGS value, "name1=value1, name2=value2",
// and validates the tags. An empty value has no tags.
func ParseTags(header string) ([]sestina.Tag, error) {
	if len(header) > maxTagHeader {
		return nil, refuse("Message tags are longer than %d characters.", maxTagHeader)
	}
	var tags []sestina.Tag
	for part := range strings.SplitSeq(header, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		tags = append(tags, sestina.Tag{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	if err := sestina.ValidateMessageTags(tags); err != nil {
		return nil, err
	}
	return tags, nil
}

// ParseListManagement reads an X-SES-LIST-MANAGEMENT-OPTIONS value,
// "LISTNAME; topic=TOPICNAME" with an optional topic. The form
// "contactListName=L;topicName=T", which some libraries write, is understood
// too.
func ParseListManagement(header string) (list, topic string, err error) {
	for i, part := range strings.Split(header, ";") {
		part = strings.TrimSpace(part)
		key, value, found := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case !found && i == 0:
			list = part
		case found && key == "contactlistname" && list == "":
			list = value
		case found && (key == "topic" || key == "topicname") && topic == "":
			if value == "" {
				return "", "", refuse("TopicName can't be blank.")
			}
			topic = value
		case part != "":
			return "", "", refuse("Invalid list management options <%s>.", cleanName(header))
		}
	}
	if list == "" {
		return "", "", refuse("ContactListName can't be blank.")
	}
	return list, topic, nil
}

// ParseReturnPath reads a Return-Path value. "<>" and "" are the zero Address:
// SES has its own null sender for bounces and takes none from clients.
func ParseReturnPath(header string) (Address, error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "<>" {
		return Address{}, nil
	}
	return ParseAddress(header)
}
