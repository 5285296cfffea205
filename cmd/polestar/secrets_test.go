package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/xds/resource"
)

// ear hears everything that a server says: its log, and the answers of its
// doors.
type ear struct {
	mu   sync.Mutex // guards everything below
	said bytes.Buffer
}

// Write implements io.Writer.
func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.said.Write(p)
}

// hear is for whatever an answer is, an error too.
func (e *ear) hear(what string, err error) {
	if err != nil {
		what += err.Error()
	}
	_, _ = io.WriteString(e, what+"\n")
}

// readers are the paths that answer with what a server knows.
var readers = []string{
	"/readyz?verbose", "/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
	"/api/v1/namespaces", "/api/v1/services", "/api/v1/instances", "/api/v1/aliases", "/api/v1/overrides", "/api/v1/clients", "/api/v1/diff",
	"/api/v1/problems", "/api/v1/guard", "/api/v1/receipts?timeout=10ms", "/api/v1/cleanup", "/api/v1/whoami", "/api/v1/may?action=read",
	"/api/v1/users", "/api/v1/groups", "/api/v1/policies", "/api/v1/tokens", "/api/v1/history?limit=1000", "/api/v1/events?since=0&follow=false",
	"/api/v1/nowhere", "/api/v1/explain?client=envoy&service=cart",
}

// What a server was given in confidence, right or wrong, is in nothing that it
// says: no log at any level, no answer, no error, no metric, no history, no
// configuration and no export. Texts of new tokens are told once, to who asked.
func TestNoSecretIsEverSaid(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	heard := &ear{}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(heard), zapcore.DebugLevel))
	dir := t.TempDir()
	w := startLogging(t, log, dir, checking, func(c *Config) {
		c.Heartbeat.Addr, c.HeartbeatTokenFile = "127.0.0.1:0", secretFile(t, secretOfTests+"\n")
	})
	const password, wrong, database, mistyped = "correct horse battery", "wrong horse staple", "dsn-Passw0rd", "pst_mistyped-but-nearly-right"
	admin := adminToken(t, dir)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(password)
	heard.hear(w.as(t, admin, "create", "user", "ann", "--password-file", file, "-o", "json"))
	login := w.must(t, "", "login", "ann", "--password-file", file)
	write(wrong)
	heard.hear(w.as(t, "", "login", "ann", "--password-file", file))
	heard.hear(w.as(t, admin, "create", "policy", "ann", "--user", "ann", "--action", "register", "--resource", "default/*"))
	secrets := map[string]string{
		"the main user's token": admin, "a login's token": login, "a mistyped token": mistyped, "a password": password, "a wrong password": wrong,
		"the secret of the heartbeat door": secretOfTests, "the password of the database": database, "a hash of a password": "argon2id",
	}
	for _, name := range []string{"the main user's token", "a login's token"} {
		secrets[name+" as hash"] = auth.HashToken(secrets[name])
	}

	for _, token := range []string{admin, login, mistyped} {
		w.showEverywhere(t, heard, token)
	}
	heard.hear(run(t, "config", "print", "--mysql-dsn", "root:"+database+"@tcp(127.0.0.1:1)/polestar", "--heartbeat-addr", "127.0.0.1:0",
		"--heartbeat-token-file", secretFile(t, secretOfTests)))
	heard.hear(run(t, "config", "print", "--mysql-dsn", "root:"+database+"@tcp(127.0.0.1:1"))
	w.stop()
	for what, secret := range secrets {
		if at := strings.Index(heard.said.String(), secret); at >= 0 {
			around := heard.said.String()[max(0, at-200):]
			t.Errorf("%s is said: …%.400s", what, around)
		}
	}
	if said := heard.said.String(); !strings.Contains(said, `"ready"`) || !strings.Contains(said, "polestar_auth_refusals_total") {
		t.Error("nothing was heard")
	}
}

// showEverywhere shows a token at every door and place where one goes.
func (w *whole) showEverywhere(t *testing.T, heard *ear, token string) {
	t.Helper()
	for _, path := range readers {
		for header, value := range map[string]string{"Authorization": "Bearer " + token, "X-Polaris-Token": token} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.http()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(header, value)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			heard.hear(string(body), err)
			_ = res.Body.Close()
		}
	}
	shown := metadata.AppendToOutgoingContext(t.Context(), "x-polaris-token", token)
	in := &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String("cart"), Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(80),
		ServiceToken: wrapperspb.String(token),
	}
	res, err := w.polaris.RegisterInstance(t.Context(), in)
	heard.hear(res.String(), err)
	res, err = w.polaris.Heartbeat(shown, in)
	heard.hear(res.String(), err)
	discover, err := w.polaris.Discover(shown)
	if err == nil {
		err = discover.Send(&service_manage.DiscoverRequest{Service: &service_manage.Service{
			Namespace: wrapperspb.String("default"), Name: wrapperspb.String("cart"), Token: wrapperspb.String(token),
		}})
	}
	if err == nil {
		var found *service_manage.DiscoverResponse
		found, err = discover.Recv()
		heard.hear(found.String(), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = discover.CloseSend()
	stream, err := w.xds.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.Cluster.URL(), Node: &corev3.Node{
		Id: "envoy", UserAgentName: "envoy",
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"x-polaris-token": structpb.NewStringValue(token)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	clusters, err := stream.Recv()
	heard.hear(clusters.String(), err)
	status, err := w.status.FetchClientStatus(shown, &statusv3.ClientStatusRequest{}) // while the stream is open
	heard.hear(status.String(), err)
	_ = stream.CloseSend()
}
