package polaris

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// deterministic sorts maps, so that equal content has equal bytes.
var deterministic = proto.MarshalOptions{Deterministic: true}

// instances are those of a service, or of several that are shown as one.
type instances struct {
	first   *naming.ServiceState
	more    []*naming.ServiceState // in order of their namespace; nil unless merged
	asked   naming.ServiceKey
	healthy bool // only healthy ones
	loads   uint64
	scope   string // the key of what the reader sees, when there are more than one
}

// instancesOf finds what is asked for: the service of that namespace and name,
// of an alias its source. When there is none, the services of that name in
// other namespaces which export to the asked one are shown as one, as far as
// the reader may discover them.
func (s *Server) instancesOf(ctx context.Context, q *request, key naming.ServiceKey, healthy bool) (*instances, error) {
	w := s.World.World()
	if err := s.allow(ctx, q, w, key); err != nil {
		return nil, err
	}
	if key.Name == "" {
		return nil, naming.Errorf(naming.Invalid, naming.FieldService, "service: must not be empty")
	}
	if len(key.Name) > naming.MaxService || len(key.Namespace) > naming.MaxNamespace { // not repeated in the text
		return nil, naming.Errorf(naming.NotFound, "", "a service with so long a name does not exist")
	}
	out := &instances{asked: key, healthy: healthy, loads: w.Loads()}
	if out.first = naming.Resolve(w, key); out.first == nil {
		scope := s.scope(q)
		// Being exported makes a service visible under this name to those who may
		// discover it, and to nobody else.
		found := slices.DeleteFunc(naming.Exported(w, key), func(st *naming.ServiceState) bool { return !sees(scope, w, st.Service) })
		if len(found) == 0 {
			return nil, naming.Errorf(naming.NotFound, "", "service %q does not exist", key)
		}
		out.first, out.more, out.scope = found[0], found[1:], scope.Key
		return out, nil
	}
	if source := out.first.Service.Key; source != key {
		// Another name does not widen what somebody may read.
		if err := s.allow(ctx, q, w, source); err != nil {
			return nil, s.discreet(q, w, key, source, err)
		}
	}
	return out, nil
}

func (i *instances) place() place {
	p := place{typ: service_manage.DiscoverRequest_INSTANCE, service: i.first.Service.Key, healthy: i.healthy}
	if len(i.more) > 0 {
		p.service, p.merged, p.scope = i.asked, true, i.scope
	}
	return p
}

func (i *instances) version() version {
	v := version{revision: i.first.Revision, loads: i.loads}
	if len(i.more) == 0 {
		return v
	}
	sum := sha256.New()
	for st := range i.all {
		v.revision = max(v.revision, st.Revision)
		b := append([]byte(st.Service.Key.StoreKey()), 0)
		_, _ = sum.Write(binary.BigEndian.AppendUint64(b, uint64(st.Revision)))
	}
	sum.Sum(v.parts[:0])
	return v
}

// all walks the services.
func (i *instances) all(yield func(*naming.ServiceState) bool) {
	if !yield(i.first) {
		return
	}
	for _, st := range i.more {
		if !yield(st) {
			return
		}
	}
}

func (i *instances) revision() string {
	d := i.first.Digest()
	if len(i.more) > 0 {
		sum := sha256.New()
		for st := range i.all {
			part := st.Digest()
			_, _ = sum.Write(part[:])
		}
		sum.Sum(d[:0])
	}
	if i.healthy {
		return d.String() + "-healthy" // another view of the same content
	}
	return d.String()
}

// encode shows all instances, healthy or not, isolated or not, unless only
// healthy ones are asked for: SDKs choose. The service's own fields are those
// of the first service.
func (i *instances) encode() (data, error) {
	own := protoService(i.first.Service)
	own.Name, own.Namespace = nil, nil // as requested, so in each answer
	fields, err := deterministic.Marshal(own)
	if err != nil {
		return data{}, err
	}
	out := data{service: len(fields)}
	if out.fields, err = deterministic.MarshalAppend(fields, &service_manage.DiscoverResponse{AliasFor: &service_manage.Service{
		Namespace: wrapperspb.String(i.first.Service.Key.Namespace), Name: wrapperspb.String(i.first.Service.Key.Name),
	}}); err != nil {
		return data{}, err
	}
	var one []byte
	for st := range i.all {
		for _, in := range st.Instances {
			if i.healthy && !in.Healthy {
				continue
			}
			one = appendInstance(one[:0], in)
			out.fields = append(appendHead(out.fields, fieldInstances, len(one)), one...)
		}
	}
	return out, nil
}
