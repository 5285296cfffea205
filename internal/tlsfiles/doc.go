// Package tlsfiles is TLS from files: certificates, keys and certificate
// authorities of doors and of clients, read strictly, watched by content and
// put in force for new handshakes without touching open connections. It also
// says who a verified client certificate stands for. What that one may do is
// asked elsewhere.
//
// [Watcher.Add] comes before [Watcher.Run], which is one goroutine; everything
// else may be used from any.
package tlsfiles
