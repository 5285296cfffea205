package resource

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"polestar/naming"
)

// egressRoutes is the route table of our own egress listener.
func egressRoutes(w naming.World, own string, r *Reader) (*routev3.RouteConfiguration, []Problem) {
	hosts, problems := virtualHosts(w, own, r, ClusterName, nil)
	return &routev3.RouteConfiguration{Name: EgressRoutes, IgnorePortInHostMatching: true, VirtualHosts: hosts}, problems
}

// virtualHosts routes {service}.{namespace}, the same with each suffix, and
// {service} alone within the node's own namespace, to the service's cluster; an
// alias leads to the cluster of its service. Only what the namespace and r may
// see is there.
//
// Domains are compared without case, and one domain twice makes an Envoy
// refuse all routes. So each domain goes to the service that was there first;
// full names before those with a suffix, short ones last. A service that gets
// none is reported, and so is one whose name Envoy cannot read as a host.
func virtualHosts(w naming.World, own string, r *Reader, clusterOf func(naming.ServiceKey) string, suffixes []string) ([]*routev3.VirtualHost, []Problem) {
	services, problems := hosts(w, own, r)
	slices.SortFunc(services, compareAge)
	domains := make(map[naming.ServiceKey][]string, len(services))
	taken := make(map[string]naming.ServiceKey, (2+len(suffixes))*len(services))
	claim := func(key naming.ServiceKey, domain string) {
		domain = strings.ToLower(domain)
		if by, no := taken[domain]; no {
			problems = append(problems, Problem{
				Service: key.String(), Reason: "the domain " + domain + " leads to " + by.String() +
					": full names come before short ones, older services before newer ones",
			})
			return
		}
		taken[domain] = key
		domains[key] = append(domains[key], domain)
	}
	for _, suffix := range append([]string{""}, suffixes...) {
		for _, st := range services {
			claim(st.Service.Key, st.Service.Key.Name+"."+st.Service.Key.Namespace+suffix)
		}
	}
	for _, st := range services {
		if st.Service.Key.Namespace == own {
			claim(st.Service.Key, st.Service.Key.Name)
		}
	}
	slices.SortFunc(services, func(a, b *naming.ServiceState) int { return a.Service.Key.Compare(b.Service.Key) })
	var out []*routev3.VirtualHost
	for _, st := range services {
		if ds := domains[st.Service.Key]; len(ds) > 0 {
			to := naming.Resolve(w, st.Service.Key).Service
			set, _ := naming.StoredSettings(to.Metadata) // its cluster reports what is wrong
			out = append(out, &routev3.VirtualHost{
				Name: clusterOf(st.Service.Key), Domains: ds, Routes: []*routev3.Route{routeTo(clusterOf(to.Key), &set, Envoy)},
			})
		}
	}
	return out, problems
}

// hosts lists the services that can be hosts for clients of a namespace with the
// rights of r, and why others cannot.
func hosts(w naming.World, own string, r *Reader) (out []*naming.ServiceState, problems []Problem) {
	for st := range w.Services("") {
		if v := visibilityOf(w, st.Service); !v.shows(own, r) {
			continue
		}
		reason, lost := unreadable(st.Service.Key)
		if served(naming.Resolve(w, st.Service.Key)) == nil {
			reason, lost = "an alias of "+st.Service.AliasFor.String()+", which does not exist", true
		}
		if reason != "" {
			problems = append(problems, Problem{Service: st.Service.Key.String(), Reason: reason})
		}
		if !lost {
			out = append(out, st)
		}
	}
	return out, problems
}

// unreadable says what Envoy makes of a host that holds the service's name,
// when it is not what was meant, and whether the service is lost to it.
func unreadable(key naming.ServiceKey) (reason string, lost bool) {
	switch name := key.Name + "." + key.Namespace; {
	case strings.Contains(name, "/"):
		return "the name contains a slash: Envoy answers 400 to such a host, so no route leads there", true
	case strings.Contains(name, ":"):
		// The routes ignore ports, and Envoy cuts at the last colon.
		return "the name contains a colon: Envoy takes what follows the last colon of a host for a port, so only " +
			strings.ToLower(name) + ":<port> leads there", false
	default:
		return "", false
	}
}
