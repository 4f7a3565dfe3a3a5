// Package awsapi holds what the AWS API models say, as Go data: for every
// service a package with the input and output types of all operations and one
// compact schema table (shapes, constraints, routes, errors).
//
// The types and tables are generated, committed and never edited. They are
// static data: the compiler lays them out, nothing runs at start-up. Shapes
// refer to each other by index into their service's table, because pointers
// between package variables would make initialisation cycles. Package awswire
// reads the tables; services register handlers with the Op variables, whose
// type carries the operation's input and output.
//
// In the generated types a nil pointer, slice or map means that the member was
// absent; an empty non-nil slice or map was present and empty. Enums are plain
// strings. The fields of a structure stand in the order of the table's members.
package awsapi

//go:generate go run ./gen -models ../../../shared/models
