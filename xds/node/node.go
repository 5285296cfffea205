package node

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/naming"
	"polestar/xds/resource"
)

// The keys of the node metadata that are read. Values are strings.
const (
	KeyNamespace = "namespace"      // the node's own; default "default"
	KeyService   = "service"        // the service that the node belongs to; may be empty
	KeyEgress    = "egress_address" // ip:port of the egress listener; Envoy without it gets no listener
	KeyClient    = "client"         // envoy or grpc; default: what the user agent says
	KeyDraining  = "draining"       // true or false: Envoy wants isolated instances, marked; default false
)

// MaxText bounds each text that a node sends and that is kept, in bytes.
const MaxText = 256

// View is what one client sees.
type View struct {
	ID        string
	Cluster   string
	UserAgent string // name/version
	Client    resource.Client
	Kind      resource.Kind
	Namespace string
	Service   string
	Location  naming.Location
	Egress    netip.AddrPort // invalid: none
	Ingress   netip.AddrPort // of a sidecar or gateway; only the first has one
	BindPorts string         // of a sidecar, as 80,8080: ascending, each once
	Mutual    resource.Mutual
	OnDemand  bool // of a sidecar: asks for clusters one by one
	Draining  bool
	LEDS      uint32 // number of endpoints from which a service's are told one by one; 0: never
}

// Parse reads a node. Errors name the field and what is expected.
func Parse(n *corev3.Node) (*View, error) {
	v := &View{
		ID: n.GetId(), Cluster: n.GetCluster(), UserAgent: userAgent(n),
		Location: naming.Location{
			Region: n.GetLocality().GetRegion(), Zone: n.GetLocality().GetZone(), Campus: n.GetLocality().GetSubZone(),
		},
	}
	if v.ID == "" {
		return nil, errors.New("node.id: must not be empty")
	}
	for _, f := range [...]struct{ field, text string }{
		{"id", v.ID},
		{"cluster", v.Cluster},
		{"user_agent_name", v.UserAgent},
		{"locality.region", v.Location.Region},
		{"locality.zone", v.Location.Zone},
		{"locality.sub_zone", v.Location.Campus},
	} {
		if err := check("node."+f.field, f.text); err != nil {
			return nil, err
		}
	}
	read := v.metadata
	if !isGRPC(n) {
		if v.Kind, v.Namespace = polarisID(v.ID); v.Kind != resource.Plain {
			read = v.polaris
		}
	}
	if err := read(n); err != nil {
		return nil, err
	}
	if err := v.leds(n); err != nil {
		return nil, err
	}
	return v, nil
}

func isGRPC(n *corev3.Node) bool { return strings.HasPrefix(n.GetUserAgentName(), "gRPC") }

// metadata reads what the node says of itself in its own words.
func (v *View) metadata(n *corev3.Node) error {
	var polarisNamespace, polarisService, egress, client string
	for _, f := range [...]struct {
		key  string
		into *string
	}{
		{KeyNamespace, &v.Namespace},
		{KeyService, &v.Service},
		{KeyPolarisNamespace, &polarisNamespace},
		{KeyPolarisService, &polarisService},
		{KeyEgress, &egress},
		{KeyClient, &client},
	} {
		s, err := textOf(n, f.key)
		if err != nil {
			return err
		}
		*f.into = s
	}
	draining, err := looseTextOf(n, KeyDraining)
	if err != nil {
		return err
	}
	if v.Draining = draining == "true"; draining != "" && draining != "true" && draining != "false" {
		return fmt.Errorf("node.metadata.%s: %.64q is neither true nor false", KeyDraining, draining)
	}
	v.Namespace = cmp.Or(v.Namespace, polarisNamespace, naming.DefaultNamespace)
	v.Service = cmp.Or(v.Service, polarisService)
	if egress != "" {
		addr, err := listenAddress(KeyEgress, egress, 0)
		if err != nil {
			return err
		}
		v.Egress = addr
	}
	switch {
	case client == "grpc", client == "" && isGRPC(n):
		v.Client = resource.GRPC
	case client == "envoy", client == "":
		v.Client = resource.Envoy
	default:
		return fmt.Errorf("node.metadata.%s: %.64q is neither envoy nor grpc", KeyClient, client)
	}
	return nil
}

// textOf returns the value of a key of the metadata, empty when it is missing
// or null. Anything else than a text is refused: ignored, it would be a setting
// that has no effect and nobody knows why.
func textOf(n *corev3.Node, key string) (string, error) {
	field := "node.metadata." + key
	switch v := n.GetMetadata().GetFields()[key]; v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return "", nil
	case *structpb.Value_StringValue:
		return v.GetStringValue(), check(field, v.GetStringValue())
	default:
		return "", fmt.Errorf("%s: must be a string; put it in quotes", field)
	}
}

// check bounds a text that is kept, logged and shown.
func check(field, text string) error {
	switch {
	case len(text) > MaxText:
		return fmt.Errorf("%s: %d bytes, at most %d are allowed", field, len(text), MaxText)
	case !utf8.ValidString(text):
		return fmt.Errorf("%s: is not valid UTF-8", field)
	case strings.IndexFunc(text, unicode.IsControl) >= 0:
		return fmt.Errorf("%s: control characters are not allowed", field)
	}
	return nil
}

func userAgent(n *corev3.Node) string {
	version := n.GetUserAgentVersion()
	if v := n.GetUserAgentBuildVersion().GetVersion(); version == "" && v != nil {
		version = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	if version == "" {
		return n.GetUserAgentName()
	}
	return n.GetUserAgentName() + "/" + version
}

// Scope is everything that the resources depend on which the client is sent.
func (v *View) Scope() resource.Scope {
	s := resource.Scope{
		Client: v.Client, Kind: v.Kind, Namespace: v.Namespace, Service: v.Service,
		BindPorts: v.BindPorts, Mutual: v.Mutual, OnDemand: v.OnDemand,
		Location: v.Location, Draining: v.Draining, Collected: v.LEDS,
		Java: v.Client == resource.GRPC && strings.HasPrefix(v.UserAgent, "gRPC Java"),
	}
	if v.Egress.IsValid() {
		s.EgressAddress, s.EgressPort = v.Egress.Addr().Unmap().String(), uint32(v.Egress.Port())
	}
	if v.Ingress.IsValid() {
		s.IngressAddress, s.IngressPort = v.Ingress.Addr().Unmap().String(), uint32(v.Ingress.Port())
	}
	return s
}

// LegacyWildcard reports whether a first request without names means "all":
// so for Envoy; gRPC always names what it wants, and an empty list from it is
// an unsubscription.
func (v *View) LegacyWildcard() bool { return v.Client == resource.Envoy }

// NodeID is the id that the client gave itself.
func (v *View) NodeID() string { return v.ID }

// String describes the view for people.
func (v *View) String() string {
	kind := [...]string{"envoy", "sidecar", "gateway"}[v.Kind]
	if v.Client == resource.GRPC {
		kind = "grpc"
	}
	if v.Service != "" {
		return kind + " of " + v.Namespace + "/" + v.Service
	}
	return kind + " in " + v.Namespace
}
