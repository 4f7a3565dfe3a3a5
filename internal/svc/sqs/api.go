package sqs

import (
	"context"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Register makes m answer all operations of SQS with s.
func Register(m *awswire.Mux, s *Service) {
	awswire.Handle(m, sqs.OpAddPermission, s.AddPermission)
	awswire.Handle(m, sqs.OpCancelMessageMoveTask, s.CancelMessageMoveTask)
	awswire.Handle(m, sqs.OpChangeMessageVisibility, s.ChangeMessageVisibility)
	awswire.Handle(m, sqs.OpChangeMessageVisibilityBatch, s.ChangeMessageVisibilityBatch)
	awswire.Handle(m, sqs.OpCreateQueue, s.CreateQueue)
	awswire.Handle(m, sqs.OpDeleteMessage, s.DeleteMessage)
	awswire.Handle(m, sqs.OpDeleteMessageBatch, s.DeleteMessageBatch)
	awswire.Handle(m, sqs.OpDeleteQueue, s.DeleteQueue)
	awswire.Handle(m, sqs.OpGetQueueAttributes, s.GetQueueAttributes)
	awswire.Handle(m, sqs.OpGetQueueUrl, s.GetQueueUrl)
	awswire.Handle(m, sqs.OpListDeadLetterSourceQueues, s.ListDeadLetterSourceQueues)
	awswire.Handle(m, sqs.OpListMessageMoveTasks, s.ListMessageMoveTasks)
	awswire.Handle(m, sqs.OpListQueueTags, s.ListQueueTags)
	awswire.Handle(m, sqs.OpListQueues, s.ListQueues)
	awswire.Handle(m, sqs.OpPurgeQueue, s.PurgeQueue)
	awswire.Handle(m, sqs.OpReceiveMessage, s.ReceiveMessage)
	awswire.Handle(m, sqs.OpRemovePermission, s.RemovePermission)
	awswire.Handle(m, sqs.OpSendMessage, s.SendMessage)
	awswire.Handle(m, sqs.OpSendMessageBatch, s.SendMessageBatch)
	awswire.Handle(m, sqs.OpSetQueueAttributes, s.SetQueueAttributes)
	awswire.Handle(m, sqs.OpStartMessageMoveTask, s.StartMessageMoveTask)
	awswire.Handle(m, sqs.OpTagQueue, s.TagQueue)
	awswire.Handle(m, sqs.OpUntagQueue, s.UntagQueue)
}

// ---- queues -----------------------------------------------------------------

// CreateQueue implements sqs-model:CreateQueue.
func (s *Service) CreateQueue(ctx context.Context, in *sqs.CreateQueueInput) (*sqs.CreateQueueOutput, error) {
	call := awswire.CallFrom(ctx)
	if err := s.create(ctx, call.Scope, value(in.QueueName), in.Attributes, in.Tags); err != nil {
		return nil, err
	}
	return &sqs.CreateQueueOutput{QueueUrl: new(queueURL(call, *in.QueueName))}, nil
}

// GetQueueUrl implements sqs-model:GetQueueUrl.
func (s *Service) GetQueueUrl(ctx context.Context, in *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
	call := awswire.CallFrom(ctx)
	name := value(in.QueueName)
	if name == "" {
		return nil, checkQueueName(name, false)
	}
	if owner := value(in.QueueOwnerAWSAccountId); owner != "" && owner != call.Scope.Account {
		return nil, errNoQueue()
	}
	if _, err := s.byName(ctx, call.Scope, name); err != nil {
		return nil, err
	}
	return &sqs.GetQueueUrlOutput{QueueUrl: new(queueURL(call, name))}, nil
}

// ListQueues implements sqs-model:ListQueues.
func (s *Service) ListQueues(ctx context.Context, in *sqs.ListQueuesInput) (*sqs.ListQueuesOutput, error) {
	call := awswire.CallFrom(ctx)
	names, next, err := s.list(call.Scope, in.MaxResults, in.NextToken, func(name string, _ *settings) bool {
		return strings.HasPrefix(name, value(in.QueueNamePrefix))
	})
	if err != nil {
		return nil, err
	}
	return &sqs.ListQueuesOutput{QueueUrls: queueURLs(call, names), NextToken: next}, nil
}

// ListDeadLetterSourceQueues implements sqs-model:ListDeadLetterSourceQueues.
func (s *Service) ListDeadLetterSourceQueues(ctx context.Context, in *sqs.ListDeadLetterSourceQueuesInput) (*sqs.ListDeadLetterSourceQueuesOutput, error) {
	call := awswire.CallFrom(ctx)
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	names, next, err := s.list(call.Scope, in.MaxResults, in.NextToken, isSourceOf(q))
	if err != nil {
		return nil, err
	}
	out := &sqs.ListDeadLetterSourceQueuesOutput{QueueUrls: queueURLs(call, names), NextToken: next}
	if out.QueueUrls == nil {
		out.QueueUrls = []string{} // a required member
	}
	return out, nil
}

// queueURLs returns nil for no names: the member is absent then.
func queueURLs(call *awswire.Call, names []string) []string {
	var urls []string
	for _, n := range names {
		urls = append(urls, queueURL(call, n))
	}
	return urls
}

// GetQueueAttributes implements sqs-model:GetQueueAttributes.
func (s *Service) GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	values, err := s.getAttributes(ctx, q, in.AttributeNames)
	if err != nil || len(values) == 0 {
		return nil, err
	}
	return &sqs.GetQueueAttributesOutput{Attributes: values}, nil
}

