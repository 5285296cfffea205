package resource

import (
	"slices"
	"strings"

	"polestar/naming"
)

// Sharing says who shares one resource, by type and name, with whom: it reduces
// the scope of a client to the variant that the client sees. It follows from
// the registered world; whoever caches resources asks anew when the service
// itself may have changed. The zero value shares among equal scopes.
type Sharing struct {
	by    sharedBy
	alone bool // no wildcard holds it

	visible *visibility     // byService; nil: of no service
	absent  bool            // byService: there is no such service
	near    naming.Nearness // how much of a client's location counts
	drains  bool            // whether it counts that a client wants isolated instances
	detects bool            // whether it counts that a client cannot detect outliers
	targets []target        // byTarget, best first
}

type sharedBy uint8

const (
	byScope   sharedBy = iota // every field of the scope counts
	byService                 // cluster and endpoints of a service
	byTarget                  // listener; for gRPC that of a service
)

// target is a service that a gRPC target can stand for, and who sees it.
type target struct {
	service naming.ServiceKey
	visible visibility
}

// SharingOf says how a resource is shared in world w.
func SharingOf(w naming.World, t Type, name string) Sharing {
	switch t {
	case Cluster, Endpoints, LbEndpoint:
		if strings.HasPrefix(name, inboundPrefix) {
			return Sharing{alone: true}
		}
		out := Sharing{by: byService, absent: name != passthrough && name != inboundPassthrough}
		if st := servedService(w, name); st != nil {
			out.visible, out.absent = new(visibilityOf(w, st.Service)), false
			set, _ := naming.StoredSettings(st.Service.Metadata)
			if t != Cluster {
				out.near, out.drains = set.Nearby, drains(&set)
			} else {
				out.detects = outlier(&set.Outlier, GRPC) != nil
			}
		}
		return out
	case Listener:
		out := Sharing{by: byTarget, alone: name != EgressListener && name != outboundListener}
		for _, st := range servicesOfTarget(w, name) {
			out.targets = append(out.targets, target{st.Service.Key, visibilityOf(w, st.Service)})
		}
		return out
	default:
		return Sharing{}
	}
}

// Variant is what clients of a scope see of the resource. The scope is as
// [Scope.Of] makes it.
func (s *Sharing) Variant(of Scope) Variant {
	switch {
	case s.by == byService && (!s.visible.shows(of.Namespace, of.Reader) || s.absent && of.Reader != nil):
		return Variant{Scope: Scope{Client: of.Client, Kind: of.Kind}, Hidden: true}
	case s.by == byService:
		of.Reader, of.Namespace, of.Location, of.Draining = nil, "", of.Location.Reduce(s.near), of.Draining && s.drains
		of.Java = of.Java && s.detects
		return Variant{Scope: of, Audience: string(s.visible.whom()), Makers: s.visible.makers()}
	case s.by == byTarget && of.Client == GRPC:
		namespace, reader := of.Namespace, of.Reader
		of.Namespace, of.Reader = "", nil
		for n := range s.targets {
			if to := &s.targets[n]; to.visible.shows(namespace, reader) {
				return Variant{Scope: of, Target: to.service, Audience: string(to.visible.audience), Makers: to.visible.makers()}
			}
		}
		return Variant{Scope: of, Hidden: true}
	default:
		return Variant{Scope: of}
	}
}

// Member returns the variant of the resource that belongs to a part of a
// wildcard (see [Scope.Parts]), when it exists; false when none can.
func (s *Sharing) Member(part Scope) (Variant, bool) {
	if s.alone || s.by == byService && (part.Namespace == "") != (s.visible.whom() == everybody) {
		return Variant{}, false
	}
	v := s.Variant(part)
	return v, !v.Hidden
}

// Equal reports whether two give every client the same variant.
func (s *Sharing) Equal(o *Sharing) bool {
	return s.by == o.by && s.alone == o.alone && s.absent == o.absent && s.visible.equal(o.visible) && s.near == o.near && s.drains == o.drains && s.detects == o.detects &&
		slices.Equal(s.targets, o.targets)
}

// audience is who may see something: namespaces with NULs around them.
type audience string

// everybody is the audience of what is not restricted.
const everybody audience = ""

func audienceFor(namespaces []string) audience {
	if namespaces == nil {
		return everybody
	}
	return audience("\x00" + strings.Join(namespaces, "\x00") + "\x00")
}

func (a audience) sees(namespace string) bool {
	return a == everybody || namespace != "" && strings.Contains(string(a), "\x00"+namespace+"\x00")
}

// audienceOf is who may see a service; an alias must not show what the service
// that it stands for hides.
func audienceOf(w naming.World, s *naming.Service) audience {
	own := audienceList(w, s)
	if !s.IsAlias() {
		return audienceFor(own)
	}
	st := w.Service(s.AliasFor)
	if st == nil {
		return audienceFor(own)
	}
	switch theirs := audienceList(w, st.Service); {
	case own == nil:
		return audienceFor(theirs)
	case theirs == nil:
		return audienceFor(own)
	default:
		return audienceFor(slices.DeleteFunc(own, func(ns string) bool { return !slices.Contains(theirs, ns) }))
	}
}

// audienceList lists the namespaces that see a service, sorted; nil: all. It
// says the same as [naming.Visible].
func audienceList(w naming.World, s *naming.Service) []string {
	list := naming.ExportList(w, s)
	if len(list) == 0 || slices.Contains(list, "*") {
		return nil
	}
	out := append([]string{s.Key.Namespace}, list...)
	slices.Sort(out)
	return slices.Compact(out)
}
