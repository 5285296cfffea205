package xds

import (
	"testing"
	"testing/synctest"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"polestar/naming"
	"polestar/xds/resource"
)

// A service whose oldest instance is a name has its instances in its cluster,
// so the cluster follows them; one of addresses has not, and does not.
func TestClusterOfNamesFollowsItsInstances(t *testing.T) {
	run(t, func(t *testing.T, f *flow) {
		key := resource.Key{Type: resource.Cluster, Name: "n/s"}
		w := f.Cache().NewWatcher()
		defer w.Close()
		w.Subscribe(key)
		do := func(write naming.Write) {
			t.Helper()
			commit, results, err := f.data.Apply(t.Context(), []naming.Write{write})
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
			if err := f.Registry.Apply(commit); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put := func(id, host string) {
			t.Helper()
			do(&naming.Register{AutoCreate: true, Instance: naming.Instance{
				ID: id, Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: host, Port: 80, Weight: 100, Healthy: true,
			}})
		}
		is := func(why string, told bool, typ clusterv3.Cluster_DiscoveryType, hosts ...string) {
			t.Helper()
			var packed anypb.Any
			var c clusterv3.Cluster
			if r := w.Get(key.Type, key.Name); r == nil || proto.Unmarshal(r.Any, &packed) != nil || packed.UnmarshalTo(&c) != nil {
				t.Fatalf("%s: no cluster", why)
			}
			var got []string
			for _, l := range c.GetLoadAssignment().GetEndpoints() {
				for _, e := range l.GetLbEndpoints() {
					got = append(got, e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
				}
			}
			if len(got) != len(hosts) || len(got) > 0 && got[len(got)-1] != hosts[len(hosts)-1] || c.GetType() != typ {
				t.Errorf("%s: %s with %q, want %s with %q", why, c.GetType(), got, typ, hosts)
			}
			if d := w.Take(); d.Empty() == told {
				t.Errorf("%s: told %v", why, d)
			}
		}
		put("a", "a.example")
		is("the first instance is a name", true, clusterv3.Cluster_STRICT_DNS, "a.example")
		put("b", "b.example")
		is("another name", true, clusterv3.Cluster_STRICT_DNS, "a.example", "b.example")
		put("c", "10.0.0.1")
		is("an address comes later", true, clusterv3.Cluster_STRICT_DNS, "a.example", "b.example", "10.0.0.1")
		do(&naming.Deregister{ID: "a"})
		do(&naming.Deregister{ID: "b"})
		is("only the address is left", true, clusterv3.Cluster_EDS)
		put("d", "10.0.0.2")
		is("another address changes endpoints only", false, clusterv3.Cluster_EDS)
		put("e", "e.example")
		is("a name comes later", false, clusterv3.Cluster_EDS)
	})
}
