// Package registry holds what is registered now.
//
// It publishes immutable snapshots in revision order: readers load a pointer
// and take no lock. Commits are applied by one caller at a time (the batch
// writer, or the follower of a cluster), after they became durable. Followers
// subscribe to learn which services changed; a slow one finds a longer list,
// never a queue.
//
// It decides nothing and stores nothing. It starts no goroutine.
package registry
