// Package batch is group commit: while one group is committed, the next one
// gathers. An idle server adds no delay to a write, and a busy one fills its
// groups.
//
// It is generic and knows nothing of what it carries. Items come in kinds. Each
// kind has a bounded queue and bounds of its own; one loop commits them all,
// and every group takes from every queue, so that one sync to disk serves all
// kinds and none starves behind another. Inside a group items stand in the order
// in which they came.
//
// A caller is told the truth about its item: done, refused, not done, or, only
// when its commit had begun and did not end, outcome unknown. [Batcher.Run]
// owns the goroutines that commit; [Batcher.Do] may be called from any
// goroutine.
package batch
