// Package bolt is the embedded store: one bbolt file for one server.
//
// Every commit is one bbolt transaction, synced to disk before it returns.
// Records are keyed by the object's key; instance ids are hashes, so a commit
// touches about one page per instance, which group commit writes with one
// sync. The change log has one record per revision and is trimmed a little in
// each commit.
//
// Writers take turns on bbolt's lock; readers see a consistent snapshot and
// block nobody.
package bolt
