package resource

import (
	"cmp"
	"slices"
	"strings"

	"polestar/naming"
)

// escapedSlash stands for a slash within a namespace. No name of a service or
// namespace contains a percent sign.
const escapedSlash = "%2F"

// ClusterName is the name of a service's cluster and of its load assignment:
// namespace/service. Names of services may contain slashes and so may those of
// namespaces; a slash in the namespace is escaped, so that two services never
// share a name.
func ClusterName(key naming.ServiceKey) string {
	return strings.ReplaceAll(key.Namespace, "/", escapedSlash) + "/" + key.Name
}

// clusterKey is the inverse of [ClusterName]; false for what it never makes.
func clusterKey(name string) (naming.ServiceKey, bool) {
	if len(name) > maxTarget {
		return naming.ServiceKey{}, false
	}
	namespace, service, ok := strings.Cut(name, "/")
	key := naming.ServiceKey{Namespace: strings.ReplaceAll(namespace, escapedSlash, "/"), Name: service}
	return key, ok && key.Namespace != "" && service != ""
}

// serviceNamed finds the service of a cluster name, nil when there is none. An
// alias has no cluster: routes to it lead to that of its service.
func serviceNamed(w naming.World, name string) *naming.ServiceState {
	if key, ok := clusterKey(name); ok {
		return served(w.Service(key))
	}
	return nil
}

func served(st *naming.ServiceState) *naming.ServiceState {
	if st == nil || st.Service.IsAlias() {
		return nil
	}
	return st
}

// servedService finds the service of a cluster or load assignment, by any of
// its names.
func servedService(w naming.World, name string) *naming.ServiceState {
	if strings.HasPrefix(name, outboundPrefix) {
		return serviceOutbound(w, name)
	}
	return serviceNamed(w, name)
}

// servicesOfTarget lists the services, aliases among them, that a gRPC target
// can stand for: in groups of meanings, within a group the oldest first. A
// client gets the first that it may see. So nobody takes a target over by
// registering a service whose name looks alike.
func servicesOfTarget(w naming.World, name string) []*naming.ServiceState {
	var out []*naming.ServiceState
	for _, group := range meanings(name) {
		from := len(out)
		for _, key := range group {
			if st := w.Service(key); st != nil && served(naming.Resolve(w, key)) != nil {
				out = append(out, st)
			}
		}
		slices.SortFunc(out[from:], compareAge)
	}
	return out
}

// compareAge orders services by their creation, which the store keeps; it is
// the same on every server.
func compareAge(a, b *naming.ServiceState) int {
	return cmp.Or(cmp.Compare(a.Service.Created, b.Service.Created), a.Service.Key.Compare(b.Service.Key))
}

// maxTarget is the longest name in bytes that can stand for a service: every
// slash of the namespace escaped, and a port.
const maxTarget = len(escapedSlash)*naming.MaxNamespace + 1 + naming.MaxService + len(":65535")

// Targets lists, without ports, the names that a gRPC target of a service can
// have. [Affected] has no others, since ports make them countless: whoever
// caches listeners by name compares their names, with and [WithoutPort], with
// these when a service appears or disappears.
func Targets(key naming.ServiceKey) []string {
	return []string{ClusterName(key), key.Namespace + "/" + key.Name, key.Name + "." + key.Namespace}
}

// WithoutPort is a gRPC target without a port at its end, or the target itself.
func WithoutPort(target string) string {
	if at := strings.LastIndexByte(target, ':'); at > 0 && isPort(target[at+1:]) {
		return target[:at]
	}
	return target
}

// meanings lists what a gRPC target may stand for, in groups, best first: the
// name of a cluster; any cut into namespace/service or service.namespace, since
// both parts may contain the separator; the same without a port at the end.
func meanings(name string) [][]naming.ServiceKey {
	if len(name) > maxTarget {
		return nil
	}
	out := portless(nil, name)
	if host := WithoutPort(name); host != name {
		out = portless(out, host)
	}
	return out
}

// portless adds the meanings of a target that carries no port.
func portless(out [][]naming.ServiceKey, name string) [][]naming.ServiceKey {
	if key, ok := clusterKey(name); ok {
		out = append(out, []naming.ServiceKey{key})
	}
	return append(out, append(splits(name, '/', false), splits(name, '.', true)...))
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// splits lists the keys that name stands for when it is cut at one of its
// separators; last: the service stands before it. The bound on namespaces
// bounds their number, too.
func splits(name string, separator byte, last bool) []naming.ServiceKey {
	var out []naming.ServiceKey
	for at := 1; at < len(name)-1; at++ {
		if name[at] != separator {
			continue
		}
		key := naming.ServiceKey{Namespace: name[:at], Name: name[at+1:]}
		if last {
			key = naming.ServiceKey{Namespace: name[at+1:], Name: name[:at]}
		}
		if len(key.Namespace) <= naming.MaxNamespace && len(key.Name) <= naming.MaxService {
			out = append(out, key)
		}
	}
	return out
}
