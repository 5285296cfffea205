// Package resource builds xDS resources (Cluster, ClusterLoadAssignment,
// Listener, RouteConfiguration) from the registered world, and defines their
// names.
//
// Builders are pure functions of a snapshot and a [Form]: sorted output, equal
// input gives equal bytes. What clients would refuse is left out and returned
// as a [Problem]. Builders know nothing of streams, subscriptions or versions
// that a client holds. Any goroutine may call them.
package resource
