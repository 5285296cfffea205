// Package explain says what xDS clients have, what they lack, and why an
// instance is, or is not, at a client.
//
// The answers rest on what is served, not on a second copy of its rules: the
// assignment is built as for the client and read back, and compared with what
// the client accepted. Why something is not in it comes from the registered
// world, the leases and the builders' own words.
//
// It reads only: no goroutine, no state, no clock but [Deps.Now]. Anybody may
// call it.
package explain
