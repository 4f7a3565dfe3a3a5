package sqs

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A redrive is a RedrivePolicy: where messages go that were received often
// enough without being deleted.
type redrive struct {
	TargetARN   string
	MaxReceives int // 1 to 1000
}

// A redriveAllow is a RedriveAllowPolicy: which queues may use this one as
// their dead-letter queue.
type redriveAllow struct {
	Permission string // allowAll, denyAll or byQueue
	Sources    []string
}

// allows reports whether the queue with the ARN may send its dead letters here.
func (a *redriveAllow) allows(sourceARN string) bool {
	return a == nil || a.Permission == "allowAll" || a.Permission == "byQueue" && slices.Contains(a.Sources, sourceARN)
}

func setRedrive(find finder, q queue, v string) error {
	if v == "" {
		q.RedrivePolicy, q.Redrive = "", nil
		return nil
	}
	r, err := parseRedrive(v)
	if err != nil {
		return err
	}
	fault := func(reason string) error { return invalidValue(v, "RedrivePolicy", reason) }
	arn, err := sestina.ParseARN(r.TargetARN)
	switch {
	case err != nil:
		return fault("Invalid value for deadLetterTargetArn.")
	case arn.Service != "sqs":
		return fault("Only SQS queues are valid resources for deadLetterTargetArn.")
	case strings.HasSuffix(arn.Resource, ".fifo") != q.FIFO:
		return fault("Dead-letter queue must be same type of queue as the source..")
	case arn.Scope() != q.scope:
		return fault("Dead letter target owner should be same as the source.")
	}
	target, err := find(arn.Resource)
	switch {
	case err != nil:
		return err
	case target == nil:
		return fault("Dead letter target does not exist.")
	case !target.RedriveAllow.allows(q.arn()):
		return fault("Queue " + q.arn() + " doesn't have permission to use " + r.TargetARN + " as a dead-letter queue.")
	}
	q.RedrivePolicy, q.Redrive = v, r
	return nil
}

// parseRedrive reads a RedrivePolicy. maxReceiveCount is a number or a text of
// digits.
func parseRedrive(v string) (*redrive, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(v), &members) != nil || members == nil {
		return nil, invalidParameter("Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.")
	}
	fault := func(reason string) error { return invalidValue(v, "RedrivePolicy", reason) }
	for name := range members {
		if name != "maxReceiveCount" && name != "deadLetterTargetArn" {
			return nil, fault("Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].")
		}
	}
	for _, name := range []string{"maxReceiveCount", "deadLetterTargetArn"} {
		if members[name] == nil {
			return nil, fault("Redrive policy does not contain mandatory attribute: " + name + ".")
		}
	}
	r := &redrive{}
	if json.Unmarshal(members["deadLetterTargetArn"], &r.TargetARN) != nil {
		return nil, fault("Invalid value for deadLetterTargetArn.")
	}
	count := strings.Trim(string(members["maxReceiveCount"]), `"`)
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1000 {
		return nil, fault("Invalid value for maxReceiveCount: " + count + ", valid values are from 1 to 1000 both inclusive.")
	}
	r.MaxReceives = n
	return r, nil
}

func setRedriveAllow(_ finder, q queue, v string) error {
	if v == "" {
		q.RedriveAllowPolicy, q.RedriveAllow = "", nil
		return nil
	}
	a, err := parseRedriveAllow(v)
	if err != nil {
		return err
	}
	q.RedriveAllowPolicy, q.RedriveAllow = v, a
	return nil
}

func parseRedriveAllow(v string) (*redriveAllow, error) {
	var p struct {
		RedrivePermission string   `json:"redrivePermission"`
		SourceQueueARNs   []string `json:"sourceQueueArns"`
	}
	err := json.Unmarshal([]byte(v), &p)
	if err != nil || !slices.Contains([]string{"allowAll", "denyAll", "byQueue"}, p.RedrivePermission) {
		return nil, invalidAttribute("RedriveAllowPolicy", "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.")
	}
	fault := func(reason string) (*redriveAllow, error) {
		return nil, invalidValue(v, "RedriveAllowPolicy", "Amazon SQS can't create the redrive allow policy. "+reason)
	}
	switch byQueue := p.RedrivePermission == "byQueue"; {
	case !byQueue && p.SourceQueueARNs != nil:
		return fault("To specify one or more source queue ARNs, you must set redrivePermission to byQueue.")
	case byQueue && len(p.SourceQueueARNs) == 0:
		return fault("When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.")
	case len(p.SourceQueueARNs) > 10:
		return fault("The maximum number of source queue ARNs you can specify is 10.")
	}
	return &redriveAllow{Permission: p.RedrivePermission, Sources: p.SourceQueueARNs}, nil
}

// deadLetters adds to a receive what the queue's redrive policy says. A
// dead-letter queue that was deleted, or does not allow this queue any more,
// gets nothing: messages stay where they are.
func (s *Service) deadLetters(q queue, cmd *store.ReceiveQueued) {
	if q.Redrive == nil {
		return
	}
	target, ok := s.byARN(q.Redrive.TargetARN)
	if !ok || target.scope != q.scope || target.FIFO != q.FIFO || !target.RedriveAllow.allows(q.arn()) {
		return
	}
	cmd.MaxReceives = q.Redrive.MaxReceives
	cmd.DeadLetter = target.ID
	cmd.SourceARN = q.arn()
	cmd.DeadLetterRetention = target.retention()
}

// isSourceOf accepts the queues whose redrive policy names q.
func isSourceOf(q queue) func(name string, other *settings) bool {
	arn := q.arn()
	return func(_ string, other *settings) bool { return other.Redrive != nil && other.Redrive.TargetARN == arn }
}
