// Package polaris is door 1: the gRPC service v1.PolarisGRPC, wire compatible
// with unmodified Polaris SDKs.
//
// It converts messages, asks auth, calls the use cases of naming, and maps
// kinds of errors to Polaris' result codes. It decides nothing. Every business
// outcome is gRPC status OK with a code in the message; other statuses are
// kept for transport trouble. Handlers run on gRPC's goroutines.
package polaris
