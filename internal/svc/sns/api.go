package sns

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// pageSize is the length of a page of every List operation.
const pageSize = 100

// Register registers the handlers of the SNS operations. Those for mobile push
// and text messages have none.
func (s *Service) Register(m *awswire.Mux) {
	awswire.Handle(m, sns.OpCreateTopic, s.apiCreateTopic)
	awswire.Handle(m, sns.OpDeleteTopic, s.apiDeleteTopic)
	awswire.Handle(m, sns.OpListTopics, s.apiListTopics)
	awswire.Handle(m, sns.OpGetTopicAttributes, s.apiGetTopicAttributes)
	awswire.Handle(m, sns.OpSetTopicAttributes, s.apiSetTopicAttributes)
	awswire.Handle(m, sns.OpAddPermission, s.apiAddPermission)
	awswire.Handle(m, sns.OpRemovePermission, s.apiRemovePermission)
	awswire.Handle(m, sns.OpGetDataProtectionPolicy, s.apiGetDataProtectionPolicy)
	awswire.Handle(m, sns.OpPutDataProtectionPolicy, s.apiPutDataProtectionPolicy)
	awswire.Handle(m, sns.OpTagResource, s.apiTagResource)
	awswire.Handle(m, sns.OpUntagResource, s.apiUntagResource)
	awswire.Handle(m, sns.OpListTagsForResource, s.apiListTags)

	awswire.Handle(m, sns.OpSubscribe, s.apiSubscribe)
	awswire.Handle(m, sns.OpConfirmSubscription, s.apiConfirmSubscription)
	awswire.Handle(m, sns.OpUnsubscribe, s.apiUnsubscribe)
	awswire.Handle(m, sns.OpListSubscriptions, s.apiListSubscriptions)
	awswire.Handle(m, sns.OpListSubscriptionsByTopic, s.apiListSubscriptionsByTopic)
	awswire.Handle(m, sns.OpGetSubscriptionAttributes, s.apiGetSubscriptionAttributes)
	awswire.Handle(m, sns.OpSetSubscriptionAttributes, s.apiSetSubscriptionAttributes)

	awswire.Handle(m, sns.OpPublish, s.apiPublish)
	awswire.Handle(m, sns.OpPublishBatch, s.apiPublishBatch)
}

// topicOf returns the topic that a call's ARN names, or its error.
func (s *Service) topicOf(ctx context.Context, param string, arn *string) (*awswire.Call, *Topic, error) {
	call := awswire.CallFrom(ctx)
	name, err := parseTopicARN(call.Scope, call.Operation, param, value(arn))
	if err != nil {
		return nil, nil, err
	}
	t, err := s.mustTopic(ctx, call.Scope, name)
	return call, t, err
}

// editTopic changes the topic that a call's ARN names.
func (s *Service) editTopic(ctx context.Context, param string, arn *string, missing error, fn func(scope sestina.Scope, t *Topic) error) error {
	call := awswire.CallFrom(ctx)
	name, err := parseTopicARN(call.Scope, call.Operation, param, value(arn))
	if err != nil {
		return err
	}
	return s.changeTopic(ctx, call.Scope, name, missing, func(t *Topic) error { return fn(call.Scope, t) })
}

func (s *Service) apiCreateTopic(ctx context.Context, in *sns.CreateTopicInput) (*sns.CreateTopicOutput, error) {
	arn, err := s.createTopic(ctx, awswire.CallFrom(ctx).Scope, *in.Name, in.Attributes, tagsIn(in.Tags), value(in.DataProtectionPolicy))
	if err != nil {
		return nil, err
	}
	return &sns.CreateTopicOutput{TopicArn: &arn}, nil
}

func (s *Service) apiDeleteTopic(ctx context.Context, in *sns.DeleteTopicInput) (*sns.DeleteTopicOutput, error) {
	call := awswire.CallFrom(ctx)
	name, err := parseTopicARN(call.Scope, call.Operation, "TopicArn", *in.TopicArn)
	if err != nil {
		return nil, err
	}
	return nil, s.deleteTopic(ctx, call.Scope, name)
}

func (s *Service) apiListTopics(ctx context.Context, in *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) {
	scope := awswire.CallFrom(ctx).Scope
	after, err := readPageToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	names, _ := s.topics.List(scope, after, pageSize+1)
	out := &sns.ListTopicsOutput{Topics: []sns.Topic{}}
	if len(names) > pageSize {
		names = names[:pageSize]
		out.NextToken = pageToken(names[pageSize-1])
	}
	for _, n := range names {
		out.Topics = append(out.Topics, sns.Topic{TopicArn: new(topicARN(scope, n))})
	}
	return out, nil
}

