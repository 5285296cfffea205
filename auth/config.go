package auth

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/naming"
)

// Switch says how one kind of API is checked.
type Switch struct {
	// Open: callers are checked. The word is Polaris': authentication is open.
	Open bool
	// Strict: credentials that are missing or do not hold are refused; else they
	// make an anonymous caller.
	Strict bool
}

// Config of an [Engine].
type Config struct {
	Client, Console Switch
}

// Default checks people and their tools, and lets SDKs and proxies in, as
// Polaris does.
func Default() Config {
	return Config{Client: Switch{Strict: true}, Console: Switch{Open: true, Strict: true}}
}

// Of is the switch of an API.
func (c Config) Of(api API) Switch {
	switch api {
	case ClientAPI:
		return c.Client
	case ConsoleAPI:
		return c.Console
	default:
		return Switch{Open: true, Strict: true}
	}
}

// Source is a state of users, groups, tokens and policies: a [naming.World].
type Source interface {
	Users() iter.Seq[*naming.User]
	Groups() iter.Seq[*naming.Group]
	Tokens() iter.Seq[*naming.Token]
	Policies() iter.Seq[*naming.Policy]
	// AccessRevision is the newest revision that changed any of them.
	AccessRevision() naming.Revision
	// Loads counts the times that all of it was loaded anew; what is there at one
	// revision is the same only within one of them.
	Loads() uint64
}

// Deps are what an [Engine] needs.
type Deps struct {
	// Source returns the newest state; it is called by [Engine.Refresh].
	Source  func() Source
	Metrics prometheus.Registerer
}
