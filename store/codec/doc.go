// Package codec turns naming's objects into the records that backends keep
// (proto/storepb) and back. It is pure; an [Interner] is for one goroutine.
package codec