// SetQueueAttributes implements sqs-model:SetQueueAttributes.
func (s *Service) SetQueueAttributes(ctx context.Context, in *sqs.SetQueueAttributesInput) (*sqs.SetQueueAttributesOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return nil, s.setAttributes(ctx, q, in.Attributes)
}

// DeleteQueue implements sqs-model:DeleteQueue.
func (s *Service) DeleteQueue(ctx context.Context, in *sqs.DeleteQueueInput) (*sqs.DeleteQueueOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return nil, s.remove(ctx, q)
}

// PurgeQueue implements sqs-model:PurgeQueue.
func (s *Service) PurgeQueue(ctx context.Context, in *sqs.PurgeQueueInput) (*sqs.PurgeQueueOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return nil, s.purge(ctx, q)
}

// ---- sending ------------------------------------------------------------------

// SendMessage implements sqs-model:SendMessage.
func (s *Service) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	m, err := outgoingOf(ctx, &sqs.SendMessageBatchRequestEntry{
		MessageBody: in.MessageBody, DelaySeconds: in.DelaySeconds,
		MessageAttributes: in.MessageAttributes, MessageSystemAttributes: in.MessageSystemAttributes,
		MessageDeduplicationId: in.MessageDeduplicationId, MessageGroupId: in.MessageGroupId,
	})
	if err != nil {
		return nil, err
	}
	row, err := s.row(q, m, s.clock.Now())
	if err != nil {
		return nil, err
	}
	done, err := s.send(ctx, q, []store.QueueMessage{row})
	if err != nil {
		return nil, err
	}
	r := resultEntry(nil, m, done[0])
	return &sqs.SendMessageOutput{
		MessageId: r.MessageId, SequenceNumber: r.SequenceNumber, MD5OfMessageBody: r.MD5OfMessageBody,
		MD5OfMessageAttributes: r.MD5OfMessageAttributes, MD5OfMessageSystemAttributes: r.MD5OfMessageSystemAttributes,
	}, nil
}

