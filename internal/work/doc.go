// Package work is the one engine for durable work: mail, event publications
// and topic notifications all run on it. It owns when and how often; the
// handlers own what.
//
// A unit of work is a row in the store. Units are grouped in lanes (recipient
// domain, event destination, subscription), each with its own concurrency,
// backoff and circuit breaker, so that one slow or dead lane delays nobody
// else. Workers claim batches from a lane, hand them to the kind's Handler, and
// commit each result together with its effects (new events, units, rows of an
// embedded service) in one fenced command: a worker that lost its lease writes
// nothing.
//
// Only lanes with work are in memory, by their next due time. A commit that
// adds a unit wakes the engine through store.Listener; at start, and by a poll
// for other nodes' work, lanes are found by an index skip scan. A million
// waiting units cost disk, not memory.
package work
