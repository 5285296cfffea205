package resource

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"pgregory.net/rapid"

	"polestar/naming"
)

// accountedNames checks the cluster of a service that is found by DNS: every
// instance is in it, reported, or takes no traffic by wish.
func accountedNames(r *rapid.T, w naming.World, key Key, c *clusterv3.Cluster, st *naming.ServiceState) {
	_, problems, _ := Build(w, key.Form(w))
	reported := map[string]bool{}
	for _, p := range problems {
		if !strings.Contains(p.Reason, "additional") {
			reported[p.Instance] = true
		}
	}
	set, _ := naming.StoredSettings(st.Service.Metadata)
	served, addresses := map[string]bool{}, map[string]bool{}
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			at := strings.ToLower(fmt.Sprint(a.GetAddress(), " ", a.GetPortValue()))
			if addresses[at] || a.GetAddress() == "" || a.GetPortValue() == 0 || len(e.GetEndpoint().GetAdditionalAddresses()) > 0 {
				r.Fatalf("endpoint %v", e)
			}
			addresses[at] = true
			served[e.GetMetadata().GetFilterMetadata()["envoy.lb"].GetFields()["hash_key"].GetStringValue()] = true
		}
	}
	want := clusterv3.Cluster_STRICT_DNS
	if key.Scope.Client == GRPC {
		if want = clusterv3.Cluster_LOGICAL_DNS; len(served) == 0 {
			want = clusterv3.Cluster_EDS
		} else if len(served) != 1 {
			r.Fatalf("gRPC refuses %v", c)
		}
	}
	if c.GetType() != want || (c.GetEdsClusterConfig() == nil) != (want != clusterv3.Cluster_EDS) || c.GetLoadAssignment() != nil && c.GetLoadAssignment().ValidateAll() != nil {
		r.Fatalf("%v, want the type %s", c, want)
	}
	for _, i := range st.Instances {
		id := i.ID
		if own, ok := i.Metadata.Get("hash_key"); ok {
			id = own
		}
		idle := i.Isolated || i.Weight == 0 || key.Scope.Client == GRPC && !i.Healthy && set.PanicThreshold == 0
		if !served[id] && !idle && !reported[i.ID] && (!set.TLS.Broken || !reported[""]) {
			r.Fatalf("%s is neither in %v nor in %v", i.ID, c, problems)
		}
	}
}
