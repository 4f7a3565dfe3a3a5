// Package prepare looks at a message before its first delivery. Today it scans
// for viruses: SES accepts every message, says Send, and then rejects what a
// scanner finds with a Reject event of the reason "Bad content"; nothing is
// delivered. ses-guide:monitor-sending-activity
//
// Scanning is deterministic and its verdict is remembered for a while, so that
// a message with recipients in fifty domains is scanned once. Nothing is
// stored: after a restart a message that still waits is scanned again.
package prepare
