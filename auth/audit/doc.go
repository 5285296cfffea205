// Package audit keeps who was refused what. Refusals of one kind are counted
// together, and written in groups, so that whoever knocks a thousand times a
// second costs a record every few seconds and a bounded piece of memory.
//
// Doors call [Recorder.Refused], which never waits. A recorder may be used from
// any goroutine.
package audit
