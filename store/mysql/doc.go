// Package mysql is the store of a cluster: one database of MySQL's protocol,
// shared by any number of servers.
//
// Every commit begins by locking the one row of polestar_head. So a commit is
// decided on the newest state, revisions are gap-free and become visible in
// order, and our transactions cannot deadlock with each other. The lock is
// held for two round trips and one sync: everything that deciding reads comes
// in one answer, and everything that is written goes in one request together
// with its COMMIT (docs/decisions has the reasons). Only at a node of a Galera
// cluster each statement is a request of its own.
//
// Tables and columns are those of Polaris 1.12, widened where its widths lose
// data; what only Polestar has begins with polestar_.
//
// All methods may be called from any goroutine.
package mysql
