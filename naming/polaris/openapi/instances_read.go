package openapi

import (
	"context"
	"maps"
	"slices"

	"github.com/polarismesh/specification/source/go/api/v1/model"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/naming"
	"polestar/naming/polaris"
)

func findInstances(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
	fits, err := instanceFilter(q)
	if err != nil {
		return nil, err
	}
	v, found := c.view(), page[*naming.Instance]{q: q}
	for st := range v.services(q, "namespace", "service") {
		for _, i := range st.Instances {
			if fits(i) {
				found.add(i)
			}
		}
	}
	out := found.answer()
	for _, i := range found.items {
		form, err := instanceForm(i)
		if err != nil {
			return nil, err
		}
		out.Instances = append(out.Instances, form)
	}
	return out, nil
}

// instanceForm is an instance as the console shows it. It sends back what it
// was shown: the labels that SDKs see beside the metadata are not among it.
func instanceForm(i *naming.Instance) (*service_manage.Instance, error) {
	out, err := polaris.InstanceForm(i)
	if err != nil {
		return nil, err
	}
	out.Metadata = i.Metadata.Map()
	return out, nil
}

// instanceFilter is what a query says of instances besides their service.
func instanceFilter(q *query) (func(*naming.Instance) bool, error) {
	meta, err := q.pairs("keys", "values")
	if err != nil {
		return nil, err
	}
	flags, err := readAll(q.flag, "healthy", "health_status", "isolate")
	if err != nil {
		return nil, err
	}
	numbers, err := readAll(q.count, "port", "weight", "priority")
	if err != nil {
		return nil, err
	}
	return func(i *naming.Instance) bool {
		return q.text("id", i.ID) && q.text("host", i.Host) && q.text("protocol", i.Protocol) && q.text("version", i.Version) &&
			q.text("logic_set", i.LogicSet) && q.text("cmdb_region", i.Location.Region) && q.text("cmdb_zone", i.Location.Zone) &&
			q.text("cmdb_idc", i.Location.Campus) && meta.in(i.Metadata) &&
			is(flags[0], i.Healthy) && is(flags[1], i.Healthy) && is(flags[2], i.Isolated) &&
			is(numbers[0], int(i.Port)) && is(numbers[1], int(i.Weight)) && is(numbers[2], int(i.Priority))
	}, nil
}

// readAll reads filters of one kind.
func readAll[T any](one func(string) (*T, error), names ...string) ([]*T, error) {
	out := make([]*T, len(names))
	for n, name := range names {
		var err error
		if out[n], err = one(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// is reports whether a value passes a filter; nil lets all pass.
func is[T comparable](want *T, value T) bool { return want == nil || *want == value }

// labels are the metadata of the instances of one service: each key with its
// values.
func labels(_ context.Context, c *call) reply {
	q, err := c.query("namespace", "service")
	if err != nil {
		return answer(err)
	}
	key := naming.ServiceKey{Namespace: q.values["namespace"], Name: q.values["service"]}
	if key.Namespace == "" || key.Name == "" {
		return answer(coded{400104, "namespace, service: both are needed"})
	}
	v := c.view()
	st := naming.Resolve(v.World, key)
	if st == nil || !v.sees(st.Service) {
		return answer(naming.Errorf(naming.NotFound, naming.FieldService, "service %q does not exist", key))
	}
	sets := map[string]map[string]bool{}
	for _, i := range st.Instances {
		for _, p := range i.Metadata {
			if sets[p.Key] == nil {
				sets[p.Key] = map[string]bool{}
			}
			sets[p.Key][p.Value] = true
		}
	}
	out := answer(nil)
	out.InstanceLabels = &service_manage.InstanceLabels{
		Namespace: key.Namespace, Service: key.Name, ServiceId: st.Service.ID, Labels: map[string]*model.StringList{},
	}
	for k, values := range sets {
		out.InstanceLabels.Labels[k] = &model.StringList{Values: slices.Sorted(maps.Keys(values))}
	}
	return out
}
