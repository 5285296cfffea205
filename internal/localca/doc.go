// Package localca is a small certificate authority: it makes an ECDSA P-256
// root and signs certificates for servers and clients. It works on PEM text and
// touches no files; there is no revocation.
package localca
