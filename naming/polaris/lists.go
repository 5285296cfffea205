package polaris

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// services is the list of a namespace's services and of those which others
// export to it, as far as the reader may discover them; the empty namespace
// lists all there are.
type services struct {
	world     naming.World
	scope     auth.Scope
	namespace string
	business  string // empty: of any
}

func (l *services) place() place {
	return place{
		typ: service_manage.DiscoverRequest_SERVICES, service: naming.ServiceKey{Namespace: l.namespace}, business: l.business, scope: l.scope.Key,
	}
}

func (l *services) version() version {
	return version{revision: l.world.ServicesRevision(), loads: l.world.Loads()}
}

// all walks the listed services: the namespace's own first.
func (l *services) all(yield func(*naming.Service) bool) {
	lists := []iter.Seq[*naming.ServiceState]{l.world.Services(l.namespace)}
	if l.namespace != "" {
		lists = append(lists, l.world.ExportedTo(l.namespace))
	}
	for _, list := range lists {
		for st := range list {
			if (l.business == "" || st.Service.Business == l.business) && sees(l.scope, l.world, st.Service) && !yield(st.Service) {
				return
			}
		}
	}
}

// revision covers the services, not their instances, which have a revision of
// their own.
func (l *services) revision() string {
	sum := sha256.New()
	for svc := range l.all {
		d := svc.Digest()
		_, _ = sum.Write(d[:])
	}
	return short(sum.Sum(nil))
}

func (l *services) encode() (data, error) {
	out := &service_manage.DiscoverResponse{}
	for svc := range l.all {
		out.Services = append(out.Services, &service_manage.Service{
			Namespace: wrapperspb.String(svc.Key.Namespace),
			Name:      wrapperspb.String(svc.Key.Name),
			Metadata:  svc.Metadata.Map(),
			Business:  wrapperspb.String(svc.Business),
			Revision:  wrapperspb.String(svc.Digest().String()),
		})
	}
	return dataOf(out)
}

// namespaces is the list of all namespaces in which the reader may discover
// something.
type namespaces struct {
	world naming.World
	scope auth.Scope
}

func (l namespaces) place() place {
	return place{typ: service_manage.DiscoverRequest_NAMESPACES, scope: l.scope.Key}
}

func (l namespaces) version() version {
	return version{revision: l.world.Revision(), loads: l.world.Loads()}
}

// all walks the listed namespaces.
func (l namespaces) all(yield func(*naming.Namespace) bool) {
	for n := range l.world.Namespaces() {
		if l.scope.Sees(n, nil) && !yield(n) {
			return
		}
	}
}

// revision does not cover times, which differ by the server's time zone.
func (l namespaces) revision() string {
	sum := sha256.New()
	for n := range l.all {
		_, _ = fmt.Fprintf(sum, "%q %q %q\n", n.Name, n.Comment, n.Owner)
	}
	return short(sum.Sum(nil))
}

func (l namespaces) encode() (data, error) {
	out := &service_manage.DiscoverResponse{}
	for n := range l.all {
		out.Namespaces = append(out.Namespaces, &model.Namespace{
			Name:    wrapperspb.String(n.Name),
			Comment: wrapperspb.String(n.Comment),
			Owners:  wrapperspb.String(n.Owner),
			Ctime:   wrapperspb.String(timeText(n.Created)),
			Mtime:   wrapperspb.String(timeText(n.Modified)),
		})
	}
	return dataOf(out)
}

// dataOf encodes a message that has no service.
func dataOf(m *service_manage.DiscoverResponse) (data, error) {
	fields, err := deterministic.Marshal(m)
	return data{fields: fields}, err
}

// short is the first 40 hexadecimal digits of a digest, as wide as Polaris'
// revisions.
func short(sum []byte) string { return hex.EncodeToString(sum[:20]) }
