// Package storetest is the contract of package store in executable form: one
// suite and one benchmark that every engine passes. The subtests are grouped
// by area, a file each, and named for the rule they hold the engine to.
package storetest
