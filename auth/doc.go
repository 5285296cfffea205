// Package auth answers two questions: who is calling, and may that principal
// do that?
//
// Doors take the credentials out of a request, ask [Gate.Authenticate] who it
// is, and ask [Gate.Allow] in each handler, visibly. [Engine] answers from an
// immutable state of users, groups, tokens and policies, without a lock. The
// package knows nothing of transports, codes or storage. A [Gate] may be used
// from any goroutine.
package auth
