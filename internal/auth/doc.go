// Package auth knows who may call: the access keys that SigV4 signatures and
// SMTP passwords are made with, and the signed tokens that Sestina hands out
// itself (tracking links, unsubscribe links, return paths, subscription
// confirmations). All of it rests on one installation key, a file beside the
// database, so that a copy of the database alone gives no access key away.
package auth
