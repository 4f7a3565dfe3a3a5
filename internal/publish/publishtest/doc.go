// Package publishtest is the suite that every kind of event destination passes:
// publish.Destination in executable form. It runs the destination behind the
// real worker, work engine and store, and judges by what arrived at the target,
// which the kind's own test reads back.
package publishtest
