// Package sts is the embedded AWS Security Token Service, as far as tools call
// it before they do anything else: who am I, and whose is this access key.
//
// Keys are made and kept by package auth; this package only tells what the
// signature of a call already proved. Temporary credentials are not issued:
// AssumeRole and its siblings have no handler and are answered as unknown
// operations.
package sts
