// Package cluster makes several servers on one store act as one: who of them
// lives, which of them watches over which lease, and what they tell each
// other.
//
// Members count a number up in the store; who does not for some time, measured
// by each server for itself, is dead. No clock is compared with another one.
// Every lease has one owner, the same for all who see the same members
// (rendezvous hashing); beats that reach another server are forwarded in
// groups. Who takes over a lease gives it its full time first. A server that
// some member cannot reach lets nothing expire: it may be deaf.
//
// Peers also hint at new revisions, so that they are read at once. Nothing
// rests on messages between servers but speed.
//
// [Cluster.Beat], [Cluster.Owns] and [Cluster.Hint] may be called from any
// goroutine; [Cluster.Run] by one.
package cluster
