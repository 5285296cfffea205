// Package resource builds xDS resources (Cluster, ClusterLoadAssignment,
// Listener, RouteConfiguration) from the registered world.
//
// Builders are pure functions of a snapshot and a [Key]: sorted output, equal
// input gives equal bytes. They know nothing of streams, subscriptions or
// versions that a client holds. Any goroutine may call them.
package resource
