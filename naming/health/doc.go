// Package health holds the leases of instances: who is late with its beat.
//
// It knows ids, services and deadlines, no instances. Beats live in memory
// only; a flip of health is an ordinary write that the caller supplies.
// Deadlines are monotonic. An instance is late when it was silent for more
// than Factor × TTL, and is flipped at the next tick; a beat exactly at its
// deadline is in time.
//
// Clients are never punished for the server's absence. After a start, after a
// pause of the process and after a time in which flips could not be written,
// all leases get their full time anew; while flips cannot be written nothing
// expires. When too large a share of a service, or of everything, would expire
// within one TTL, the mass-loss guard holds those leases as suspects: healthy
// for the world, counted and visible here.
//
// It does not store, does not know why an instance is healthy without a TTL,
// and does not forward beats between servers.
//
// [Leases.Beat], [Leases.Track], [Leases.Stored] and [Leases.Forget] may be
// called from any goroutine and never wait for a flip; [Leases.Run] owns the
// sweeper and the flip workers. Locks are taken in the order guard, shard,
// groups, and none is held while a flip is written.
package health
