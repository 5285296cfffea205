// Package store is the contract of storage: what is durable when, in which
// order, and which error means what. Backends live in its sub-packages and all
// pass the suite in store/storetest.
//
// A backend offers a view of its data inside a transaction and writes what
// naming.Plan decides there; it decides nothing itself.
package store
