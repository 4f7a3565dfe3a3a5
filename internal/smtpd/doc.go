// Package smtpd is the SMTP door for mail submission: what an application that
// speaks SMTP to Amazon SES finds behind the endpoint's address. The protocol
// engine is emersion/go-smtp; this package adds what a server on an open
// network needs around it (deadlines that follow the data rate, limits on
// connections, commands and buffered bytes, a shutdown that finishes what was
// begun) and the reply texts that SES clients read.
//
// A message goes to an Acceptor in one call; DATA is answered with
// "250 Ok <message id>" only after that call returned without error. Nothing is
// kept here: what was not accepted never happened. ses-guide:smtp-response-codes
package smtpd
