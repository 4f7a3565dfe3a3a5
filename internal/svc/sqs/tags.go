package sqs

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
)

// TagQueue implements sqs-model:TagQueue.
func (s *Service) TagQueue(ctx context.Context, in *sqs.TagQueueInput) (*sqs.TagQueueOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, missing("Tags")
	}
	return nil, s.change(ctx, q, func(_ finder, cur *settings) error {
		if err := checkTags(q.name, cur.Tags, in.Tags); err != nil {
			return err
		}
		if cur.Tags == nil {
			cur.Tags = map[string]string{}
		}
		maps.Copy(cur.Tags, in.Tags)
		return nil
	})
}

// UntagQueue implements sqs-model:UntagQueue. Keys that the queue does not have
// are no fault.
func (s *Service) UntagQueue(ctx context.Context, in *sqs.UntagQueueInput) (*sqs.UntagQueueOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.TagKeys) == 0 {
		return nil, missing("TagKeys")
	}
	return nil, s.change(ctx, q, func(_ finder, cur *settings) error {
		for _, key := range in.TagKeys {
			delete(cur.Tags, key)
		}
		return nil
	})
}

// ListQueueTags implements sqs-model:ListQueueTags.
func (s *Service) ListQueueTags(ctx context.Context, in *sqs.ListQueueTagsInput) (*sqs.ListQueueTagsOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := &sqs.ListQueueTagsOutput{Tags: map[string]string{}}
	maps.Copy(out.Tags, q.Tags)
	return out, nil
}

// checkTags checks tags to be added to those a queue has: keys of 1 to 128
// characters that do not begin with aws:, values of up to 256, 50 in all.
// sqs-guide:sqs-queue-tags
func checkTags(name string, have, add map[string]string) error {
	total := len(have)
	for key, v := range add {
		if _, ok := have[key]; !ok {
			total++
		}
		switch n := utf8.RuneCountInString(key); {
		case n < 1 || n > 128:
			return invalidParameter("Tag keys must be between 1 and 128 characters in length.")
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return invalidParameter("Tag keys cannot start with the reserved prefix 'aws:'.")
		case utf8.RuneCountInString(v) > 256:
			return invalidParameter("Tag values must be between 0 and 256 characters in length.")
		}
	}
	if total > maxTags {
		return invalidParameter("Too many tags added for queue %s.", name)
	}
	return nil
}
