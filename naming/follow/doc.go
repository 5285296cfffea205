// Package follow keeps a registry as new as a store that several servers
// write.
//
// A server's own commits are applied as soon as they are the next revision.
// Those of others come from the change log: at once when a peer hints that
// there is more, else by a poll. The store is the only source of truth; a lost
// hint costs time and nothing else. Every commit is applied once and in order,
// whatever comes first.
//
// [Follower.Commit] and [Follower.Hint] may be called from any goroutine;
// [Follower.Run] by one.
package follow
