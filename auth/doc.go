// Package auth answers one question: may this principal do that?
//
// Doors find out who is calling and ask [Authorizer.Allow] in each handler,
// visibly. The package knows nothing of transports, codes or storage.
// Authorizers may be called from any goroutine.
package auth
