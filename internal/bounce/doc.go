// Package bounce says what the answer of a mail server means. It takes the
// outcomes of delivery attempts and turns them into the Delivery, Bounce,
// DeliveryDelay and Complaint events that the sender sees.
//
// What a reply means is decided by one table of rules, Rules: by reply code,
// enhanced status code and text, first match wins. A rule gives the bounce type
// and subtype of a final failure and the delay type of a temporary one. Whether
// a failure is final is not decided here: 5yz is, 4yz is not until time runs
// out. rfc5321#4.2.1
//
// The types matter to senders: Permanent means that the address is bad and must
// not be mailed again, so refusals that are about the message, the sender or
// the server are Transient even when they are final.
// ses-guide:event-publishing-retrieving-sns-contents
package bounce
