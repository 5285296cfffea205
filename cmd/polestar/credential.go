package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"

	"polestar/internal/grpcserver"
)

// The environment variables of commands that talk to a server.
const (
	tokenEnv     = envPrefix + "TOKEN"
	tokenFileEnv = envPrefix + "TOKEN_FILE"
)

// adminTokenFile is where a server leaves the token of its main user.
const adminTokenFile = "admin.token"

// credential is the token that a command shows; it travels in the context of
// the command, since every request has that.
type credential struct {
	token string
	// found: it lay in the data directory and nobody named it. Such a token stays
	// on this machine, or under TLS.
	found bool
}

type credentialKey struct{}

// tokenFlags adds the flags of a command that talks to a server.
func tokenFlags(fs *pflag.FlagSet) {
	if fs.Lookup("token") != nil {
		return // a command may talk to two doors
	}
	fs.String("token", "", "token to show (env "+tokenEnv+"); others on this machine can see it in the list of processes")
	fs.String("token-file", "", "file with the token (env "+tokenFileEnv+"; default DATA-DIR/"+adminTokenFile+", if it can be read, for servers on this machine or with TLS)")
}

// withCredential is root's PersistentPreRunE.
func withCredential(environ func(string) string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Lookup("token") == nil {
			return nil // it talks to no server
		}
		c, err := findCredential(cmd.Flags(), environ)
		if err != nil {
			return err
		}
		cmd.SetContext(context.WithValue(cmd.Context(), credentialKey{}, c))
		return nil
	}
}

// findCredential takes the token that is named most directly.
func findCredential(flags *pflag.FlagSet, environ func(string) string) (credential, error) {
	given, _ := flags.GetString("token") // both flags are there
	file, _ := flags.GetString("token-file")
	read := func(from, path string) (credential, error) {
		text, err := readToken(from, path)
		return credential{token: text}, err
	}
	switch inEnv, fileInEnv := environ(tokenEnv), environ(tokenFileEnv); {
	case given != "" && file != "":
		return credential{}, errors.New("--token and --token-file exclude each other")
	case given != "":
		return credential{token: given}, checkToken("--token", given)
	case file != "":
		return read("--token-file", file)
	case inEnv != "":
		return credential{token: inEnv}, checkToken(tokenEnv, inEnv)
	case fileInEnv != "":
		return read(tokenFileEnv, fileInEnv)
	}
	dir := environ(envPrefix + "DATA_DIR")
	if dir == "" {
		dir = defaultConfig().DataDir
	}
	c, err := read("--token-file", filepath.Join(dir, adminTokenFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return credential{}, nil // no server of this directory, or it is not ours
	}
	c.found = true
	return c, err
}

// withoutCredential shows no token: it is about to be got.
func withoutCredential(ctx context.Context) context.Context {
	return context.WithValue(ctx, credentialKey{}, credential{})
}

// checkToken refuses what no header can carry.
func checkToken(from, text string) error {
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("%s: has a character that is not visible ASCII", from)
	}
	return nil
}

// credentialFor is the token to show at an address; empty: none.
func credentialFor(ctx context.Context, addr string, secure bool) string {
	c, _ := ctx.Value(credentialKey{}).(credential)
	if c.found && !secure && !onThisMachine(addr) {
		return ""
	}
	return c.token
}

// onThisMachine reports whether what is sent to host:port stays here.
func onThisMachine(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// authorise shows the token in a request.
func authorise(req *http.Request) {
	if token := credentialFor(req.Context(), req.URL.Host, req.URL.Scheme == "https"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// advice is what helps against a refusal for who asked; empty for others.
func advice(status int) string {
	if status == http.StatusUnauthorized {
		return " (--token, --token-file and " + tokenEnv + " show a token; polestar login makes one)"
	}
	return ""
}

// callToken shows the token in every call of a gRPC connection.
type callToken struct{ addr string }

var _ credentials.PerRPCCredentials = callToken{}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (c callToken) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	secure := info.AuthInfo != nil && credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity) == nil
	token := credentialFor(ctx, c.addr, secure)
	if token == "" {
		return nil, nil
	}
	return map[string]string{grpcserver.SecretHeader: token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]: whether a
// token may travel as it is depends on the token and the address.
func (callToken) RequireTransportSecurity() bool { return false }
