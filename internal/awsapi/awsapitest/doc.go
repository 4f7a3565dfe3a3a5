// Package awsapitest lists all operations with their Go types, for tests that
// check codecs and tables against every one of them. Programs do not import
// it: it would link all types of all services.
package awsapitest

import "github.com/sestina-mail/sestina/internal/awsapi"

// An Operation is an operation with the means to make its types.
type Operation struct {
	Service   *awsapi.Service
	Index     int
	NewInput  func() any // pointer to a new input
	NewOutput func() any // pointer to a new output
}

// Info returns the operation's row in the table.
func (o Operation) Info() *awsapi.OperationInfo { return &o.Service.Operations[o.Index] }

func of[In, Out any](o awsapi.Operation[In, Out]) Operation {
	return Operation{
		Service: o.Service, Index: o.Index,
		NewInput:  func() any { return new(In) },
		NewOutput: func() any { return new(Out) },
	}
}
