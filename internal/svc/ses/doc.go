// Package ses serves the Amazon SES API: version 2 (restJson1) and version 1
// (query protocol). Both are thin: handlers in v1_*.go and v2_*.go translate
// shapes, and the operations they share (configuration sets with their event
// destinations, identities, account settings) are methods of Service in files
// named for what they do. Mail itself goes through package accept.
//
// A configuration set and its event destinations are one document, so that
// limits, deletion and matching are atomic.
package ses
