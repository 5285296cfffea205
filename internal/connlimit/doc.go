// Package connlimit bounds the connections of a listener, in all and from one
// ip. It knows no protocol.
package connlimit
