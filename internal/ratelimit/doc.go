// Package ratelimit bounds how often each of many callers may do something: a
// token bucket for each key, in memory that is bounded however many keys there
// are. It knows no protocol. Buckets may be used from any goroutine.
package ratelimit
