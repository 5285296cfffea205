// Package cache holds the newest form of every xDS resource that somebody
// subscribed to, encoded once and shared by all streams, and knows which
// streams to wake when one changes.
//
// A name has one form for all who see the same of it, and the world says who
// they are ([resource.Sharing]): when that changes, watchers move from form to
// form.
//
// It does not know how a resource looks (xds/resource), when the registered
// world changes (xds) or what the protocol says (xds/ads). It starts no
// goroutine: one goroutine, the pipeline's, calls [Cache.Refresh]; each stream
// calls the methods of its own [Watcher]; anybody may read.
//
// Signals are level-triggered. A watcher gathers the names that changed and is
// told once that there are some, so a slow stream costs at most one entry per
// name it subscribed to, and always sends the newest form.
package cache
