package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"polestar/naming"
	"polestar/xds/resource"
)

// The keys of the node metadata that are read. Values are strings.
const (
	KeyNamespace = "namespace"      // the node's own; default "default"
	KeyService   = "service"        // the service that the node belongs to; may be empty
	KeyEgress    = "egress_address" // ip:port of the egress listener; Envoy without it gets no listener
)

// maxText bounds each text that a node sends and that is kept, in bytes.
const maxText = 256

// View is what one client sees.
type View struct {
	ID        string
	Cluster   string
	UserAgent string // name/version
	Client    resource.Client
	Namespace string
	Service   string
	Location  naming.Location
	Egress    netip.AddrPort // invalid: none
}

// Parse reads a node. Errors name the field and what is expected.
func Parse(n *corev3.Node) (*View, error) {
	v := &View{
		ID: n.GetId(), Cluster: n.GetCluster(), Namespace: naming.DefaultNamespace,
		UserAgent: n.GetUserAgentName(),
		Location: naming.Location{
			Region: n.GetLocality().GetRegion(), Zone: n.GetLocality().GetZone(), Campus: n.GetLocality().GetSubZone(),
		},
	}
	if ver := userAgentVersion(n); ver != "" {
		v.UserAgent += "/" + ver
	}
	if v.ID == "" {
		return nil, errors.New("node.id: must not be empty")
	}
	if strings.HasPrefix(n.GetUserAgentName(), "gRPC") {
		v.Client = resource.GRPC
	}
	var egress string
	for key, into := range map[string]*string{KeyNamespace: &v.Namespace, KeyService: &v.Service, KeyEgress: &egress} {
		if s := n.GetMetadata().GetFields()[key].GetStringValue(); s != "" {
			*into = s
		}
	}
	for field, text := range map[string]string{
		"node.id": v.ID, "node.cluster": v.Cluster, "node.user_agent_name": v.UserAgent,
		"node.metadata." + KeyNamespace: v.Namespace, "node.metadata." + KeyService: v.Service,
		"node.locality.region": v.Location.Region, "node.locality.zone": v.Location.Zone,
		"node.locality.sub_zone": v.Location.Campus,
	} {
		if len(text) > maxText {
			return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", field, len(text), maxText)
		}
		if strings.IndexFunc(text, unicode.IsControl) >= 0 {
			return nil, fmt.Errorf("%s: control characters are not allowed", field)
		}
	}
	if egress != "" {
		addr, err := netip.ParseAddrPort(egress)
		if err != nil || addr.Port() == 0 || addr.Addr().Zone() != "" {
			return nil, fmt.Errorf("node.metadata.%s: %.64q is not ip:port, as in 127.0.0.1:15001", KeyEgress, egress)
		}
		v.Egress = addr
	}
	return v, nil
}

func userAgentVersion(n *corev3.Node) string {
	if v := n.GetUserAgentVersion(); v != "" {
		return v
	}
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	return ""
}

// Scope is the key under which resources of type t are shared with all
// clients that see the same.
func (v *View) Scope(t resource.Type) resource.Scope {
	s := resource.Scope{Client: v.Client, Namespace: v.Namespace}
	if v.Egress.IsValid() {
		s.EgressAddress, s.EgressPort = v.Egress.Addr().String(), uint32(v.Egress.Port())
	}
	return s.For(t)
}

// LegacyWildcard reports whether a first request without names means "all":
// so for Envoy; gRPC always names what it wants, and an empty list from it is
// an unsubscription.
func (v *View) LegacyWildcard() bool { return v.Client == resource.Envoy }

// NodeID is the id that the client gave itself.
func (v *View) NodeID() string { return v.ID }

// String describes the view for people.
func (v *View) String() string {
	kind := "envoy"
	if v.Client == resource.GRPC {
		kind = "grpc"
	}
	return kind + " in " + v.Namespace
}
