package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// post sends a message of Polaris' protocol over HTTP and returns the status.
func (w *whole) post(t *testing.T, token, path string, body []byte, into proto.Message) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.web.Addr().String()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Polaris-Token", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v in %s", path, err, text)
	}
	return res.StatusCode
}

// question is a message and the methods that it is sent to, over gRPC.
type question struct {
	in   proto.Message
	asks map[string]func(ctx context.Context) (proto.Message, error)
}

func (w *whole) aboutInstance(service, host string, port uint32, methods ...string) question {
	in := &service_manage.Instance{
		Namespace: wrapperspb.String("n"), Service: wrapperspb.String(service), Host: wrapperspb.String(host), Port: wrapperspb.UInt32(port),
		HealthCheck: &service_manage.HealthCheck{
			Type: service_manage.HealthCheck_HEARTBEAT, Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(30)},
		},
	}
	all := map[string]func(ctx context.Context) (proto.Message, error){
		"RegisterInstance": func(ctx context.Context) (proto.Message, error) { return w.polaris.RegisterInstance(ctx, in) },
		"Heartbeat":        func(ctx context.Context) (proto.Message, error) { return w.polaris.Heartbeat(ctx, in) },
	}
	maps.DeleteFunc(all, func(name string, _ func(context.Context) (proto.Message, error)) bool {
		return !slices.Contains(methods, name)
	})
	return question{in, all}
}

func (w *whole) find(typ service_manage.DiscoverRequest_DiscoverRequestType, name string) question {
	in := &service_manage.DiscoverRequest{
		Type: typ, Service: &service_manage.Service{Namespace: wrapperspb.String("n"), Name: wrapperspb.String(name)},
	}
	return question{in, map[string]func(ctx context.Context) (proto.Message, error){"Discover": func(ctx context.Context) (proto.Message, error) {
		stream, err := w.polaris.Discover(ctx)
		if err != nil {
			return nil, err
		}
		if err := stream.Send(in); err != nil {
			return nil, err
		}
		return stream.Recv()
	}}}
}

func (w *whole) report() question {
	in := &service_manage.Client{Id: wrapperspb.String("c"), Host: wrapperspb.String("10.0.0.1"), Type: service_manage.Client_SDK}
	return question{in, map[string]func(ctx context.Context) (proto.Message, error){
		"ReportClient": func(ctx context.Context) (proto.Message, error) { return w.polaris.ReportClient(ctx, in) },
	}}
}

// What one door answers, the other one answers too: the same code, the same
// text, the same data.
func TestHTTPAnswersAsGRPC(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	w.must(t, admin, "create", "user", "reader")
	reader := lastLine(w.must(t, admin, "create", "token", "--user", "reader"))
	questions := []question{
		w.aboutInstance("s", "10.0.0.1", 1, "RegisterInstance", "Heartbeat"), w.aboutInstance("none", "10.0.0.1", 9, "Heartbeat"),
		w.aboutInstance("s", "10.0.0.999", 1, "RegisterInstance", "Heartbeat"), w.aboutInstance("", "10.0.0.1", 1, "RegisterInstance", "Heartbeat"),
		w.find(service_manage.DiscoverRequest_INSTANCE, "s"), w.find(service_manage.DiscoverRequest_INSTANCE, "none"),
		w.find(service_manage.DiscoverRequest_SERVICES, ""), w.find(service_manage.DiscoverRequest_NAMESPACES, ""),
		w.find(service_manage.DiscoverRequest_ROUTING, "s"), w.find(service_manage.DiscoverRequest_CLUSTER, "s"), w.report(),
	}
	if code := w.registers(t, admin, "s"); code != 200000 {
		t.Fatal(code)
	}
	for _, token := range []string{admin, reader, "pst_wrong", ""} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-polaris-token", token)
		for _, q := range questions {
			for method, ask := range q.asks {
				want, err := ask(ctx)
				if err != nil {
					t.Fatal(err)
				}
				got := want.ProtoReflect().New().Interface()
				status := w.post(t, token, "/v1/"+method, marshal(t, q.in), got)
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Errorf("%s %v with token %.8q (-gRPC +HTTP):\n%s", method, q.in, token, diff)
				}
				coded, ok := got.(interface {
					GetCode() *wrapperspb.UInt32Value
				})
				if !ok || status != int(coded.GetCode().GetValue())/1000 {
					t.Errorf("%s: status %d, answer %v", method, status, got)
				}
			}
		}
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The console's writes are the caller's in the history, and need his rights.
func TestOpenAPIUnderRights(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	admin := adminToken(t, dir)
	w.must(t, admin, "create", "user", "nobody")
	nobody := lastLine(w.must(t, admin, "create", "token", "--user", "nobody"))
	body := []byte(`[{"namespace":"n","service":"s","host":"10.0.0.1","port":1}]`)
	for token, want := range map[string]uint32{"": 401000, "pst_wrong": 401004, nobody: 401001} {
		out := &service_manage.BatchWriteResponse{}
		if status := w.post(t, token, "/naming/v1/instances", body, out); status != 401 || out.GetCode().GetValue() != want {
			t.Errorf("with token %.8q: %d %v, want %d", token, status, out.GetCode(), want)
		}
	}
	out := &service_manage.BatchWriteResponse{}
	if status := w.post(t, admin, "/naming/v1/instances", body, out); status != 200 {
		t.Fatalf("%d %v", status, out)
	}
	if history := w.must(t, admin, "history", "--service", "n/s"); !strings.Contains(history, mainUser) {
		t.Errorf("nobody is named:\n%s", history)
	}
}

