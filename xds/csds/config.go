package csds

import (
	"fmt"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"polestar/xds/ads"
)

// configs describes one client, in as many parts as its resources need to stay
// below limit bytes each; there is always one.
func configs(node *corev3.Node, c ads.ClientStatus, names []ads.NameStatus, brief bool, limit int) []*statusv3.ClientConfig {
	protocol := "state of the world"
	if c.Delta {
		protocol = "delta"
	}
	scope := fmt.Sprintf("stream %d, %s, %s, from %s, %s", c.ID, c.Service, protocol, c.Peer, c.View)
	if !c.Principal.Anonymous() {
		scope += ", as " + c.Principal.Name
	}
	part := func() *statusv3.ClientConfig {
		return &statusv3.ClientConfig{Node: node, ClientScope: scope}
	}
	out := []*statusv3.ClientConfig{part()}
	head := proto.Size(out[0])
	room := limit - head
	for _, n := range names {
		r := generic(n, brief)
		size := proto.Size(r) + maxPrefix
		last := out[len(out)-1]
		if size > room && len(last.GenericXdsConfigs) > 0 {
			last = part()
			out, room = append(out, last), limit-head
		}
		last.GenericXdsConfigs = append(last.GenericXdsConfigs, r)
		room -= size
	}
	return out
}

// maxPrefix is the most that a field's number and length take, in bytes.
const maxPrefix = 6

// generic describes one resource. version_info is what the client accepted;
// unless brief, a Struct in the place of the resource says what it was sent
// and should have.
func generic(n ads.NameStatus, brief bool) *statusv3.ClientConfig_GenericXdsConfig {
	out := &statusv3.ClientConfig_GenericXdsConfig{
		TypeUrl: n.Type.URL(), Name: n.Name, VersionInfo: n.Acked.Version, LastUpdated: stamp(n.Acked.At),
	}
	out.ConfigStatus, out.ClientStatus = states(n)
	if n.Refused.Version != "" {
		out.ErrorState = &adminv3.UpdateFailureState{
			LastUpdateAttempt: stamp(n.Refused.At), Details: n.Refused.Reason, VersionInfo: n.Refused.Version,
		}
	}
	if !brief {
		out.XdsConfig = versions(n)
	}
	return out
}

func states(n ads.NameStatus) (statusv3.ConfigStatus, adminv3.ClientResourceStatus) {
	switch n.State() {
	case ads.Synced:
		return statusv3.ConfigStatus_SYNCED, adminv3.ClientResourceStatus_ACKED
	case ads.Refused:
		return statusv3.ConfigStatus_ERROR, adminv3.ClientResourceStatus_NACKED
	case ads.Missing:
		return statusv3.ConfigStatus_NOT_SENT, adminv3.ClientResourceStatus_DOES_NOT_EXIST
	case ads.NotSent:
		return statusv3.ConfigStatus_NOT_SENT, adminv3.ClientResourceStatus_REQUESTED
	case ads.Stale:
		if n.Acked.Version != "" {
			return statusv3.ConfigStatus_STALE, adminv3.ClientResourceStatus_ACKED
		}
		return statusv3.ConfigStatus_STALE, adminv3.ClientResourceStatus_REQUESTED
	}
	return statusv3.ConfigStatus_UNKNOWN, adminv3.ClientResourceStatus_UNKNOWN
}

// versions packs what a client should have, was sent and accepted.
func versions(n ads.NameStatus) *anypb.Any {
	fields := map[string]*structpb.Value{}
	add := func(what string, f ads.Form, at time.Time) {
		if f.Version == "" {
			return
		}
		about := map[string]*structpb.Value{"version": structpb.NewStringValue(f.Version)}
		if f.Revision != 0 {
			about["revision"] = structpb.NewNumberValue(float64(f.Revision))
		}
		if !at.IsZero() {
			about["at"] = structpb.NewStringValue(at.UTC().Format(time.RFC3339Nano))
		}
		fields[what] = structpb.NewStructValue(&structpb.Struct{Fields: about})
	}
	add("current", n.Current, time.Time{})
	add("sent", n.Sent.Form, n.Sent.At)
	add("accepted", n.Acked.Form, n.Acked.At)
	if len(fields) == 0 {
		return nil
	}
	packed, err := anypb.New(&structpb.Struct{Fields: fields})
	if err != nil {
		return nil // a version that is not UTF-8 cannot have come in
	}
	return packed
}

// stamp is nil for the zero time, which means "not known".
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
