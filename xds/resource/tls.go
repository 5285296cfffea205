package resource

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
)

// transportSocket encrypts connections to a service's endpoints; nil leaves
// them plain (Envoy) or to the channel's own credentials (gRPC).
//
// Envoy reads files on its own machine. gRPC takes certificates only from
// providers that its bootstrap names, and refuses files (gRFC A29).
func transportSocket(t *naming.TLS, client Client) *corev3.TransportSocket {
	if t.Broken || t.Mode == naming.TLSOff || client == GRPC && t.CAProvider == "" {
		return nil
	}
	validation, common := &tlsv3.CertificateValidationContext{}, &tlsv3.CommonTlsContext{}
	common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	names := t.SANs
	if len(names) == 0 && t.SNI != "" {
		names = []string{t.SNI}
	}
	switch client {
	case Envoy:
		validation.TrustedCa = file(t.CA)
		for _, n := range names {
			validation.MatchTypedSubjectAltNames = append(validation.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{SanType: sanType(n), Matcher: exactly(n)})
		}
		if t.Mode == naming.TLSMutual {
			common.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: file(t.Cert), PrivateKey: file(t.Key)}}
		}
	case GRPC:
		validation.CaCertificateProviderInstance = &tlsv3.CertificateProviderPluginInstance{InstanceName: t.CAProvider}
		for _, n := range names {
			validation.MatchSubjectAltNames = append(validation.MatchSubjectAltNames, exactly(n)) //nolint:staticcheck // gRPC reads no other field
		}
		if t.CertProvider != "" {
			common.TlsCertificateProviderInstance = &tlsv3.CertificateProviderPluginInstance{InstanceName: t.CertProvider}
		}
	}
	return tlsSocket(&tlsv3.UpstreamTlsContext{Sni: t.SNI, CommonTlsContext: common})
}

func tlsSocket(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(context)},
	}
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

func sanType(name string) tlsv3.SubjectAltNameMatcher_SanType {
	if strings.Contains(name, "://") {
		return tlsv3.SubjectAltNameMatcher_URI
	}
	return tlsv3.SubjectAltNameMatcher_DNS
}
