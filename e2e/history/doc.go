// Package history judges what a cluster answered. A [History] is everything
// that clients asked, were told and were shown, and the change log, which is
// the one order of all changes. [History.Check] reports what cannot have been
// so: an acknowledged write that is not in the log, a reading that shows what
// never was, or what was before, and whatever else breaks a promise.
//
// It is pure: it starts nothing and asks nobody.
package history
