// Package store is the contract of Sestina's storage: row types, typed
// commands and small role interfaces. store/sqlite and store/postgres are the
// two engines; store/storetest is the contract in executable form.
//
// What every engine promises:
//
//   - A command that was answered without error is durable: it was part of a
//     transaction whose commit reached the disk (fsync). State and event are
//     written by the same command, hence in the same transaction.
//   - Commands of many callers are committed together (group commit). A command
//     that is refused is refused alone. A queued command is carried out and
//     answered by its commit even if its caller's context ended meanwhile.
//   - Every key begins with a sestina.Scope; nothing of one scope is ever
//     returned for another.
//   - Times are UTC with millisecond precision and come from the caller: SQL
//     never asks the database what time it is (leases of PostgreSQL excepted).
//   - Rows hold payloads as opaque bytes that begin with, or are JSON objects
//     holding, a format number; only the package that wrote them reads them.
//
// There are two planes. The control plane (configuration sets, identities,
// topics, queues …) is documents, changed with compare-and-swap inside Update
// and cached whole by Documents. The hot path (messages, events, units of work,
// queue messages) is tables of their own, written by commands (Do) that carry
// plain data, and read by narrow queries.
package store
