// Package node reads what a client may see, and in which form, from the node
// that it sends: kind of client, namespace, service, egress address. It is
// pure.
package node
