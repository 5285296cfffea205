// Package receipt answers "does everybody have it?": it waits until every
// connected client that a revision concerns has accepted it, or says who has
// not and why.
//
// It is a reader: it holds nothing that a writer or a stream waits for, and
// costs nothing while nobody waits. It is woken by the registry, the pipeline
// and the streams; it polls nothing. A wait runs on its caller's goroutine and
// ends with the caller's context, with its timeout, or with [Desk.Run].
//
// # What a receipt means
//
//   - A client is concerned when it subscribes to a resource, or still has one,
//     that the revision can have touched: one of the service if one is named,
//     else any.
//   - It has the revision when it accepted what the resource was at that
//     revision, or something newer. A resource that the revision did not change
//     is not sent, so there is nothing to accept: it counts as had.
//   - Once a client has had it, it is not asked again: later changes do not
//     prolong the wait.
//   - Clients that connect during the wait count too, since it may be an old
//     one that comes back with old content. One that is not connected does not
//     count, unless it is named.
//   - A refusal for good ends the wait: only a newer revision can cure it.
package receipt