// SendMessageBatch implements sqs-model:SendMessageBatch. What a FIFO queue
// needs of an entry is checked for the batch as a whole; other faults fail
// their entry alone.
func (s *Service) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := checkBatch("SendMessageBatchRequestEntry", batchIDs(in.Entries, func(e sqs.SendMessageBatchRequestEntry) *string { return e.Id })); err != nil {
		return nil, err
	}
	if err := checkBatchSize(in.Entries); err != nil {
		return nil, err
	}
	if err := checkBatchIDs(q, in.Entries); err != nil {
		return nil, err
	}
	out := &sqs.SendMessageBatchOutput{Successful: []sqs.SendMessageBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	var rows []store.QueueMessage
	var accepted []*outgoing
	var ids []string
	now := s.clock.Now()
	for i := range in.Entries {
		e := &in.Entries[i]
		m, err := outgoingOf(ctx, e)
		var row store.QueueMessage
		if err == nil {
			row, err = s.row(q, m, now)
		}
		if err != nil {
			failed, err := batchError(*e.Id, err)
			if err != nil {
				return nil, err
			}
			out.Failed = append(out.Failed, *failed)
			continue
		}
		rows, accepted, ids = append(rows, row), append(accepted, m), append(ids, *e.Id)
	}
	if len(rows) == 0 {
		return out, nil
	}
	done, err := s.send(ctx, q, rows)
	if err != nil {
		return nil, err
	}
	for i, m := range accepted {
		out.Successful = append(out.Successful, resultEntry(&ids[i], m, done[i]))
	}
	return out, nil
}

func checkBatchSize(entries []sqs.SendMessageBatchRequestEntry) error {
	total := 0
	for i := range entries {
		total += len(value(entries[i].MessageBody))
		for _, a := range attributesOf(entries[i].MessageAttributes) {
			total += a.size()
		}
	}
	if total > maxBatchBytes {
		return sestina.Errorf("BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxBatchBytes, total)
	}
	return nil
}

func checkBatchIDs(q queue, entries []sqs.SendMessageBatchRequestEntry) error {
	for i := range entries {
		switch e := &entries[i]; {
		case !q.FIFO:
		case e.MessageGroupId == nil:
			return invalidParameter("The request must contain the parameter MessageGroupId.")
		case e.MessageDeduplicationId == nil && !q.ContentBasedDeduplication:
			return checkIDs(q, &outgoing{groupID: e.MessageGroupId})
		}
	}
	return nil
}

func batchIDs[E any](entries []E, id func(E) *string) []*string {
	ids := make([]*string, len(entries))
	for i, e := range entries {
		ids[i] = id(e)
	}
	return ids
}

// outgoingOf reads a message as a client sent it and checks its attributes.
func outgoingOf(ctx context.Context, e *sqs.SendMessageBatchRequestEntry) (*outgoing, error) {
	m := &outgoing{
		body: value(e.MessageBody), delay: e.DelaySeconds, groupID: e.MessageGroupId, dedupID: e.MessageDeduplicationId,
		sender: sestina.UserID(awswire.CallFrom(ctx).PrincipalARN), attributes: attributesOf(e.MessageAttributes),
	}
	for _, v := range e.MessageAttributes {
		if v.StringListValues != nil || v.BinaryListValues != nil {
			return nil, sestina.Errorf("UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported.")
		}
	}
	if err := checkAttributes(m.attributes); err != nil {
		return nil, err
	}
	for name, v := range e.MessageSystemAttributes {
		if name != "AWSTraceHeader" {
			return nil, invalidParameter("Message system attribute name '%s' is invalid.", name)
		}
		if value(v.DataType) != "String" || value(v.StringValue) == "" {
			return nil, invalidParameter("Message (system) attribute '%s' must contain a non-empty value of type 'String'.", name)
		}
		m.trace = *v.StringValue
	}
	return m, nil
}

func attributesOf(in map[string]sqs.MessageAttributeValue) []Attribute {
	var attrs []Attribute
	for name, v := range in {
		a := Attribute{Name: name, DataType: value(v.DataType)}
		if a.binary() {
			a.BinaryValue = v.BinaryValue
		} else {
			a.StringValue = value(v.StringValue)
		}
		attrs = append(attrs, a)
	}
	sortAttributes(attrs)
	return attrs
}

func resultEntry(id *string, m *outgoing, done sent) sqs.SendMessageBatchResultEntry {
	e := sqs.SendMessageBatchResultEntry{
		Id: id, MessageId: new(done.messageID), MD5OfMessageBody: bodyDigest(m.body), MD5OfMessageAttributes: attributeDigest(m.attributes),
	}
	if m.trace != "" {
		e.MD5OfMessageSystemAttributes = attributeDigest([]Attribute{{Name: "AWSTraceHeader", DataType: "String", StringValue: m.trace}})
	}
	if done.sequence != "" {
		e.SequenceNumber = new(done.sequence)
	}
	return e
}

// ---- receiving ------------------------------------------------------------------

// ReceiveMessage implements sqs-model:ReceiveMessage.
func (s *Service) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	r, err := checkReceive(q, in)
	if err != nil {
		return nil, err
	}
	system := slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)
	if err := checkSystemNames(system); err != nil {
		return nil, err
	}
	got, err := s.receive(ctx, q, r)
	if err != nil {
		return nil, err
	}
	out := &sqs.ReceiveMessageOutput{}
	for i := range got.messages {
		m, err := show(q, &got.messages[i], got.at, system, in.MessageAttributeNames)
		if err != nil {
			return nil, err
		}
		out.Messages = append(out.Messages, m)
	}
	return out, nil
}

