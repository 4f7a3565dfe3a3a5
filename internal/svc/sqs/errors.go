package sqs

import (
	"errors"
	"fmt"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Errors are named by their shape in the API model; package awswire writes the
// older code that goes with it. Texts are those SQS was seen to answer.

func errNoQueue() error {
	return sestina.Errorf("QueueDoesNotExist", "The specified queue does not exist.")
}

// invalidParameter is the fault of a parameter as a whole.
func invalidParameter(format string, args ...any) error {
	return sestina.Errorf("InvalidParameterValueException", format, args...)
}

// invalidValue is the fault of a parameter's value.
func invalidValue(value any, parameter, reason string) error {
	return invalidParameter("Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

func missing(parameter string) error {
	return sestina.Errorf("MissingRequiredParameterException", "The request must contain the parameter %s.", parameter)
}

func unknownAttribute(name string) error {
	return sestina.Errorf("InvalidAttributeName", "Unknown Attribute %s.", name)
}

// invalidAttribute is the fault of a queue attribute's value. The reason, which
// may be empty, is a sentence.
func invalidAttribute(name, reason string) error {
	if reason == "" {
		return sestina.Errorf("InvalidAttributeValue", "Invalid value for the parameter %s.", name)
	}
	return sestina.Errorf("InvalidAttributeValue", "Invalid value for the parameter %s. Reason: %s", name, reason)
}

func errResource(parameter string) error {
	return sestina.Errorf("ResourceNotFoundException", "The resource that you specified for the %s parameter doesn't exist.", parameter)
}

const reasonQueueType = "The request include parameter that is not valid for this queue type."

// batchError is the entry that tells of one failed entry of a batch. It
// returns err itself when that is no fault of the entry's.
func batchError(id string, err error) (*sqs.BatchResultErrorEntry, error) {
	var e *sestina.Error
	if !errors.As(err, &e) {
		return nil, err
	}
	code := e.Code
	if row := sqs.API.ErrorByShape(code); row != nil {
		code = row.Code
	}
	return &sqs.BatchResultErrorEntry{Id: new(id), SenderFault: new(true), Code: new(code), Message: new(e.Message)}, nil
}

// checkBatch checks the number of entries and their ids. kind names the entry
// in the text for an empty batch.
func checkBatch(kind string, ids []*string) error {
	if len(ids) == 0 {
		return sestina.Errorf("EmptyBatchRequest", "There should be at least one %s in the request.", kind)
	}
	if len(ids) > maxBatch {
		return sestina.Errorf("TooManyEntriesInBatchRequest", "Maximum number of entries per request are %d. You have sent %d.", maxBatch, len(ids))
	}
	seen := map[string]bool{}
	for i, p := range ids {
		if p == nil {
			return missing(fmt.Sprintf("%s.%d.Id", kind, i+1))
		}
		if !isName(*p) {
			return sestina.Errorf("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[*p] {
			return sestina.Errorf("BatchEntryIdsNotDistinct", "Id %s repeated.", *p)
		}
		seen[*p] = true
	}
	return nil
}

// isName reports whether s has 1 to 80 letters, digits, hyphens and
// underscores.
func isName(s string) bool {
	if s == "" || len(s) > 80 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// isIdentifier reports whether s has 1 to 128 ASCII letters, digits and
// punctuation, as group and deduplication ids must.
func isIdentifier(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
