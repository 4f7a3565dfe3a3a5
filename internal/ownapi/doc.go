// Package ownapi is Sestina's own API under /sestina/v1/: what AWS has no word
// for. Captured messages with filters and a wait, the timeline of a message
// with every attempt at every hop, events as records and as a live stream, dead
// letters and their redrive, and in dev: empty everything, cause an outcome
// through the same code as the real cause, move the clock.
//
// In dev it takes unsigned calls, so every path refuses a foreign Host or
// Origin: a web page somebody visits must not read the captured mail.
package ownapi