// DeleteMessage implements sqs-model:DeleteMessage.
func (s *Service) DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput) (*sqs.DeleteMessageOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	faults, err := s.deleteMessages(ctx, q, []*string{in.ReceiptHandle})
	if err != nil {
		return nil, err
	}
	return nil, faults[0]
}

// DeleteMessageBatch implements sqs-model:DeleteMessageBatch.
func (s *Service) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput) (*sqs.DeleteMessageBatchOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	ids := batchIDs(in.Entries, func(e sqs.DeleteMessageBatchRequestEntry) *string { return e.Id })
	if err := checkBatch("DeleteMessageBatchRequestEntry", ids); err != nil {
		return nil, err
	}
	faults, err := s.deleteMessages(ctx, q, batchIDs(in.Entries, func(e sqs.DeleteMessageBatchRequestEntry) *string { return e.ReceiptHandle }))
	if err != nil {
		return nil, err
	}
	out := &sqs.DeleteMessageBatchOutput{Successful: []sqs.DeleteMessageBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	err = sortOut(ids, faults, &out.Failed, func(id *string) {
		out.Successful = append(out.Successful, sqs.DeleteMessageBatchResultEntry{Id: id})
	})
	return out, err
}

// ChangeMessageVisibility implements sqs-model:ChangeMessageVisibility.
func (s *Service) ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput) (*sqs.ChangeMessageVisibilityOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	faults, err := s.changeVisibility(ctx, q, []visibilityChange{{in.ReceiptHandle, in.VisibilityTimeout}})
	if err != nil {
		return nil, err
	}
	return nil, faults[0]
}

// ChangeMessageVisibilityBatch implements
// sqs-model:ChangeMessageVisibilityBatch.
func (s *Service) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	q, err := s.byURL(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	ids := batchIDs(in.Entries, func(e sqs.ChangeMessageVisibilityBatchRequestEntry) *string { return e.Id })
	if err := checkBatch("ChangeMessageVisibilityBatchRequestEntry", ids); err != nil {
		return nil, err
	}
	changes := make([]visibilityChange, len(in.Entries))
	for i, e := range in.Entries {
		changes[i] = visibilityChange{e.ReceiptHandle, e.VisibilityTimeout}
	}
	faults, err := s.changeVisibility(ctx, q, changes)
	if err != nil {
		return nil, err
	}
	out := &sqs.ChangeMessageVisibilityBatchOutput{Successful: []sqs.ChangeMessageVisibilityBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	err = sortOut(ids, faults, &out.Failed, func(id *string) {
		out.Successful = append(out.Successful, sqs.ChangeMessageVisibilityBatchResultEntry{Id: id})
	})
	return out, err
}

// sortOut tells the entries of a batch that failed from those that succeeded.
func sortOut(ids []*string, faults []error, failed *[]sqs.BatchResultErrorEntry, succeed func(id *string)) error {
	for i, fault := range faults {
		if fault == nil {
			succeed(ids[i])
			continue
		}
		e, err := batchError(*ids[i], fault)
		if err != nil {
			return err
		}
		*failed = append(*failed, *e)
	}
	return nil
}
