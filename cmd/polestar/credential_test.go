package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
)

// asked is a server that notes the token of the last request.
func asked(t *testing.T, status int, answer string) (addr string, token *string) {
	t.Helper()
	token = new(string)
	return admin(t, func(w http.ResponseWriter, r *http.Request) {
		*token = r.Header.Get("Authorization")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}), token
}

// The token that is named most directly is shown; without any, that of the
// data directory.
func TestTokenOfCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) (path, token string) {
		token, _ = auth.NewToken()
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path, token
	}
	_, found := write(adminTokenFile)
	named, ofFile := write("named")
	other, ofOther := write("other")
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"the one in the data directory": {nil, nil, found},
		"no data directory":             {map[string]string{"POLESTAR_DATA_DIR": filepath.Join(dir, "none")}, nil, ""},
		"a file in the environment":     {map[string]string{"POLESTAR_TOKEN_FILE": named}, nil, ofFile},
		"the environment":               {map[string]string{"POLESTAR_TOKEN": "secret", "POLESTAR_TOKEN_FILE": named}, nil, "secret"},
		"a file":                        {map[string]string{"POLESTAR_TOKEN": "secret"}, []string{"--token-file", other}, ofOther},
		"a flag":                        {map[string]string{"POLESTAR_TOKEN": "secret"}, []string{"--token", "most"}, "most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POLESTAR_DATA_DIR", dir)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			addr, token := asked(t, http.StatusOK, `{"services":[],"total":0}`)
			if _, err := run(t, append([]string{"get", "services", "--server", addr}, c.args...)...); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(*token, "Bearer "); got != c.want {
				t.Errorf("shown: %q, want %q", got, c.want)
			}
		})
	}
}

// What lies about is not for other machines to see, unless nobody can listen.
func TestFoundTokensStayHere(t *testing.T) {
	for _, c := range []struct {
		found  bool
		addr   string
		secure bool
		want   bool
	}{
		{true, "127.0.0.1:8090", false, true},
		{true, "[::1]:8090", false, true},
		{true, "localhost:8090", false, true},
		{true, "10.0.0.1:8090", false, false},
		{true, "127.0.0.1.example:8090", false, false},
		{true, "polestar.example:8090", false, false},
		{true, "polestar.example:8090", true, true},
		{false, "polestar.example:8090", false, true},
	} {
		ctx := context.WithValue(t.Context(), credentialKey{}, credential{"secret", c.found})
		if got := credentialFor(ctx, c.addr, c.secure); (got != "") != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := credentialFor(t.Context(), "127.0.0.1:1", true); got != "" {
		t.Errorf("a token from nowhere: %q", got)
	}
}

func TestWrongTokensOfCommands(t *testing.T) {
	for name, args := range map[string][]string{
		"exclude each other": {"--token", "a", "--token-file", "b"}, "visible": {"--token", "a b"}, "--token-file": {"--token-file", filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := run(t, append([]string{"get", "services"}, args...)...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", args, err)
		}
	}
	env := map[string]string{tokenEnv: "line\nbreak"}
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	tokenFlags(fs)
	if _, err := findCredential(fs, func(k string) string { return env[k] }); err == nil || !strings.Contains(err.Error(), tokenEnv) {
		t.Error(err)
	}
}

// Who is refused for who he is learns how to say it.
func TestAdviceOnRefusals(t *testing.T) {
	for status, want := range map[int]bool{http.StatusUnauthorized: true, http.StatusForbidden: false} {
		addr, _ := asked(t, status, `{"detail":"no"}`)
		_, err := run(t, "get", "services", "--server", addr, "--token", "x")
		if err == nil || strings.Contains(err.Error(), "--token-file") != want || exitCode(err) != exitRefused {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// listener is a Polaris door that notes the token of the last call.
type listener struct {
	service_manage.UnimplementedPolarisGRPCServer
	token []string
}

func (l *listener) RegisterInstance(ctx context.Context, _ *service_manage.Instance) (*service_manage.Response, error) {
	l.token = metadata.ValueFromIncomingContext(ctx, "x-polaris-token")
	return &service_manage.Response{Code: wrapperspb.UInt32(200000)}, nil
}

func TestTokenOverGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door, s := &listener{}, grpc.NewServer()
	service_manage.RegisterPolarisGRPCServer(s, door)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, args := range [][]string{{"--token", "secret"}, nil} {
		t.Setenv("POLESTAR_DATA_DIR", t.TempDir())
		if _, err := run(t, append([]string{
			"register", "--service", "n/s", "--host", "10.0.0.1", "--port", "1", "--polaris-addr", l.Addr().String(),
		}, args...)...); err != nil {
			t.Fatal(err)
		}
		if want := len(args) / 2; len(door.token) != want || want == 1 && door.token[0] != "secret" {
			t.Errorf("%v: shown %v", args, door.token)
		}
	}
}
