package polaris_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// onlyHTTP are codes of the table that no method of this door can answer; door
// 3 has them from the same kinds of errors.
var onlyHTTP = []uint32{
	400002, 400121, 400124, 400125, 400126, 400128, 400201, 400203, 400204, 400210, 400504,
}

// TestEveryCodeOverTheWire provokes each code that the door has a text for.
func TestEveryCodeOverTheWire(t *testing.T) {
	script := &scripted{}
	d := open(t, func(o *setup) {
		o.registry = func(r polaris.Registry) polaris.Registry { script.Registry = r; return script }
	})
	whole := open(t)
	strict := open(t, func(s *setup) { s.noAuto = true })
	if _, err := strict.operator.PutNamespace(t.Context(), naming.PutNamespace{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	whole.register(t, message("n", "a", 1))
	whole.alias(t, key("n", "alias"), key("n", "a"))
	whole.squat(t, key("m", "b"), naming.InstanceID(key("n", "a"), "", "10.0.0.1", 5))
	loading, denying := open(t), open(t)
	loading.loading.Store(true)
	people := known(map[string][]string{"ann": nil, "off": nil})
	people[slices.IndexFunc(people, func(p person) bool { return p.Name == "off" })].hold = auth.Disabled
	denying.guard.admit(people)
	shows := func(token string) func(*service_manage.Instance) {
		return func(i *service_manage.Instance) { i.ServiceToken = str(token) }
	}

	register := func(d *door, change func(*service_manage.Instance)) coded {
		in := message("n", "a", 80)
		change(in)
		res, err := d.RegisterInstance(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	fails := func(kind naming.ErrorKind) coded {
		script.mu.Lock()
		script.err = &naming.Error{Kind: kind}
		script.mu.Unlock()
		return register(d, func(*service_manage.Instance) {})
	}
	beat := func(port uint32) coded {
		res, err := whole.Heartbeat(t.Context(), message("n", "a", port))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	long := str(string(make([]byte, 200)))
	again := func() coded {
		stream := whole.discover(t)
		return stream.instances(t, "n", "alias", stream.instances(t, "n", "a", "").GetService().GetRevision().GetValue())
	}
	got := map[uint32]bool{}
	for want, answer := range map[uint32]coded{
		200000: register(whole, func(*service_manage.Instance) {}),
		200001: again(),
		400004: whole.discover(t).ask(t, query(service_manage.DiscoverRequest_CLUSTER, "n", "a", "")),
		400103: register(whole, func(i *service_manage.Instance) { i.Weight = num(65536) }),
		400110: register(whole, func(i *service_manage.Instance) { i.Namespace = nil }),
		400120: register(whole, func(i *service_manage.Instance) { i.Service = nil }),
		400130: register(whole, func(i *service_manage.Instance) { i.Id = long }),
		400131: register(whole, func(i *service_manage.Instance) { i.Host = nil }),
		400132: register(whole, func(i *service_manage.Instance) { i.Port = nil }),
		400136: register(whole, func(i *service_manage.Instance) { i.Protocol = long }),
		400137: register(whole, func(i *service_manage.Instance) { i.Version = long }),
		400138: register(whole, func(i *service_manage.Instance) { i.LogicSet = long }),
		400141: beat(1),
		400150: register(whole, func(i *service_manage.Instance) { i.Metadata = map[string]string{"": ""} }),
		400202: beat(2),
		400301: register(strict, func(*service_manage.Instance) {}),
		400305: register(strict, func(i *service_manage.Instance) { i.Namespace = str("m") }),
		400501: contractTo(t, whole, "alias"),
		400502: register(whole, func(i *service_manage.Instance) { i.Service = str("alias") }),
		401000: register(denying, func(*service_manage.Instance) {}),
		401001: register(denying, shows("ann-token")),
		401003: register(denying, shows("off-token")),
		401004: register(denying, shows("wrong")),
		409000: removed(t, whole, message("n", "a", 5)),
		429001: fails(naming.Overloaded),
		429002: hurried(t),
		500000: register(loading, func(*service_manage.Instance) {}),
		500001: fails(naming.StoreFailed),
		500008: fails(naming.NotDone),
	} {
		if code := answer.GetCode().GetValue(); code != want {
			t.Errorf("code %d (%s), want %d", code, answer.GetInfo().GetValue(), want)
		}
		got[want] = true
	}
	for _, code := range onlyHTTP {
		got[code] = true
	}
	if diff := cmp.Diff(polaris.Codes(), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("codes that the door knows and those provoked here differ (-known +provoked):\n%s", diff)
	}
}

// hurried is what an address is told that asks again at once.
func hurried(t *testing.T) coded {
	t.Helper()
	s, _ := paced(t, 1, 0)
	var last coded
	for range 1000 {
		res, err := s.RegisterInstance(from(t, "10.0.0.1"), message("n", "a", 1))
		if err != nil {
			t.Fatal(err)
		}
		if last = res; res.GetCode().GetValue() != 200000 {
			break
		}
	}
	return last
}

func contractTo(t *testing.T, d *door, service string) coded {
	t.Helper()
	c := contract()
	c.Service = service
	res, err := d.ReportServiceContract(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func removed(t *testing.T, d *door, in *service_manage.Instance) coded {
	t.Helper()
	res, err := d.DeregisterInstance(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
