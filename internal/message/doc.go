// Package message reads and makes email messages: plain functions on bytes and
// streams, without store, network or clock (ids and times come from the
// caller).
//
// SES changes a message in a few well-known places between acceptance and
// delivery and leaves everything else as it was, because signatures and
// templates depend on it. So a Header here keeps order, case and bytes of every
// field it is not told to change, and a body is never rebuilt.
//
// The way of a submitted message: Parse, Check, Header.EventFields and
// Header.Common for the event record, Take for what SES removes, Stamp for what
// SES replaces, Reader for the result. Formatted mail begins with Compose
// instead.
//
// Line ends. Submitted mail may end its lines with LF or CRLF; everything that
// leaves this package has CRLF only. A lone CR becomes a space in the header
// and a line end in the body. Nothing later in the chain therefore sees a line
// end where another program sees none, which is what SMTP smuggling and header
// injection live on. rfc5321#2.3.8
//
// Line length. The guide limits lines to 1000 characters with CRLF, but SES
// takes longer ones and leaves the refusal to the receivers. Parse does the
// same; Compose never makes a longer line. rfc5321#4.5.3.1.6
package message
