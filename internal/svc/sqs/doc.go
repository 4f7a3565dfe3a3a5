// Package sqs is the embedded Amazon SQS: all 23 operations of the API, with
// standard and FIFO queues, long polling, dead-letter queues and message move
// tasks. Its main user inside Sestina is package sns, which puts notifications
// into queues as rows of the transaction that finishes their delivery (Row);
// outside, any SQS client can send, receive and delete.
//
// # What is kept where
//
// A queue is a document of kind "queue", named like the queue and cached
// whole. It carries an internal id, to which messages, receipt handles and
// move tasks refer: a queue that was deleted and made again under its name is
// another one. Messages are rows of the store, written by its commands.
//
// # What clients can rely on
//
// A SendMessage that was answered is durable. A message is handed to one
// receiver at a time, is hidden for the visibility timeout and comes back when
// it was not deleted by then: delivery is at least once. In FIFO queues the
// messages of a group come in order, and none comes while an earlier one of its
// group is in flight.
//
// A long poll costs no query while nothing happens: it sleeps until a commit
// brings a message to its queue or a hidden one becomes visible. One message
// wakes one poller, who wakes the next when it found something. A poll whose
// client went away takes nothing; when the client left while messages were
// being taken, they are made visible again at once.
//
// # Where it differs from AWS
//
// Counts are exact, deleting a queue and purging it take effect at once, and a
// queue's name can be used again at once after deletion. Policies are stored
// and returned, not evaluated: everyone in an account may use its queues, and
// no other account may. KMS attributes are stored and returned, nothing is
// encrypted with them. Answers to a ReceiveRequestAttemptId are remembered in
// memory, by the node that gave them.
package sqs
