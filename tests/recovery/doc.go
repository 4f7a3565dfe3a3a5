// Package recovery tries to make the real program lose something, hang or grow:
// by deleting what a backlog waits for, filling the disk, damaging files,
// killing it while it starts or stops, stopping it in the middle of everything,
// and by clients, subscribers and relays that misbehave.
package recovery
