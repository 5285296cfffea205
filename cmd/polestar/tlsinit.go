package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polestar/internal/localca"
)

// tlsInit makes an authority of files and what a deployment needs of it.
type tlsInit struct {
	dir, cluster   string
	hosts, clients []string
	days, caDays   int
	rsa, force     bool
	changed        func(flag string) bool // it was given on the command line
	out            io.Writer
}

// trustDomain begins the identities in our certificates.
const trustDomain = "spiffe://polestar/"

// maxDays bounds lifetimes; beyond it years do not fit into a certificate.
const maxDays = 36_500

func tlsCommand() *cobra.Command {
	var i tlsInit
	makes := &cobra.Command{
		Use:   "init",
		Short: "Make a certificate authority, and certificates for servers and clients",
		Long: `Make a certificate authority in a directory, and certificates for a server, for
servers among each other and for clients. An authority that is there signs what
is new; certificates that are there are kept, or renewed with --force.

Keep ca-key.pem away from servers: whoever has it can be anybody.`,
		Example: `  polestar tls init --dir tls --host polestar.internal --host 10.0.0.1
  polestar tls init --dir tls --client web --client batch
  polestar tls init --dir tls --host polestar.internal --force     # renew`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i.out, i.changed = cmd.OutOrStdout(), cmd.Flags().Changed
			return i.run()
		},
	}
	fs := makes.Flags()
	fs.StringVar(&i.dir, "dir", "tls", "where the files go")
	fs.StringSliceVar(&i.hosts, "host", nil, "DNS name or IP address of the server besides localhost; may be repeated")
	fs.StringVar(&i.cluster, "cluster", "main", "name of the cluster; its servers are "+trustDomain+"cluster/NAME to each other")
	fs.StringSliceVar(&i.clients, "client", []string{"admin"}, "name of a client, "+trustDomain+"client/NAME to the server; may be repeated")
	fs.IntVar(&i.days, "days", 365, "how long certificates are valid")
	fs.IntVar(&i.caDays, "ca-days", 3650, "how long the authority is valid")
	fs.BoolVar(&i.rsa, "rsa", false, "RSA keys for clients: polaris-java reads no others")
	fs.BoolVar(&i.force, "force", false, "renew certificates that are there")
	check := &cobra.Command{
		Use: "check FILE…", Short: "Say what certificates and keys are, and when they end", Args: cobra.MinimumNArgs(1),
		Example: "  polestar tls check tls/*.pem",
		RunE:    func(cmd *cobra.Command, args []string) error { return tlsCheck(cmd.OutOrStdout(), args, time.Now()) },
	}
	return group(&cobra.Command{Use: "tls", Short: "Make and check certificates"}, makes, check)
}

func (i *tlsInit) validate() error {
	for flag, n := range map[string]int{"--days": i.days, "--ca-days": i.caDays} {
		if n < 1 || n > maxDays {
			return fmt.Errorf("%s: %d is not between 1 and %d", flag, n, maxDays)
		}
	}
	for _, n := range append([]string{i.cluster}, i.clients...) {
		if n == "" || len(n) > 100 || strings.ContainsFunc(n, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("._-", r) }) {
			return fmt.Errorf("--client, --cluster: %.128q is not 1 to 100 letters, digits, dots, underscores and hyphens", n)
		}
	}
	for _, h := range i.hosts {
		if !isHost(strings.TrimPrefix(h, "*.")) {
			return fmt.Errorf("--host: %.128q is neither a DNS name nor an IP address", h)
		}
	}
	return nil
}

func (i *tlsInit) run() error {
	if err := i.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	ca, err := i.authority()
	if err != nil {
		return err
	}
	life := time.Duration(i.days) * 24 * time.Hour
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, i.hosts...)
	peer := trustDomain + "cluster/" + i.cluster
	wanted := []localca.Request{
		{Name: "server", Hosts: hosts, Server: true, Life: life},
		{Name: "peer", Hosts: hosts, URIs: []string{peer}, Server: true, Client: true, Life: life},
	}
	for _, c := range i.clients {
		wanted = append(wanted, localca.Request{Name: "client-" + c, URIs: []string{trustDomain + "client/" + c}, Client: true, RSA: i.rsa, Life: life})
	}
	for _, r := range wanted {
		if err = i.issue(ca, r); err != nil {
			return err
		}
	}
	at := func(name string) string { return filepath.Join(i.dir, name) }
	if parts, readErr := readParts(at("peer.pem")); readErr == nil && len(parts) > 0 && parts[0].cert != nil && len(parts[0].cert.URIs) > 0 {
		peer = parts[0].cert.URIs[0].String() // it may be one that was kept
	}
	_, err = fmt.Fprintf(i.out, `
The server takes, when clients need a certificate (else leave out the last):
  --tls.cert-file %s --tls.key-file %s --tls.client-ca-file %s
and in a cluster besides:
  --peer.tls.cert-file %s --peer.tls.key-file %s --cluster.peer-identities %s
Clients:
  polestar get services --ca-file %[3]s --cert-file %[7]s --key-file %[8]s
  polestar bootstrap envoy --tls --ca-file %[3]s --cert-file %[7]s --key-file %[8]s
`, at("server.pem"), at("server-key.pem"), at("ca.pem"), at("peer.pem"), at("peer-key.pem"), peer,
		at("client-"+i.clients[0]+".pem"), at("client-"+i.clients[0]+"-key.pem"))
	return err
}

