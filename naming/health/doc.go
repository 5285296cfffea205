// Package health holds the leases of instances: who is late with its beat.
//
// It knows ids and deadlines, no instances. Beats live in memory only; a flip
// of health is an ordinary write that the caller supplies. Deadlines are
// monotonic. Clients are never punished for the server's absence: after a
// start, after a pause of the process, and when a flip cannot be written,
// leases get their full time anew.
//
// [Leases.Beat], [Leases.Track] and [Leases.Forget] may be called from any
// goroutine and never block on a flip; [Leases.Run] owns the sweeper and the
// flip workers.
package health
