// Package deliver takes due deliveries and tries them: each is one message for
// the recipients of one domain. A transport says what became of every
// recipient; package bounce says what that means; the events are committed
// together with the delivery's new state by package work. rfc5321#4.5.4.1
//
// What the sender can rely on:
//
//   - A final failure (5yz) is a Bounce at once. A temporary one (4yz, no
//     connection) is a DeliveryDelay, and another attempt by the Schedule, until
//     the window (14 h) or MaxDeliverySeconds of the configuration set ends;
//     then it is a Transient Bounce with what was said last.
//   - Recipients of one message are settled one by one: who was served or
//     refused is reported at once, the others are tried again.
//   - A message in which a virus was found is rejected before the first attempt.
//   - A message is handed over at least once. When the connection ends after the
//     last byte of the message and before the server's answer, nobody knows
//     whether the server took it; it is sent again, and the recipient may get
//     two copies. rfc1047
//
// Transports: Inbox captures mail in dev, Relay speaks SMTP to one host,
// Simulator is the mailbox simulator at simulator.amazonses.com, which is
// served by Sestina itself in every mode.
package deliver
