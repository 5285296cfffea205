// Package batch is group commit: while one group is committed, the next one
// gathers. An idle server adds no delay to a write, and a busy one fills its
// groups.
//
// It is generic and knows nothing of what it carries. One goroutine, [Batcher.Run],
// commits; [Batcher.Do] may be called from any goroutine.
package batch
