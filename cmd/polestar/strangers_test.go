package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
)

// hush is in the name of everything that strangers must not see.
const hush = "hush"

// bytesCodec sends what it is given as it is.
type bytesCodec struct{ encoding.CodecV2 }

// Name implements encoding.CodecV2.
func (bytesCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

// Unmarshal implements encoding.CodecV2.
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// besieged is a server that checks everybody, with something to hide.
type besieged struct {
	*whole
	conns  map[string]*grpc.ClientConn // by door
	id     string                      // of the instance
	tokens []string                    // that give no right: none, junk, revoked, disabled, a group's, and that of a user without policies
	before string
}

func besiege(f *testing.F) *besieged {
	f.Helper()
	dir := f.TempDir()
	b := &besieged{conns: map[string]*grpc.ClientConn{}}
	b.whole = startWhole(f, dir, checking, func(c *Config) {
		c.Heartbeat.Addr, c.HeartbeatTokenFile, c.OpenMetrics = "127.0.0.1:0", secretFile(f, secretOfTests), metricsNever
	})
	made, err := b.naming.Register(f.Context(), naming.Registration{
		Service: naming.ServiceKey{Namespace: "bank", Name: "vault-" + hush}, Host: "10.0.0.1", Port: new(uint32(80)),
		Metadata: map[string]string{"key": "within-" + hush}, HealthCheck: true, Actor: naming.Actor{Principal: hush},
	})
	if err != nil {
		f.Fatal(err)
	}
	b.id = made.Instance.ID
	owner := func(name string, put naming.PutUser) string {
		put.Name = name
		res, wrong := b.naming.PutUser(f.Context(), put)
		if wrong != nil {
			f.Fatal(wrong)
		}
		return res.User.ID
	}
	off, eve := owner("off", naming.PutUser{Disabled: new(true)}), owner("eve", naming.PutUser{})
	crew, err := b.naming.PutGroup(f.Context(), naming.PutGroup{Name: "crew", Members: &[]string{eve}})
	if err != nil {
		f.Fatal(err)
	}
	b.tokens = []string{"", "junk", "pst_" + strings.Repeat("A", 43), strings.Repeat("x", 5000)}
	for _, put := range []naming.PutToken{{Owner: off}, {Owner: eve, Disabled: new(true)}, {Owner: eve, Expires: new(naming.Micros(1))}, {Owner: eve}, {Owner: crew.Group.ID}} {
		text, hash := auth.NewToken()
		put.Mode, put.Hash = naming.Create, hash
		if _, err := b.naming.PutToken(f.Context(), put); err != nil {
			f.Fatal(err)
		}
		b.tokens = append(b.tokens, text)
	}
	for name, addr := range map[string]net.Addr{"polaris": b.app.polaris.Addr(), "xds": b.app.xds.Addr(), "heartbeat": b.beatDoor.Addr()} {
		cc, err := grpc.NewClient(addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = cc.Close() })
		b.conns[name] = cc
	}
	b.before = b.registered()
	return b
}

// registered is all that strangers must not change, as text.
func (b *besieged) registered() string {
	var out strings.Builder
	w := b.registry.World()
	for n := range w.Namespaces() {
		fmt.Fprintln(&out, *n)
	}
	for st := range w.Services("") {
		fmt.Fprintln(&out, *st.Service)
		for _, i := range st.Instances {
			fmt.Fprintln(&out, i.ID, i.Host, i.Port, i.Weight, i.Isolated, i.Metadata.Map()) // its lease may run out
		}
	}
	for u := range w.Users() {
		fmt.Fprintln(&out, *u)
	}
	for g := range w.Groups() {
		fmt.Fprintln(&out, *g)
	}
	for p := range w.Policies() {
		fmt.Fprintln(&out, *p)
	}
	return out.String()
}

// call makes one call and returns what it was answered.
func (b *besieged) call(ctx context.Context, door, method, token string, message []byte) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-polaris-token", token)
	stream, err := b.conns[door].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+method)
	if err != nil {
		return err.Error()
	}
	err = stream.SendMsg(&message)
	var answer []byte
	if err == nil {
		_ = stream.CloseSend()
		err = stream.RecvMsg(&answer)
	}
	return string(answer) + fmt.Sprint(err)
}

// knock sends bytes to the HTTP door and returns the answer to them.
func (b *besieged) knock(head, token string, body []byte) (string, error) {
	c, err := net.Dial("tcp", b.http())
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		head, token, len(body), body) // the server may have had enough of it
	_ = c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if len(answer) > 0 {
		err = nil
	}
	return string(answer), err
}

