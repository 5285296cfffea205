package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"polestar/internal/grpcserver"
)

// rules says of every gRPC method of every door who may call it: an action that
// auth is asked about, or what the door itself asks for. The tests of each door
// show that it is so; this table is where a new method is met.
var rules = map[string]map[string]string{
	"polaris": {
		"v1.PolarisGRPC/RegisterInstance":                     "register",
		"v1.PolarisGRPC/DeregisterInstance":                   "deregister",
		"v1.PolarisGRPC/Heartbeat":                            "heartbeat",
		"v1.PolarisGRPC/Discover":                             "discover", // each message
		"v1.PolarisGRPC/ReportClient":                         "report",
		"v1.PolarisServiceContractGRPC/ReportServiceContract": "contract",
		"v1.PolarisServiceContractGRPC/GetServiceContract":    "discover",
	},
	"heartbeat": {
		"v1.PolarisHeartbeatGRPC/BatchHeartbeat":    "the secret, else heartbeat of each instance",
		"v1.PolarisHeartbeatGRPC/BatchGetHeartbeat": "the secret, else heartbeat of each instance",
		"v1.PolarisHeartbeatGRPC/BatchDelHeartbeat": "the secret, else heartbeat of each instance",
	},
	"xds": {
		"envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": "subscribe",
		"envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":  "subscribe",
		"envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters":                 "subscribe",
		"envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters":                  "subscribe",
		"envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters":                  "nobody: not implemented",
		"envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints":              "subscribe",
		"envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints":               "subscribe",
		"envoy.service.endpoint.v3.EndpointDiscoveryService/FetchEndpoints":               "nobody: not implemented",
		"envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners":              "subscribe",
		"envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners":               "subscribe",
		"envoy.service.listener.v3.ListenerDiscoveryService/FetchListeners":               "nobody: not implemented",
		"envoy.service.route.v3.RouteDiscoveryService/StreamRoutes":                       "subscribe",
		"envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes":                        "subscribe",
		"envoy.service.route.v3.RouteDiscoveryService/FetchRoutes":                        "nobody: not implemented",
		"envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus":         "inspect",
		"envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus":          "inspect",
		"polestar.admin.v1.ReceiptService/Wait":                                           "inspect",
	},
	"peer": {"polestar.peer.v1.PeerService/Tell": "the secret of the cluster, or the certificate of a server"},
}

// everyDoor are the methods that each gRPC door has: balancers know no secret,
// and the protocols are public.
var everyDoor = []string{
	"grpc.health.v1.Health/Check", "grpc.health.v1.Health/List", "grpc.health.v1.Health/Watch",
	"grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

func TestEveryMethodOfEveryDoorHasARule(t *testing.T) {
	cfg := defaultConfig()
	cfg.DataDir, cfg.Store, cfg.MySQL.DSN = t.TempDir(), backendMySQL, "root@tcp(127.0.0.1:1)/polestar"
	cfg.Heartbeat.Addr, cfg.HeartbeatTokenFile = "127.0.0.1:0", secretFile(t, secretOfTests)
	cfg.Peer.Addr, cfg.Cluster.Address, cfg.Cluster.ID, cfg.Cluster.Secret = "127.0.0.1:0", "127.0.0.1:1", "a/b", secretOfTests
	a, err := newApp(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for name, door := range map[string]*grpcserver.Server{"polaris": a.polaris, "xds": a.xds, "heartbeat": a.beatDoor, "peer": a.peer} {
		var served []string
		for service, info := range door.GRPC().GetServiceInfo() {
			for _, m := range info.Methods {
				served = append(served, service+"/"+m.Name)
			}
		}
		slices.Sort(served)
		want := slices.Sorted(maps.Keys(rules[name]))
		want = append(want, everyDoor...)
		slices.Sort(want)
		if diff := cmp.Diff(want, served); diff != "" {
			t.Errorf("%s door: methods with a rule and methods that are served differ (-rules +served):\n%s", name, diff)
		}
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	}
}