func (s *Service) apiGetTopicAttributes(ctx context.Context, in *sns.GetTopicAttributesInput) (*sns.GetTopicAttributesOutput, error) {
	call, t, err := s.topicOf(ctx, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &sns.GetTopicAttributesOutput{Attributes: s.topicAttributes(call.Scope, t)}, nil
}

func (s *Service) apiSetTopicAttributes(ctx context.Context, in *sns.SetTopicAttributesInput) (*sns.SetTopicAttributesOutput, error) {
	return nil, s.editTopic(ctx, "TopicArn", in.TopicArn, errNoTopic, func(scope sestina.Scope, t *Topic) error {
		return s.setTopicAttribute(scope, t, *in.AttributeName, value(in.AttributeValue), false)
	})
}

func (s *Service) apiAddPermission(ctx context.Context, in *sns.AddPermissionInput) (*sns.AddPermissionOutput, error) {
	return nil, s.editTopic(ctx, "TopicArn", in.TopicArn, errNoTopic, func(scope sestina.Scope, t *Topic) error {
		return t.addPermission(scope, *in.Label, in.AWSAccountId, in.ActionName)
	})
}

func (s *Service) apiRemovePermission(ctx context.Context, in *sns.RemovePermissionInput) (*sns.RemovePermissionOutput, error) {
	return nil, s.editTopic(ctx, "TopicArn", in.TopicArn, errNoTopic, func(scope sestina.Scope, t *Topic) error {
		return t.removePermission(scope, *in.Label)
	})
}

func (s *Service) apiGetDataProtectionPolicy(ctx context.Context, in *sns.GetDataProtectionPolicyInput) (*sns.GetDataProtectionPolicyOutput, error) {
	_, t, err := s.topicOf(ctx, "ResourceArn", in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &sns.GetDataProtectionPolicyOutput{DataProtectionPolicy: &t.DataProtectionPolicy}, nil
}

func (s *Service) apiPutDataProtectionPolicy(ctx context.Context, in *sns.PutDataProtectionPolicyInput) (*sns.PutDataProtectionPolicyOutput, error) {
	text := *in.DataProtectionPolicy
	if text != "" && !json.Valid([]byte(text)) {
		return nil, invalid("DataProtectionPolicy Reason: failed to parse JSON")
	}
	return nil, s.editTopic(ctx, "ResourceArn", in.ResourceArn, errNoTopic, func(_ sestina.Scope, t *Topic) error {
		t.DataProtectionPolicy = text
		return nil
	})
}

func (s *Service) apiTagResource(ctx context.Context, in *sns.TagResourceInput) (*sns.TagResourceOutput, error) {
	tags := tagsIn(in.Tags)
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	return nil, s.editTopic(ctx, "ResourceArn", in.ResourceArn, errNoResource, func(_ sestina.Scope, t *Topic) error {
		return t.addTags(tags)
	})
}

func (s *Service) apiUntagResource(ctx context.Context, in *sns.UntagResourceInput) (*sns.UntagResourceOutput, error) {
	return nil, s.editTopic(ctx, "ResourceArn", in.ResourceArn, errNoResource, func(_ sestina.Scope, t *Topic) error {
		t.removeTags(in.TagKeys)
		return nil
	})
}

func (s *Service) apiListTags(ctx context.Context, in *sns.ListTagsForResourceInput) (*sns.ListTagsForResourceOutput, error) {
	_, t, err := s.topicOf(ctx, "ResourceArn", in.ResourceArn)
	if err == errNoTopic {
		err = errNoResource
	}
	if err != nil {
		return nil, err
	}
	out := &sns.ListTagsForResourceOutput{Tags: []sns.Tag{}}
	for _, tag := range t.Tags {
		out.Tags = append(out.Tags, sns.Tag{Key: new(tag.Name), Value: new(tag.Value)})
	}
	return out, nil
}

func tagsIn(tags []sns.Tag) []sestina.Tag {
	var out []sestina.Tag
	for _, t := range tags {
		out = append(out, sestina.Tag{Name: value(t.Key), Value: value(t.Value)})
	}
	return out
}

func (s *Service) apiSubscribe(ctx context.Context, in *sns.SubscribeInput) (*sns.SubscribeOutput, error) {
	call, t, err := s.topicOf(ctx, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	sub, err := s.subscribe(ctx, subscribeRequest{
		scope: call.Scope, topic: t, protocol: *in.Protocol, endpoint: value(in.Endpoint), attrs: in.Attributes, principal: call.PrincipalARN,
	})
	if err != nil {
		return nil, err
	}
	arn := sub.ARN()
	if sub.State == pending && (in.ReturnSubscriptionArn == nil || !*in.ReturnSubscriptionArn) {
		arn = "pending confirmation"
	}
	return &sns.SubscribeOutput{SubscriptionArn: &arn}, nil
}

func (s *Service) apiConfirmSubscription(ctx context.Context, in *sns.ConfirmSubscriptionInput) (*sns.ConfirmSubscriptionOutput, error) {
	call := awswire.CallFrom(ctx)
	scope, err := topicScope(call.Scope, call.Signed, *in.TopicArn)
	if err != nil {
		return nil, err
	}
	sub, err := s.confirm(ctx, scope, *in.Token, call.Signed && value(in.AuthenticateOnUnsubscribe) == "true")
	if err != nil {
		return nil, err
	}
	return &sns.ConfirmSubscriptionOutput{SubscriptionArn: new(sub.ARN())}, nil
}

func (s *Service) apiUnsubscribe(ctx context.Context, in *sns.UnsubscribeInput) (*sns.UnsubscribeOutput, error) {
	call := awswire.CallFrom(ctx)
	scope := call.Scope
	if !call.Signed { // by a link: the ARN alone says where it belongs
		var err error
		if scope, err = topicScope(scope, false, *in.SubscriptionArn); err != nil {
			return nil, invalid("SubscriptionArn")
		}
	}
	id, err := parseSubscriptionARN(scope, call.Operation, *in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return nil, s.unsubscribe(ctx, scope, id, call.Signed)
}

// subscriptionOf returns the subscription that a call's ARN names, or its error.
func (s *Service) subscriptionOf(ctx context.Context, arn string) (*Subscription, error) {
	call := awswire.CallFrom(ctx)
	id, err := parseSubscriptionARN(call.Scope, call.Operation, arn)
	if err != nil {
		return nil, err
	}
	sub, err := s.subs.lookup(ctx, call.Scope, id)
	if err == nil && (sub == nil || sub.State == deleted || sub.ARN() != arn) {
		err = errNoSubscription
	}
	return sub, err
}

func (s *Service) apiListSubscriptions(ctx context.Context, in *sns.ListSubscriptionsInput) (*sns.ListSubscriptionsOutput, error) {
	after, err := readPageToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	from, last, err := splitPosition(after)
	if err != nil {
		return nil, err
	}
	var all []*Subscription
	for _, topic := range s.subs.topicsFrom(awswire.CallFrom(ctx).Scope, from) {
		if topic != from {
			last = sestina.ID{}
		}
		all = append(all, s.live(topic, last, pageSize+1-len(all))...)
		if len(all) > pageSize {
			break
		}
	}
	subs, next := cutPage(all)
	return &sns.ListSubscriptionsOutput{Subscriptions: subs, NextToken: next}, nil
}

func (s *Service) apiListSubscriptionsByTopic(ctx context.Context, in *sns.ListSubscriptionsByTopicInput) (*sns.ListSubscriptionsByTopicOutput, error) {
	_, t, err := s.topicOf(ctx, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	after, err := readPageToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	_, last, err := splitPosition(after)
	if err != nil {
		return nil, err
	}
	subs, next := cutPage(s.live(t.ID, last, pageSize+1))
	return &sns.ListSubscriptionsByTopicOutput{Subscriptions: subs, NextToken: next}, nil
}

// live returns up to limit subscriptions of a topic that are not deleted.
func (s *Service) live(topic, after sestina.ID, limit int) []*Subscription {
	var out []*Subscription
	for more := true; more && len(out) < limit; {
		var subs []*Subscription
		subs, more = s.subs.page(topic, after, limit)
		for _, sub := range subs {
			after = sub.ID
			if sub.State != deleted && len(out) < limit {
				out = append(out, sub)
			}
		}
	}
	return out
}

// cutPage makes a page of what may be one more than a page.
func cutPage(subs []*Subscription) (page []sns.Subscription, next *string) {
	page = []sns.Subscription{}
	if len(subs) > pageSize {
		subs = subs[:pageSize]
		last := subs[pageSize-1]
		next = pageToken(last.TopicID.String() + "/" + last.ID.String())
	}
	for _, sub := range subs {
		arn := sub.ARN()
		if sub.State == pending {
			arn = "PendingConfirmation"
		}
		page = append(page, sns.Subscription{
			SubscriptionArn: &arn, Owner: new(sub.scope.Account), Protocol: new(sub.Protocol),
			Endpoint: new(maskEndpoint(sub)), TopicArn: new(topicARN(sub.scope, sub.TopicName)),
		})
	}
	return page, next
}

func pageToken(position string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(position)))
}

func readPageToken(token *string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(value(token))
	if err != nil {
		return "", invalid("NextToken")
	}
	return string(b), nil
}

// splitPosition reads the position after which subscriptions are listed.
func splitPosition(position string) (topic, sub sestina.ID, err error) {
	if position == "" {
		return topic, sub, nil
	}
	if len(position) == 73 && position[36] == '/' {
		if topic, err = sestina.ParseID(position[:36]); err == nil {
			sub, err = sestina.ParseID(position[37:])
		}
		if err == nil {
			return topic, sub, nil
		}
	}
	return topic, sub, invalid("NextToken")
}

func (s *Service) apiGetSubscriptionAttributes(ctx context.Context, in *sns.GetSubscriptionAttributesInput) (*sns.GetSubscriptionAttributesOutput, error) {
	sub, err := s.subscriptionOf(ctx, *in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return &sns.GetSubscriptionAttributesOutput{Attributes: s.subAttributes(sub, s.topics.Get(sub.scope, sub.TopicName))}, nil
}

func (s *Service) apiSetSubscriptionAttributes(ctx context.Context, in *sns.SetSubscriptionAttributesInput) (*sns.SetSubscriptionAttributesOutput, error) {
	sub, err := s.subscriptionOf(ctx, *in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	t, err := s.mustTopic(ctx, sub.scope, sub.TopicName)
	if err != nil {
		return nil, err
	}
	err = s.changeSub(ctx, sub, func(_ store.Tx, cur *Subscription) error {
		return wordSubError("", s.setSubAttribute(cur, t, *in.AttributeName, value(in.AttributeValue)))
	})
	if err != nil {
		return nil, err
	}
	if *in.AttributeName == "DeliveryPolicy" {
		s.wake(sub.ID)
	}
	return nil, nil
}

func (s *Service) apiPublish(ctx context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
	param, arn := "TopicArn", in.TopicArn
	switch {
	case arn != nil:
	case in.TargetArn != nil:
		param, arn = "TargetArn", in.TargetArn
	case in.PhoneNumber != nil:
		return nil, invalid("PhoneNumber Reason: %s is not valid to publish to", *in.PhoneNumber)
	default:
		return nil, invalid("TopicArn or TargetArn Reason: no value for required parameter")
	}
	call, t, err := s.topicOf(ctx, param, arn)
	if err != nil {
		return nil, err
	}
	m, err := s.compose(call.Scope, t, entry{
		message: *in.Message, subject: in.Subject, structure: value(in.MessageStructure), attributes: in.MessageAttributes,
		groupID: in.MessageGroupId, dedupID: in.MessageDeduplicationId,
	})
	if err != nil {
		return nil, err
	}
	ms := []*message{m}
	if err := s.publish(ctx, call.Scope, t, ms); err != nil {
		return nil, err
	}
	return &sns.PublishOutput{MessageId: new(ms[0].MessageID), SequenceNumber: ms[0].sequenceNumber()}, nil
}

func (m *message) sequenceNumber() *string {
	if m.Sequence == "" {
		return nil
	}
	return &m.Sequence
}

func (s *Service) apiPublishBatch(ctx context.Context, in *sns.PublishBatchInput) (*sns.PublishBatchOutput, error) {
	call, t, err := s.topicOf(ctx, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	var ids []string
	var entries []entry
	size := 0
	for _, e := range in.PublishBatchRequestEntries {
		ids = append(ids, value(e.Id))
		entries = append(entries, entry{
			message: value(e.Message), subject: e.Subject, structure: value(e.MessageStructure), attributes: e.MessageAttributes,
			groupID: e.MessageGroupId, dedupID: e.MessageDeduplicationId,
		})
		size += entries[len(entries)-1].size()
	}
	if err := checkBatch(ids, size); err != nil {
		return nil, err
	}
	var ms []*message
	for _, e := range entries {
		m, err := s.compose(call.Scope, t, e)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	if err := s.publish(ctx, call.Scope, t, ms); err != nil {
		return nil, err
	}
	out := &sns.PublishBatchOutput{Failed: []sns.BatchResultErrorEntry{}}
	for i, m := range ms {
		out.Successful = append(out.Successful, sns.PublishBatchResultEntry{Id: &ids[i], MessageId: new(m.MessageID), SequenceNumber: m.sequenceNumber()})
	}
	return out, nil
}
