// Package postgres is Sestina's storage engine for several nodes: store.Store
// on one PostgreSQL database (15 or newer) that they share.
//
// Commands are grouped. A few writing goroutines each take what is queued and
// send it as one pipeline: one statement per table, its rows as arrays, all in
// one transaction that commits at the pipeline's end. So a batch costs one
// round trip and one sync, however many commands it holds. A Finish whose lease
// was lost ends the transaction and is named in the error; the batch is
// repeated without it. Any other error of a statement is narrowed down by
// halving the batch, so that only the command at fault is refused.
//
// When the connection is lost during such a pipeline, its outcome is unknown.
// Every transaction therefore leaves its number in a row of its writer; a new
// connection closes that row, after which the lost transaction cannot commit
// any more, and reads from it whether it did. See writer.go. Only when the
// database does not come back within 20 seconds is such a command answered with
// ErrUnavailable although it may have been carried out; repeating it is then a
// second message, or, for a Finish, fenced. Receives, moves, purges, redrives
// and sweeps are transactions of their own and are not followed up like this:
// after a lost connection they are answered with ErrUnavailable, and what a
// receive hid is visible again in time.
//
// The engine cannot see the free disk of the database's machine. When that is
// full, commands are refused until there is room again.
//
// Claims are leases in the units' rows, by the database's clock. A node prolongs
// the leases of what its workers hold; when it dies, others take over. A result
// counts only with the token of the lease, see claims.go.
//
// Documents are written under one lock, so that their revisions become visible
// in order, and announced by NOTIFY. Every node follows them by revision: on
// notification, on reconnect and every second. See follower.go.
//
// Connections are made with settings of their own (prepared statements, plans
// that never scan a table), so a pooler in front of the database must work per
// session.
package postgres
