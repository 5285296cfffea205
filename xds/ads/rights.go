package ads

import (
	"context"
	"net"
	"time"

	"polestar/auth"
	"polestar/naming"
	"polestar/xds/resource"
)

// restricted is the view of a client with the rights of its principal.
type restricted struct {
	View
	reader *resource.Reader
}

// Scope implements [View].
func (v restricted) Scope() resource.Scope {
	s := v.View.Scope()
	s.Reader = v.reader
	return s
}

// selfOf is what a node says to be: a service, or something in a namespace.
func selfOf(v View) naming.ServiceKey {
	s := v.Scope()
	return naming.ServiceKey{Namespace: s.Namespace, Name: s.Service}
}

// holderOf is whose a stream is, where many count together: its principal's, or
// that of its address.
func holderOf(p auth.Principal, peer string) string {
	if !p.Anonymous() {
		return "principal " + p.ID
	}
	if host, _, err := net.SplitHostPort(peer); err == nil {
		return host
	}
	return peer
}

// A review looks at every stream within reviewTime: streams that end come back,
// and all at one moment would be a stampede.
const (
	reviewTime  = 2 * time.Second
	reviewSteps = 100
	reviewLeast = 64 // streams per step
)

// review ends the streams whose rights have changed.
func (s *Server) review(ctx context.Context) {
	all := s.list()
	step := max(reviewLeast, (len(all)+reviewSteps-1)/reviewSteps)
	pause := time.NewTicker(reviewTime / reviewSteps)
	defer pause.Stop()
	for len(all) > 0 {
		n := min(step, len(all))
		for _, st := range all[:n] {
			st.review() //nolint:contextcheck // a stream is judged by its own context, which shows who it is
		}
		if all = all[n:]; len(all) == 0 {
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// review ends the stream if its rights have changed.
func (st *stream) review() {
	st.mu.Lock()
	known, rights, shown := st.machine != nil, st.rights, st.shown
	var as naming.ServiceKey
	if known {
		as = selfOf(st.view)
	}
	st.mu.Unlock()
	if !known {
		return // it is asked when it says who it is, by what holds now
	}
	if err := st.server.Access.Again(st.grpc.Context(), rights, shown, as); err != nil {
		select {
		case st.end <- err:
		default: // it ends already
		}
	}
}

// Scope is what a client is and may see; false when there is no such stream, or
// its client has not said who it is.
func (s *Server) Scope(id uint64) (resource.Scope, bool) {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st == nil {
		return resource.Scope{}, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.machine == nil {
		return resource.Scope{}, false
	}
	return st.view.Scope(), true
}
