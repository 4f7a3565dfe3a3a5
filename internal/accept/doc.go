// Package accept is the one door for mail. Every interface (SES v1, SES v2,
// SMTP, Sestina's own notices) hands its submission to Door.Accept, which
// checks it in the order SES does (parameters and tags, configuration set,
// paused sending, verified identity), composes or rewrites the message, and
// writes in one transaction: the message, its body, one delivery per recipient
// domain, the Send event and its publications. It answers with the SES message
// id after that transaction is on disk; before, nothing has happened.
package accept
