package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/pflag"
)

// bootstrapTLS is how an xDS client speaks TLS to the server. Files are those
// of the client's machine.
type bootstrapTLS struct {
	On                   bool
	CA, Cert, Key        string
	Name                 string // that the server's certificate must have
	SNI                  string // empty: an address is no name to send
	SANType              string // what Name is in a certificate, as Envoy says it
	SDSDir               string
	CASecret, CertSecret string // files in SDSDir
}

func (t *bootstrapTLS) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&t.On, "tls", false, "speak TLS; any of the following says so too")
	fs.StringVar(&t.CA, "ca-file", "", "authorities of the server's certificate, PEM")
	fs.StringVar(&t.Cert, "cert-file", "", "certificate that the client shows, PEM")
	fs.StringVar(&t.Key, "key-file", "", "its key, PEM")
	fs.StringVar(&t.Name, "server-name", "", "name in the server's certificate (default: the host of --xds-addr)")
}

// complete fills what follows from the rest.
func (t *bootstrapTLS) complete(xdsAddr string) error {
	t.On = t.On || cmp.Or(t.CA, t.Cert, t.Key, t.Name, t.SDSDir) != ""
	if !t.On {
		return nil
	}
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("--cert-file and --key-file go together")
	}
	t.Name = cmp.Or(t.Name, hostPart(xdsAddr))
	if !isHost(t.Name) {
		return fmt.Errorf("--server-name: %.128q is no host", t.Name)
	}
	if t.SANType = "IP_ADDRESS"; net.ParseIP(t.Name) == nil {
		t.SANType, t.SNI = "DNS", t.Name
	}
	for _, f := range []*string{&t.CA, &t.Cert, &t.Key, &t.SDSDir} {
		if *f == "" {
			continue
		}
		// A client may be started in another directory.
		path, err := filepath.Abs(*f)
		if err != nil {
			return err
		}
		*f = path
	}
	return nil
}

// forEnvoy completes it, and writes the files that the config leads to.
func (t *bootstrapTLS) forEnvoy(xdsAddr string) error {
	if err := t.complete(xdsAddr); err != nil || !t.On {
		return err
	}
	if t.CA == "" {
		return errors.New("--ca-file is needed: without one Envoy takes any certificate; the system's is often /etc/ssl/certs/ca-certificates.crt")
	}
	if t.SDSDir == "" {
		return nil
	}
	t.CASecret, t.CertSecret = filepath.Join(t.SDSDir, "polestar-ca.yaml"), filepath.Join(t.SDSDir, "polestar-cert.yaml")
	if err := os.MkdirAll(t.SDSDir, 0o700); err != nil {
		return fmt.Errorf("--sds-dir: %w", err)
	}
	files := map[string]string{"templates/envoy-ca.yaml.tmpl": t.CASecret}
	if t.Cert != "" {
		files["templates/envoy-cert.yaml.tmpl"] = t.CertSecret
	}
	for name, path := range files {
		tmpl, err := template.New(filepath.Base(name)).Funcs(template.FuncMap{"quote": strconv.Quote, "dir": filepath.Dir}).ParseFS(templates, name)
		if err != nil {
			return err
		}
		var text strings.Builder
		if err = tmpl.Execute(&text, t); err != nil {
			return err
		}
		if err = replaceFile(path, []byte(text.String()), 0o600); err != nil {
			return fmt.Errorf("--sds-dir: %w", err)
		}
	}
	return nil
}

// forGRPC completes it for clients that verify the host that they call.
func (t *bootstrapTLS) forGRPC(xdsAddr string) error {
	if err := t.complete(xdsAddr); err != nil || !t.On {
		return err
	}
	if host := hostPart(xdsAddr); t.Name != host {
		return fmt.Errorf("--server-name: gRPC verifies the host of --xds-addr (%s), nothing else; call the server by a name in its certificate", host)
	}
	return nil
}

// hostPart is the host of an address that was checked.
func hostPart(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

// channelCreds are the credentials in a bootstrap (gRFC A27, A65). Files are
// read again at the interval.
func (t *bootstrapTLS) channelCreds() any {
	if !t.On {
		return map[string]any{"type": "insecure"}
	}
	config := map[string]any{}
	for key, path := range map[string]string{"ca_certificate_file": t.CA, "certificate_file": t.Cert, "private_key_file": t.Key} {
		if path != "" {
			config[key] = path
		}
	}
	if len(config) > 0 {
		config["refresh_interval"] = "30s"
	}
	return map[string]any{"type": "tls", "config": config}
}
