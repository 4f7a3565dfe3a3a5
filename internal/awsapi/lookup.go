package awsapi

import (
	"slices"
	"strings"
)

// OperationIndex returns the index of the operation with the name, or -1.
func (s *Service) OperationIndex(name string) int {
	i, ok := slices.BinarySearchFunc(s.Operations, name, func(o OperationInfo, n string) int {
		return strings.Compare(o.Name, n)
	})
	if !ok {
		return -1
	}
	return i
}

// ErrorByShape returns the error with the exception name, or nil.
func (s *Service) ErrorByShape(name string) *Error {
	i, ok := slices.BinarySearchFunc(s.Errors, name, func(e Error, n string) int {
		return strings.Compare(e.Shape, n)
	})
	if !ok {
		return nil
	}
	return &s.Errors[i]
}

// ErrorByCode returns the first error with the query protocol's code, or nil.
func (s *Service) ErrorByCode(code string) *Error {
	for i := range s.Errors {
		if s.Errors[i].Code == code {
			return &s.Errors[i]
		}
	}
	return nil
}
