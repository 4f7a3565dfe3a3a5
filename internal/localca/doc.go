// Package localca gives Sestina's listeners their TLS certificates. In dev it
// is a certificate authority of the machine's own, made at first start and kept
// in the data folder, which issues a certificate for whatever name a client
// asks for: a client that insists on https gets it by trusting one file
// (NODE_EXTRA_CA_CERTS, AWS_CA_BUNDLE, SSL_CERT_FILE). In serve it is
// certificate files that are read again when they change.
//
// Listener lets one port speak http and https: the first byte decides.
package localca
