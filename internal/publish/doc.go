// Package publish brings events to event destinations. What it promises:
//
//   - Which events: the ten sending events. Which destinations get one is
//     decided when it happens (Outbox), in the transaction that records what
//     happened: one publication, a unit of durable work, per enabled
//     destination of the message's configuration set that lists the type.
//   - At least once: a publication is tried until its destination took it, with
//     backoff, for days (the horizon, three days unless configured); then it is
//     kept as a dead letter that can be looked at and redriven. A repeat has
//     the same ids, which derive from the publication's id.
//   - No order is promised across events, and one slow destination delays no
//     other: every destination is a lane of its own.
//   - A publication goes out by the destination's definition at the time of the
//     attempt. Disabling a destination holds what it has; deleting it turns
//     that into dead letters that say so.
package publish
