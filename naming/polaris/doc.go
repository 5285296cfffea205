// Package polaris is door 1: the gRPC services v1.PolarisGRPC and
// v1.PolarisServiceContractGRPC, wire compatible with unmodified Polaris SDKs.
//
// It converts messages, asks auth, calls the use cases of naming, and maps
// kinds of errors to Polaris' result codes. It decides nothing. Every business
// outcome is gRPC status OK with a code in the message; other statuses are
// kept for transport trouble.
//
// The data of Discover is encoded once per revision of a service and shared by
// all who ask; see shelf. Handlers run on gRPC's goroutines, and there are no
// others.
package polaris
