// Package grpcserver is a gRPC listener with Polestar's limits: bounded
// connections, streams and messages, keepalive that notices half-open
// connections, panics that end one call and not the process, and a stop that
// is graceful first and forced at its deadline. It knows no service.
package grpcserver