// seeds adds a request for every method and route.
func (b *besieged) seeds(f *testing.F) {
	f.Helper()
	marshal := func(m proto.Message) []byte {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	service := &service_manage.Service{Namespace: wrapperspb.String("bank"), Name: wrapperspb.String("vault-" + hush)}
	messages := [][]byte{
		{},
		{0xff},
		bytes.Repeat([]byte{0x0a, 0x7f}, 99),
		marshal(&service_manage.Instance{Id: wrapperspb.String(b.id)}),
		marshal(&service_manage.Instance{Namespace: service.GetNamespace(), Service: service.GetName(), Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(80), ServiceToken: wrapperspb.String("junk")}),
		marshal(&service_manage.DiscoverRequest{Type: service_manage.DiscoverRequest_INSTANCE, Service: service}),
		marshal(&service_manage.DiscoverRequest{Type: service_manage.DiscoverRequest_SERVICES, Service: &service_manage.Service{}}),
		marshal(&service_manage.HeartbeatsRequest{Heartbeats: []*service_manage.InstanceHeartbeat{{InstanceId: b.id}}}),
		marshal(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "e"}, TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster"}),
	}
	for _, door := range slices.Sorted(maps.Keys(b.conns)) {
		for n, method := range slices.Sorted(maps.Keys(rules[door])) {
			for m, message := range messages {
				f.Add(door, method, b.tokens[(n+m)%len(b.tokens)], message)
			}
		}
	}
	heads := []string{"GET /api/v1/services/bank/vault-" + hush, "GET /api/v1/instances/" + b.id, "GET /api/v1//services", "GET /api/v1/%73ervices", "GET /debug/pprof/../pprof/heap?debug=1"}
	for _, path := range readers {
		heads = append(heads, "GET "+path, "HEAD "+path, "POST "+path)
	}
	bodies := map[string]string{ //nolint:gosec // no credentials, but paths that name them
		"POST /api/v1/users": `{"name":"new","main":true}`, "PATCH /api/v1/users/eve": `{"main":true}`, "DELETE /api/v1/users/admin": "",
		"POST /api/v1/policies":                                `{"name":"new","users":["eve"],"actions":["*"],"resources":[{"namespace":"*","service":"*"}]}`,
		"PATCH /api/v1/policies/default-user-eve":              `{"resources":[{"namespace":"*","service":"*"}]}`,
		"PATCH /api/v1/groups/crew":                            `{"members":["eve","admin"]}`,
		"POST /api/v1/tokens":                                  `{"user":"admin"}`,
		"POST /api/v1/services":                                `{"namespace":"bank","name":"new"}`,
		"POST /api/v1/aliases":                                 `{"namespace":"eve","name":"a","for_namespace":"bank","for_service":"vault-` + hush + `"}`,
		"DELETE /api/v1/services/bank/vault-" + hush:           "",
		"PATCH /api/v1/instances/" + b.id:                      `{"weight":1}`,
		"DELETE /api/v1/instances/" + b.id:                     "",
		"PATCH /api/v1/instances?namespace=bank&service=vault": `{"isolated":true}`,
		"POST /api/v1/cleanup":                                 `{"job":"instances"}`,
	}
	for n, head := range append(heads, slices.Sorted(maps.Keys(bodies))...) {
		for m := range 2 {
			f.Add("http", head, b.tokens[(n+m*5)%len(b.tokens)], []byte(bodies[head]))
		}
	}
	f.Add("http", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/users", "", []byte("\x00"))
}

// FuzzStrangers: whatever somebody sends who has no right, to any door, shows
// him nothing, changes nothing and ends in an answer.
func FuzzStrangers(f *testing.F) {
	b := besiege(f)
	b.seeds(f)
	f.Fuzz(func(t *testing.T, door, what, token string, body []byte) {
		var answer string
		switch {
		case door == "http":
			var err error
			if answer, err = b.knock(what, token, body); err != nil {
				t.Errorf("%q: no answer: %v", what, err)
			}
			if strings.HasPrefix(answer, "HTTP/1.1 5") {
				t.Errorf("%q: %s", what, answer)
			}
		case b.conns[door] != nil && rules[door][what] != "":
			answer = b.call(t.Context(), door, what, token, body)
		default:
			return
		}
		told := strings.ReplaceAll(answer, what, "") // he said it himself
		for _, word := range []string{"vault-" + hush, "within-" + hush, b.id, "argon2id"} {
			if strings.Contains(told, word) && !strings.Contains(what+string(body), word) {
				t.Errorf("%s %q shows %q: %.500s", door, what, word, answer)
			}
		}
		if now := b.registered(); now != b.before {
			t.Fatalf("%s %q changed what is registered:\n%s\nto\n%s", door, what, b.before, now)
		}
	})
}
