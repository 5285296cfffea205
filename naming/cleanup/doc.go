// Package cleanup removes what nobody needs any more: instances that have been
// unhealthy for long, services that a registration created and that stand
// empty, and settings that wait for instances which do not come back.
//
// Each job is off until it is given an age, but for the rows of what was deleted. A job never acts on a guess: it
// removes an object only at the revision at which it was found old, decided in
// the store's transaction. It does nothing soon after a start, while changes of
// health cannot be written, or while expiries are held: then old is not what it
// seems.
//
// On a shared store one server runs the jobs for all, but for the one that goes
// by leases: its writes are fenced, so that none is done after another server
// took over. What an operator asks a server for, that server does.
//
// It finds what is old by wall-clock times, which decide nothing but how long
// something is kept. It does not expire leases.
//
// [Cleaner.Run] may be called by one goroutine, everything else by any.
package cleanup
