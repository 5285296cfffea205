// Package leader stands for a duty: what one server of a cluster does for all.
//
// A server asks the store for the duty again and again; whoever has it keeps it
// for as long as it goes on asking. The store counts its holders up, and a
// holder's writes carry that number ([naming.Fenced]): a server that was frozen
// and still believes that it has the duty is refused by the store. What this
// room says is therefore only good for not trying in vain.
//
// It does none of the duties. [Leader.Run] may be called by one goroutine,
// everything else by any.
package leader
