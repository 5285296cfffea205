package ads

import (
	"slices"

	"polestar/xds/resource"
)

// Lag is what one client lacks of a revision.
type Lag struct {
	Client    ClientStatus
	Concerned int          // resources looked at that mean something to the client
	Lacking   []NameStatus // those of which it has not accepted the revision, see [NameStatus.Has]
}

// Streams lists the connected clients that have said who they are, by the
// numbers of their streams, ascending.
func (s *Server) Streams() []uint64 {
	var out []uint64
	for _, st := range s.list() {
		st.mu.Lock()
		if st.machine != nil {
			out = append(out, st.id)
		}
		st.mu.Unlock()
	}
	return out
}

// Lag says what a client lacks of a revision, which must be in the cache: of
// the resources that are named, or of all when refs is nil. It is false when
// there is no such stream any more, or its client has not said who it is. A
// [Watch] tells when to look again.
func (s *Server) Lag(id, revision uint64, refs []resource.Ref) (Lag, bool) {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st == nil {
		return Lag{}, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.machine == nil {
		return Lag{}, false
	}
	l := Lag{}
	l.Client, _ = st.status()
	look := func(n NameStatus) {
		l.Concerned++
		if !n.Has(revision) {
			l.Lacking = append(l.Lacking, n)
		}
	}
	if refs == nil {
		st.machine.each(look)
	} else {
		st.machine.these(refs, look)
	}
	return l, true
}

// each walks every name of the machine, sorted by type and name.
func (m *Machine) each(look func(NameStatus)) {
	for _, t := range resource.Types() {
		names := m.channels[t].list()
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if n, ok := m.Lookup(t, name); ok {
				look(n)
			}
		}
	}
}

// these walks the named resources that mean something to the client.
func (m *Machine) these(refs []resource.Ref, look func(NameStatus)) {
	for _, ref := range refs {
		if n, ok := m.Lookup(ref.Type, ref.Name); ok {
			look(n)
		}
	}
}
