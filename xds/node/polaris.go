package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"polestar/xds/resource"
)

// The keys that an Envoy set up for Polaris uses. The labels of its pod stand
// among them, so our own keys mean nothing there, but for the two addresses.
const (
	KeyPolarisNamespace = "sidecar.polarismesh.cn/serviceNamespace"
	KeyPolarisService   = "sidecar.polarismesh.cn/serviceName"
	KeyPolarisPorts     = "sidecar.polarismesh.cn/bindPorts" // as in 80,8080
	KeyPolarisTLS       = "polarismesh.cn/tls-mode"          // none, permissive or strict
	KeyPolarisOnDemand  = "sidecar.polarismesh.cn/openOnDemand"

	KeyGatewayNamespace    = "gateway.polarismesh.cn/serviceNamespace"
	KeyGatewayService      = "gateway.polarismesh.cn/serviceName"
	KeyOldGatewayNamespace = "gateway_namespace"
	KeyOldGatewayService   = "gateway_service"

	// KeyIngress is ours: ip:port of a sidecar's inbound listener, instead of
	// 0.0.0.0:15006. KeyEgress moves the outbound one from 0.0.0.0:15001.
	KeyIngress = "ingress_address"
)

// polarisID reads what Polaris puts into the id of an Envoy:
// sidecar~namespace/uuid~ip, gateway~namespace/uuid~ip, and namespace/uuid~ip,
// which is a sidecar; there the ip must be one. Anything else is plain.
func polarisID(id string) (kind resource.Kind, namespace string) {
	rest := id
	switch before, after, _ := strings.Cut(id, "~"); before {
	case "sidecar":
		kind, rest = resource.Sidecar, after
	case "gateway":
		kind, rest = resource.Gateway, after
	}
	path, ip, ok := strings.Cut(rest, "~")
	slash := strings.LastIndexByte(path, '/')
	if !ok || slash < 1 || slash == len(path)-1 || ip == "" || strings.Contains(ip, "~") {
		return resource.Plain, ""
	}
	if kind == resource.Plain {
		if _, err := netip.ParseAddr(ip); err != nil {
			return resource.Plain, ""
		}
		kind = resource.Sidecar
	}
	return kind, path[:slash]
}

// polaris reads the metadata of an Envoy set up for Polaris.
func (v *View) polaris(n *corev3.Node) error {
	m, err := polarisMetadata(n)
	if err != nil {
		return err
	}
	if v.Egress, err = listenAddress(KeyEgress, m[KeyEgress], resource.OutboundPort); err != nil {
		return err
	}
	switch tls := m[KeyPolarisTLS]; strings.ToLower(tls) {
	case "", "none":
	case "permissive":
		v.Mutual = resource.MutualPermissive
	case "strict":
		v.Mutual = resource.MutualStrict
	default: // taken for none, secrets would go in the clear
		return fmt.Errorf("node.metadata.%s: %.64q is neither none nor permissive nor strict", KeyPolarisTLS, tls)
	}
	if v.Kind == resource.Gateway {
		v.Namespace = cmp.Or(m[KeyGatewayNamespace], m[KeyOldGatewayNamespace], v.Namespace)
		v.Service = cmp.Or(m[KeyGatewayService], m[KeyOldGatewayService])
		return nil
	}
	v.Namespace, v.Service = cmp.Or(m[KeyPolarisNamespace], v.Namespace), m[KeyPolarisService]
	switch onDemand := m[KeyPolarisOnDemand]; onDemand {
	case "", "false":
	case "true":
		v.OnDemand = true
	default:
		return fmt.Errorf("node.metadata.%s: %.64q is neither true nor false", KeyPolarisOnDemand, onDemand)
	}
	if v.BindPorts, err = bindPorts(m[KeyPolarisPorts]); err != nil {
		return err
	}
	v.Ingress, err = listenAddress(KeyIngress, m[KeyIngress], resource.InboundPort)
	return err
}

// polarisMetadata reads the values of Polaris' keys and of our two.
func polarisMetadata(n *corev3.Node) (map[string]string, error) {
	out := map[string]string{}
	for _, key := range []string{
		KeyPolarisNamespace, KeyPolarisService, KeyPolarisPorts, KeyPolarisTLS, KeyPolarisOnDemand,
		KeyGatewayNamespace, KeyGatewayService, KeyOldGatewayNamespace, KeyOldGatewayService, KeyEgress, KeyIngress,
	} {
		text, err := looseTextOf(n, key)
		if err != nil {
			return nil, err
		}
		out[key] = text
	}
	return out, nil
}

// bindPorts brings a list of ports into its one canonical form.
func bindPorts(list string) (string, error) {
	var ports []uint16
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return "", fmt.Errorf("node.metadata.%s: %.64q is not a port from 1 to 65535", KeyPolarisPorts, text)
		}
		ports = append(ports, uint16(port))
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(ports) > resource.MaxInboundPorts {
		return "", fmt.Errorf("node.metadata.%s: %d ports, at most %d are allowed", KeyPolarisPorts, len(ports), resource.MaxInboundPorts)
	}
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = strconv.Itoa(int(port))
	}
	return strings.Join(texts, ","), nil
}

// listenAddress parses an address to listen on; empty means the port on all
// interfaces, as Polaris has it.
func listenAddress(key, text string, port uint16) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.Port() == 0 || addr.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("node.metadata.%s: %.64q is not ip:port, as in 127.0.0.1:15001 or [::1]:15001", key, text)
	}
	return addr, nil
}

// looseTextOf is [textOf] for keys that also take a number or a bool, as they do
// at Polaris: bindPorts: 80 needs no quotes.
func looseTextOf(n *corev3.Node, key string) (string, error) {
	switch v := n.GetMetadata().GetFields()[key]; v.GetKind().(type) {
	case *structpb.Value_NumberValue:
		return strconv.FormatFloat(v.GetNumberValue(), 'f', -1, 64), nil
	case *structpb.Value_BoolValue:
		return strconv.FormatBool(v.GetBoolValue()), nil
	default:
		return textOf(n, key)
	}
}
