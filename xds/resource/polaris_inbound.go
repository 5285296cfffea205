package resource

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"polestar/naming"
)

// MaxInboundPorts bounds the ports of one application that its sidecars handle
// as HTTP; each costs them a filter chain.
const MaxInboundPorts = 64

// inbound is what a sidecar has to know of the application behind it.
type inbound struct {
	key      naming.ServiceKey
	ports    []uint16 // that speak HTTP, ascending
	revision naming.Revision
	problems []Problem
}

// inboundOf finds out on which ports the application speaks HTTP: those that
// the node names, else those that its service registered. A port that an
// instance registered with another protocol is not among them; what comes in
// there passes untouched.
func inboundOf(w naming.World, s Scope) inbound {
	key, _ := s.self()
	out := inbound{key: key, revision: 1}
	http := map[uint16]bool{}
	if st := w.Service(key); st != nil && s.Reader.SeesService(w, key) {
		out.revision = max(1, st.Revision)
		for _, i := range st.Instances {
			if i.Port == 0 || i.Port > math.MaxUint16 {
				continue // reported where it is left out of the endpoints
			}
			port := uint16(i.Port)
			others, seen := http[port]
			http[port] = speaksHTTP(i.Protocol) && (others || !seen)
		}
	}
	if s.BindPorts != "" {
		for port := range portsIn(s.BindPorts) {
			if on, seen := http[port]; on || !seen {
				out.ports = append(out.ports, port)
			}
		}
	} else {
		for port, on := range http {
			if on {
				out.ports = append(out.ports, port)
			}
		}
	}
	slices.Sort(out.ports)
	if n := len(out.ports); n > MaxInboundPorts {
		out.ports = out.ports[:MaxInboundPorts]
		out.problems = []Problem{{
			Service: key.String(), Reason: strconv.Itoa(n) + " ports: sidecars handle the lowest " + strconv.Itoa(MaxInboundPorts) +
				" as HTTP and pass the others through; name those that matter in the node's bindPorts",
		}}
	}
	return out
}

// speaksHTTP reports whether a registered protocol is one that Envoy can read:
// HTTP or gRPC in the clear; also none at all, as most SDKs register.
func speaksHTTP(protocol string) bool {
	p := strings.ToLower(protocol)
	return p == "" || p == "h2c" || strings.HasPrefix(p, "grpc") || strings.HasPrefix(p, "http") && !strings.HasPrefix(p, "https")
}

// portsIn walks the ports of [Scope.BindPorts].
func portsIn(list string) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for text := range strings.SplitSeq(list, ",") {
			if port, err := strconv.ParseUint(text, 10, 16); err == nil && !yield(uint16(port)) {
				return
			}
		}
	}
}
