// Package naming is the core of Polestar: the vocabulary of a registry
// (namespace, service, instance, change, commit, revision) and its use cases
// (register, deregister, heartbeat, report a client).
//
// It validates and decides. It does not listen, store, encode for a wire, or
// authorise: doors call it, backends persist what [Plan] decided, and
// naming/registry holds what is registered now. It imports nothing of ours.
//
// Every value here is immutable once it has been handed over: whoever wants a
// changed instance builds a new one. All functions may be called from any
// goroutine.
package naming
