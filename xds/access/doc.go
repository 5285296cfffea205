// Package access says who uses the xDS door, and what they see there: of the
// registered world those who follow it, of the clients those who inspect them.
//
// It asks the [auth.Gate] and decides nothing itself. It starts no goroutine;
// anybody may call it.
package access
