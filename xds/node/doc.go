// Package node reads what a client may see, and in which form, from the node
// that it sends: kind of client, whose names it knows, namespace, service,
// addresses to listen on. It is pure.
package node
