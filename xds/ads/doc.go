// Package ads is door 2: the xDS v3 transport, state of the world and delta,
// aggregated or for one type.
//
// [Machine] is the protocol of one stream: requests and the names of changed
// resources go in, responses come out. It does no I/O, starts no goroutine and
// takes the time as an argument. [Server] owns the streams: per stream the
// handler's goroutine drives the machine, a second one receives, and a third
// exists only while a message is being sent. What is sent are the fragments
// that the cache shares between all streams; see [Codec].
//
// It does not know how a resource looks, who may see what (that is the View
// which Deps.Node makes) or when the registered world changes.
//
// # What a client can rely on
//
//   - Of each type one response is in flight; what changes meanwhile is sent
//     once, in its newest form, after the answer.
//   - Clusters, endpoints, listeners, routes, in this order; what is gone in
//     the reverse order after that. A type waits for another for at most 5 s.
//   - After a cluster come its endpoints, changed or not, if the stream
//     subscribes to them, without waiting for the answer. Who comes back and
//     asks for endpoints before clusters warms one, and gets all of them.
//   - A name that does not exist is answered, not passed over in silence:
//     removed_resources in delta, resource_errors in both.
//   - What was refused is not sent again as it was. Resources that were
//     refused together are tried one by one; the guilty one waits for a newer
//     version, and meanwhile the accepted one stays in force.
//   - Names longer than 1,024 bytes end the stream with INVALID_ARGUMENT, more
//     than 100,000 names or 8 MiB of one type with RESOURCE_EXHAUSTED. A client that
//     does not read for Deps.SendTimeout is cut off with DEADLINE_EXCEEDED.
package ads
