package polaris

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"polestar/naming"
)

// protoInstance is an instance as Discover shows it, through the protocol's own
// code.
func protoInstance(i *naming.Instance) *service_manage.Instance {
	out := &service_manage.Instance{
		Id:                wrapperspb.String(i.ID),
		Service:           wrapperspb.String(i.Service.Name),
		Namespace:         wrapperspb.String(i.Service.Namespace),
		VpcId:             wrapperspb.String(i.VpcID),
		Host:              wrapperspb.String(i.Host),
		Port:              wrapperspb.UInt32(i.Port),
		Protocol:          wrapperspb.String(i.Protocol),
		Version:           wrapperspb.String(i.Version),
		Priority:          wrapperspb.UInt32(i.Priority),
		Weight:            wrapperspb.UInt32(i.Weight),
		Healthy:           wrapperspb.Bool(i.Healthy),
		Isolate:           wrapperspb.Bool(i.Isolated),
		EnableHealthCheck: wrapperspb.Bool(i.TTL > 0),
		Location:          protoLocation(i.Location),
		LogicSet:          wrapperspb.String(i.LogicSet),
		Metadata:          shownMetadata(i),
		Ctime:             wrapperspb.String(timeText(i.Created)),
		Mtime:             wrapperspb.String(timeText(i.Modified)),
		Revision:          wrapperspb.String(strconv.FormatUint(uint64(i.Revision), 16)),
	}
	if i.TTL > 0 {
		out.HealthCheck = &service_manage.HealthCheck{
			Type:      service_manage.HealthCheck_HEARTBEAT,
			Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(i.TTL)},
		}
	}
	return out
}

func shownMetadata(i *naming.Instance) map[string]string {
	m := i.Metadata.Map()
	for _, p := range [...]naming.Pair{
		{Key: "version", Value: i.Version},
		{Key: "protocol", Value: i.Protocol},
		{Key: "region", Value: i.Location.Region},
		{Key: "zone", Value: i.Location.Zone},
		{Key: "campus", Value: i.Location.Campus},
	} {
		if p.Value != "" {
			m[p.Key] = p.Value
		}
	}
	return m
}

// An instance encoded by hand is what the generated code reads, whatever is in
// it, and its bytes depend on nothing else.
func TestInstancesAreEncodedAsTheProtocolSays(t *testing.T) {
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(120, 140, -1))
	number := rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32Range(1, 200), rapid.Uint32())
	keys := rapid.OneOf(text, rapid.SampledFrom([]string{"version", "protocol", "region", "zone", "campus"}))
	rapid.Check(t, func(t *rapid.T) {
		i := &naming.Instance{
			ID: text.Draw(t, "id"), Service: naming.ServiceKey{Namespace: text.Draw(t, "namespace"), Name: text.Draw(t, "service")},
			Host: text.Draw(t, "host"), Port: number.Draw(t, "port"), VpcID: text.Draw(t, "vpc"), Protocol: text.Draw(t, "protocol"),
			Version: text.Draw(t, "version"), LogicSet: text.Draw(t, "set"), Priority: number.Draw(t, "priority"), Weight: number.Draw(t, "weight"),
			Healthy: rapid.Bool().Draw(t, "healthy"), Isolated: rapid.Bool().Draw(t, "isolated"), TTL: number.Draw(t, "ttl"),
			Location: naming.Location{Region: text.Draw(t, "region"), Zone: text.Draw(t, "zone"), Campus: text.Draw(t, "campus")},
			Metadata: naming.NewMetadata(rapid.MapOfN(keys, text, 0, 8).Draw(t, "metadata")),
			Created:  naming.Micros(rapid.Int64Range(-1<<55, 1<<55).Draw(t, "created")), Modified: 1700000000_000000,
			Revision: naming.Revision(rapid.Uint64().Draw(t, "revision")),
		}
		raw := appendInstance([]byte("x"), i)[1:]
		var got service_manage.Instance
		if err := proto.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(protoInstance(i), &got, protocmp.Transform()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if again := appendInstance(nil, i); string(again) != string(raw) {
			t.Fatal("two encodings of one instance differ")
		}
	})
}
