// Package sqlite is Sestina's embedded storage engine: store.Store on one
// SQLite file, for a single process.
//
// The data folder holds sestina.db, the folder bodies for message bodies above
// store.InlineBody, and the file lock, whose lock keeps a second process out.
//
// One goroutine owns the only writing connection. It takes all commands that
// are queued, runs them in one transaction, and answers them after the commit
// has reached the disk (WAL, synchronous=FULL): the more callers, the fewer
// syncs per command. When a command fails, the transaction is rolled back and
// repeated with a savepoint around each command, so that only the failing one
// is refused. Queries run on a few reading connections and never wait for the
// writer.
//
// Claims are kept in memory: the folder belongs to one process, so a unit is
// free again when the process dies. See claims.go for what keeps a unit from
// being handed out twice.
//
// Killing the process at any moment leaves a consistent folder: the database
// recovers from its WAL, and body files that no committed message names are
// swept.
package sqlite