// authority takes up the one that is there, or makes one.
func (i *tlsInit) authority() (*localca.Authority, error) {
	certPath, keyPath := filepath.Join(i.dir, "ca.pem"), filepath.Join(i.dir, "ca-key.pem")
	cert, certErr := os.ReadFile(certPath) //nolint:gosec // the operator names the directory
	key, keyErr := os.ReadFile(keyPath)    //nolint:gosec // the operator names the directory
	switch {
	case errors.Is(certErr, os.ErrNotExist) && errors.Is(keyErr, os.ErrNotExist):
		ca, err := localca.New("polestar authority", time.Duration(i.caDays)*24*time.Hour)
		if err != nil {
			return nil, err
		}
		if cert, key, err = ca.PEM(); err != nil {
			return nil, err
		}
		return ca, i.write("made", "ca", cert, key)
	case errors.Is(certErr, os.ErrNotExist) || errors.Is(keyErr, os.ErrNotExist):
		return nil, fmt.Errorf("there is only one of %s and %s: an authority needs both to sign", certPath, keyPath)
	case certErr != nil || keyErr != nil:
		return nil, errors.Join(certErr, keyErr)
	}
	ca, err := localca.Open(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w; move both away to get a new authority", certPath, keyPath, err)
	}
	return ca, i.say("kept", "ca")
}

// issue makes a certificate unless it is there.
func (i *tlsInit) issue(ca *localca.Authority, r localca.Request) error {
	did := "made"
	for _, name := range []string{r.Name + ".pem", r.Name + "-key.pem"} {
		_, err := os.Lstat(filepath.Join(i.dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case i.force:
			did = "renewed"
		case r.Server && i.changed("host"):
			return fmt.Errorf("%s is there already; --force renews it for the hosts that you name", filepath.Join(i.dir, name))
		default:
			return i.say("kept", r.Name)
		}
	}
	if did == "renewed" {
		if err := i.keepNames(&r); err != nil {
			return err
		}
	}
	file := r.Name
	r.Name = "polestar " + r.Name
	cert, key, err := ca.Issue(r)
	if err != nil {
		return err
	}
	return i.write(did, file, cert, key)
}

// keepNames takes over, of the certificate that is renewed, what the command
// line does not say otherwise.
func (i *tlsInit) keepNames(r *localca.Request) error {
	parts, err := readParts(filepath.Join(i.dir, r.Name+".pem"))
	if err != nil || len(parts) == 0 || parts[0].cert == nil {
		return err
	}
	old := parts[0].cert
	if r.Server && !i.changed("host") {
		r.Hosts = old.DNSNames
		for _, ip := range old.IPAddresses {
			r.Hosts = append(r.Hosts, ip.String())
		}
	}
	if !i.changed("cluster") {
		r.URIs = nil
		for _, u := range old.URIs {
			r.URIs = append(r.URIs, u.String())
		}
	}
	return nil
}

func (i *tlsInit) say(did, name string) error {
	_, err := fmt.Fprintf(i.out, "%-8s%s\n", did, filepath.Join(i.dir, name+".pem"))
	return err
}

// write replaces both files, each at once: a server may read them meanwhile.
func (i *tlsInit) write(did, name string, cert, key []byte) error {
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{name + "-key.pem", key, 0o600}, {name + ".pem", cert, 0o644}} {
		if err := replaceFile(filepath.Join(i.dir, f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return i.say(did, name)
}

// replaceFile writes a file beside its place and moves it there: who reads or
// watches it sees the old or the new one, whole.
func replaceFile(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it holds nothing that anybody needs
	}
	return err
}
