package resource

import (
	"slices"
	"strings"

	"polestar/naming"
)

// maxSplits bounds the work that one name from a client can cause.
const maxSplits = 64

// serviceNamed finds the service of a cluster name: namespace/service. Both
// may contain slashes, so every split is tried, the first slash first.
func serviceNamed(w naming.World, name string) *naming.ServiceState {
	for _, key := range splits(name, '/', false) {
		if st := w.Service(key); st != nil {
			return st
		}
	}
	return nil
}

// serviceOfTarget finds the service that a gRPC target names.
func serviceOfTarget(w naming.World, name string) *naming.ServiceState {
	for _, key := range ServicesOf(name) {
		if st := w.Service(key); st != nil {
			return st
		}
	}
	return nil
}

// ServicesOf lists the services that a gRPC target may stand for, best first:
// namespace/service, then service.namespace, each also without a port at the
// end. Namespaces rarely have dots, so the last dot is tried first.
func ServicesOf(name string) []naming.ServiceKey {
	out := append(splits(name, '/', false), splits(name, '.', true)...)
	if at := strings.LastIndexByte(name, ':'); at > 0 && isPort(name[at+1:]) {
		out = append(out, splits(name[:at], '/', false)...)
		out = append(out, splits(name[:at], '.', true)...)
	}
	return out
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// splits lists the keys that name stands for when it is cut at one of its
// separators. last: the last separator first, and the service stands before it.
func splits(name string, separator byte, last bool) []naming.ServiceKey {
	var out []naming.ServiceKey
	for at := range len(name) {
		if name[at] != separator || at == 0 || at == len(name)-1 {
			continue
		}
		key := naming.ServiceKey{Namespace: name[:at], Name: name[at+1:]}
		if last {
			key = naming.ServiceKey{Namespace: name[at+1:], Name: name[:at]}
		}
		if len(key.Namespace) <= naming.MaxNamespace && len(key.Name) <= naming.MaxService {
			out = append(out, key)
		}
		if len(out) == maxSplits {
			break
		}
	}
	if last {
		slices.Reverse(out)
	}
	return out
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
