package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polestar/xds/access"
	"polestar/xds/node"
)

//go:embed templates
var templates embed.FS

// bootstrap is what a client's first config depends on.
type bootstrap struct {
	XDSAddr, Namespace, Service, NodeID string
	EgressAddress, AdminAddress         string
	Region, Zone, SubZone               string
	Delta                               bool
	LEDS                                string
	Token                               string // the client's own, in what is printed
	TLS                                 bootstrapTLS
}

func bootstrapCommand() *cobra.Command {
	var b bootstrap
	cmd := &cobra.Command{
		Use: "bootstrap", Short: "Print the first config of an xDS client, ready to use",
	}
	fs := cmd.PersistentFlags()
	fs.StringVar(&b.XDSAddr, "xds-addr", "127.0.0.1:15010", "address of the xDS door")
	fs.StringVar(&b.Namespace, "namespace", "default", "the client's own namespace")
	fs.StringVar(&b.Service, "service", "", "the service that the client belongs to")
	fs.StringVar(&b.NodeID, "node-id", "", "name of the client (default: host name and service)")
	fs.StringVar(&b.Region, "region", "", "where the client runs")
	fs.StringVar(&b.Zone, "zone", "", "where the client runs")
	fs.StringVar(&b.SubZone, "sub-zone", "", "where the client runs (campus)")
	fs.String("token", "", "token of the client, which stands in what is printed; others on this machine can see it in the list of processes")
	fs.String("token-file", "", "file with the token of the client, which stands in what is printed")
	b.TLS.flags(fs)
	envoy := &cobra.Command{
		Use: "envoy", Short: "For Envoy: YAML for envoy -c", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.complete(cmd.Flags()); err != nil {
				return err
			}
			if err := b.TLS.forEnvoy(b.XDSAddr); err != nil {
				return err
			}
			t, err := template.New("envoy.yaml.tmpl").Funcs(template.FuncMap{"quote": strconv.Quote, "host": hostOf, "port": portOf}).
				ParseFS(templates, "templates/envoy.yaml.tmpl")
			if err != nil {
				return err
			}
			return t.Execute(cmd.OutOrStdout(), b)
		},
	}
	envoy.Flags().StringVar(&b.EgressAddress, "egress-address", "127.0.0.1:15001", "where Envoy takes the application's outgoing requests")
	envoy.Flags().StringVar(&b.AdminAddress, "admin-address", "127.0.0.1:9901", "Envoy's admin page")
	envoy.Flags().BoolVar(&b.Delta, "delta", false, "incremental xDS")
	envoy.Flags().StringVar(&b.LEDS, "leds", "", "true, or the number of endpoints from which a service's are told one by one; needs --delta and Envoy 1.38")
	envoy.Flags().StringVar(&b.TLS.SDSDir, "sds-dir", "", "directory for two small files by which Envoy follows new certificates; it is written to")
	grpc := &cobra.Command{
		Use: "grpc", Short: "For proxyless gRPC: JSON for GRPC_XDS_BOOTSTRAP", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.EgressAddress, b.AdminAddress = "127.0.0.1:1", "127.0.0.1:1" // not used here
			if err := b.complete(cmd.Flags()); err != nil {
				return err
			}
			if err := b.TLS.forGRPC(b.XDSAddr); err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(b.grpc())
		},
	}
	return group(cmd, envoy, grpc)
}

// takeToken reads the client's own token. It must be named: that of the main
// user, which other commands find by themselves, is no proxy's.
func (b *bootstrap) takeToken(flags *pflag.FlagSet) (err error) {
	given, _ := flags.GetString("token") // both flags are there
	file, _ := flags.GetString("token-file")
	switch {
	case given != "" && file != "":
		return errors.New("--token and --token-file exclude each other")
	case file != "":
		b.Token, err = readToken("--token-file", file)
		return err
	default:
		b.Token = given
		return checkToken("--token", given)
	}
}

// complete fills defaults and checks addresses.
func (b *bootstrap) complete(flags *pflag.FlagSet) error {
	if err := b.takeToken(flags); err != nil {
		return err
	}
	if b.LEDS != "" {
		if n, err := strconv.Atoi(b.LEDS); b.LEDS != "true" && (err != nil || n < 1 || n > node.MaxLEDS) {
			return fmt.Errorf("--leds: %q is neither true nor a number from 1 to %d", b.LEDS, node.MaxLEDS)
		}
		if !b.Delta {
			return errors.New("--leds needs --delta")
		}
	}
	if b.NodeID == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("--node-id is needed: the host name is not known: %w", err)
		}
		b.NodeID = host + "-" + cmp.Or(b.Service, b.Namespace)
	}
	for _, f := range []struct {
		flag, addr string
		ip         bool
	}{{"xds-addr", b.XDSAddr, false}, {"egress-address", b.EgressAddress, true}, {"admin-address", b.AdminAddress, true}} {
		host, port, err := net.SplitHostPort(f.addr)
		if err != nil || !isHost(host) || !isPort(port) {
			return fmt.Errorf("--%s: %q is not host:port", f.flag, f.addr)
		}
		// Envoy listens on addresses only, and gives up at a name.
		if f.ip && net.ParseIP(host) == nil {
			return fmt.Errorf("--%s: %q is not ip:port", f.flag, f.addr)
		}
	}
	return nil
}

// isHost reports whether s may be a host name or an address. It goes into a
// comment and unquoted into YAML, so nothing else may pass.
func isHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0x80 || (!isAlphanumeric(r) && !strings.ContainsRune(".-_:", r))
	})
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// grpc is the bootstrap of proxyless gRPC (gRFC A27), in the form that all
// languages read: grpc-node needs the locality.
func (b *bootstrap) grpc() any {
	metadata := map[string]any{"namespace": b.Namespace, "service": b.Service}
	if b.Token != "" {
		metadata[access.KeyToken] = b.Token // gRPC has no other place for it
	}
	return map[string]any{
		"xds_servers": []any{map[string]any{
			"server_uri":      b.XDSAddr,
			"channel_creds":   []any{b.TLS.channelCreds()},
			"server_features": []any{"xds_v3", "ignore_resource_deletion"},
		}},
		"node": map[string]any{
			"id":       b.NodeID,
			"metadata": metadata,
			"locality": map[string]any{"region": b.Region, "zone": b.Zone, "sub_zone": b.SubZone},
		},
	}
}

func hostOf(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	return host, err
}

func portOf(addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	return port, err
}
