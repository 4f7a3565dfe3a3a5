package sestina_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
)

func TestValidateMessageTags(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for _, c := range []struct{ name, tag, value, want string }{
		{"Plain", "campaign", "spring-1_A", ""},
		{"DotAndAtInValue", "campaign", "a.b@c", ""},
		{"FeedbackA", "ses:feedback-id-a", "x", ""},
		{"FeedbackB", "ses:feedback-id-b", "x", ""},
		{"OtherSESName", "ses:source-ip", "x", "Invalid tag name <ses:source-ip>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
		{"DotInName", "a.b", "x", "Invalid tag name <a.b>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
		{"NameBeforeValue", "a b", "c d", "Invalid tag name <a b>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
		{"SpaceInValue", "a", "c d", "Invalid tag value <c d>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."},
		{"NonASCIIValue", "a", "é", "Invalid tag value <é>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."},
		{"EmptyName", "", "x", "The tag name must be specified."},
		{"EmptyValue", "a", "", "The tag value must be specified."},
		{"LongName", long, "x", "Tag name cannot exceed 255 characters."},
		{"LongValue", "a", long, "Tag value cannot exceed 255 characters."},
		{"LongestName", long[:255], long[:255], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := sestina.ValidateMessageTags([]sestina.Tag{{Name: "ok", Value: "ok"}, {Name: c.tag, Value: c.value}})
			got := ""
			if err != nil {
				e := err.(*sestina.Error)
				got = e.Message
				if e.Code != "InvalidParameterValue" || e.REST != "BadRequestException" {
					t.Errorf("codes %s, %s", e.Code, e.REST)
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestValidateMessageTagsCount(t *testing.T) {
	t.Parallel()
	var tags []sestina.Tag
	for i := range 50 {
		tags = append(tags, sestina.Tag{Name: fmt.Sprint("n", i), Value: "v"})
	}
	if err := sestina.ValidateMessageTags(tags); err != nil {
		t.Errorf("50 tags: %v", err)
	}
	if err := sestina.ValidateMessageTags(append(tags, sestina.Tag{Name: "a", Value: "b"})); err == nil {
		t.Error("51 tags are accepted")
	}
}

func TestGroupTags(t *testing.T) {
	t.Parallel()
	got := sestina.GroupTags([]sestina.Tag{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "b", Value: "3"}})
	want := []sestina.TagValues{{Name: "b", Values: []string{"1", "3"}}, {Name: "a", Values: []string{"2"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := sestina.GroupTags(nil); got != nil {
		t.Errorf("no tags: %v", got)
	}
}