// A console logs in by name and password, and its token holds.
func TestOpenAPILogin(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(t, adminToken(t, dir), "create", "user", "ann", "--password-file", secret)
	out := &service_manage.Response{}
	if status := w.post(t, "", "/core/v1/user/login", []byte(`{"name":"ann","password":"wrong horse battery"}`), out); status != 401 || out.GetLoginResponse() != nil {
		t.Errorf("with a wrong password: %d %v", status, out)
	}
	if status := w.post(t, "", "/core/v1/user/login", []byte(`{"name":"ann","password":"correct horse battery"}`), out); status != 200 {
		t.Fatalf("%d %v", status, out)
	}
	if in := out.GetLoginResponse(); in.GetName().GetValue() != "ann" || in.GetRole().GetValue() != "sub" {
		t.Errorf("login: %v", in)
	}
	all := &service_manage.BatchWriteResponse{}
	token, body := out.GetLoginResponse().GetToken().GetValue(), []byte(`[{"name":"n"}]`)
	if w.post(t, token, "/naming/v1/namespaces", body, all); all.GetCode().GetValue() != 401001 { // known, without a right
		t.Errorf("with the token: %v", all.GetCode())
	}
}

// The HTTP door stands before the paths of Polaris: pages of other sites are
// kept out, and what has another form is not read.
func TestOpenAPIBehindTheDoor(t *testing.T) {
	w := startWhole(t, t.TempDir())
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"a form":       {"Content-Type", "text/plain", 415},
		"another site": {"Origin", "http://elsewhere.example", 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.web.Addr().String()+"/v1/RegisterInstance",
			strings.NewReader(`{"namespace":"n","service":"s","host":"10.0.0.1","port":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(c.header, c.value)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", name, res.StatusCode, c.status)
		}
	}
}

// The commands of docs/http-api.md run as they stand there.
func TestOpenAPIByCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is needed: ", err)
	}
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "http-api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```sh\n")
	script, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/http-api.md has no script")
	}
	script = strings.ReplaceAll(script, "http://127.0.0.1:8090", "http://"+w.web.Addr().String())
	script = strings.ReplaceAll(script, "data/admin.token", filepath.Join(dir, adminTokenFile))
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script) //nolint:gosec // the script is ours
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(curl)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if n := strings.Count(string(out), `"code":200000`); n < 8 {
		t.Errorf("%d answers are a success:\n%s", n, out)
	}
	if i := w.registry.World().Instance("cart-1"); i != nil {
		t.Errorf("the script leaves %v behind", i.ID)
	}
}
