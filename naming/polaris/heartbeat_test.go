package polaris_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// beatsHeard are leases that note who is heard.
type beatsHeard struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (b *beatsHeard) beat(_ context.Context, refs []naming.Ref) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range refs {
		if r.ID != nil {
			b.ids[*r.ID] = true
		} else {
			b.ids[naming.InstanceID(r.Service, r.VpcID, r.Host, *r.Port)] = true
		}
	}
	return make([]error, len(refs))
}

func (b *beatsHeard) LastBeat(id string) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return 0, b.ids[id]
}

func (b *beatsHeard) ForgetBeat(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ids, id)
}

// Whoever shows the secret of the heartbeat door beats for everybody; who is
// known by a token or certificate, for what he has the right to; nobody else at
// all, whatever the switches say.
func TestWhoBeatsForWhom(t *testing.T) {
	b, g, heard := newBackend(t, nil), &guard{}, &beatsHeard{ids: map[string]bool{}}
	op := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b})
	for _, ns := range []string{"n", "m"} {
		if _, err := op.Register(t.Context(), naming.Registration{
			ID: ns, Service: key(ns, "a"), Host: "10.0.0.1", Port: new(uint32(1)), HealthCheck: true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	var certificate []string
	h, wrong := polaris.NewHeartbeats(polaris.HeartbeatDeps{
		Beat: heard.beat, Leases: heard, World: b, Auth: g, Refused: g.note,
		Trusted:    func(ctx context.Context) bool { return len(metadata.ValueFromIncomingContext(ctx, "secret")) > 0 },
		Identities: func(context.Context) []string { return certificate },
		Ready:      func() bool { return true }, Metrics: prometheus.NewRegistry(),
	})
	if wrong != nil {
		t.Fatal(wrong)
	}
	srv := grpc.NewServer()
	h.Register(srv)
	client := service_manage.NewPolarisHeartbeatGRPCClient(dial(t, srv, setup{}))
	people := known(map[string][]string{"ann": {"n"}, "bob": nil})
	for _, c := range []struct {
		name        string
		shows       string // "the secret", a token or nothing
		certificate []string
		people      []person // nil: the API is not checked
		hears       string   // of the beats for n and m; "no": refused altogether
		forgets     uint32
	}{
		{"the secret", "the secret", nil, people, "map[m:true n:true]", 200000},
		{"the secret, unchecked", "the secret", nil, nil, "map[m:true n:true]", 200000},
		{"a token", "ann-token", nil, people, "map[n:true]", 401001},
		{"a token without rights", "bob-token", nil, people, "map[]", 401001},
		{"a certificate", "", []string{"ann.example"}, people, "map[n:true]", 401001},
		{"a certificate, unchecked", "", []string{"x.example"}, nil, "map[m:true n:true]", 200000},
		{"a wrong token", "junk", nil, people, "no", 0},
		{"a wrong certificate", "", []string{"x.example"}, people, "no", 0},
		{"nothing", "", nil, people, "no", 0},
		{"nothing, unchecked", "", nil, nil, "no", 0},
		{"a token, unchecked", "ann-token", nil, nil, "no", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.admit(c.people)
			certificate = c.certificate
			clear(heard.ids)
			ids := []string{"n", "m"}
			ctx := withToken(t.Context(), c.shows)
			if c.shows == "the secret" {
				ctx = metadata.AppendToOutgoingContext(t.Context(), "secret", "yes")
			}
			stream, err := client.BatchHeartbeat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if c.hears == "no" {
				_, e1 := stream.Recv() // without a word: strangers hold no streams
				_, e2 := client.BatchGetHeartbeat(ctx, &service_manage.GetHeartbeatsRequest{InstanceIds: ids})
				_, e3 := client.BatchDelHeartbeat(ctx, &service_manage.DelHeartbeatsRequest{InstanceIds: ids})
				for _, err := range []error{e1, e2, e3} {
					if status.Code(err) != codes.Unauthenticated {
						t.Errorf("%v, want Unauthenticated", err)
					}
				}
				return
			}
			beats := &service_manage.HeartbeatsRequest{Heartbeats: []*service_manage.InstanceHeartbeat{
				{InstanceId: "n", Namespace: "m", Service: "a"}, {InstanceId: "m", Namespace: "n", Service: "a"},
			}}
			if err = stream.Send(beats); err != nil {
				t.Fatal(err)
			}
			if _, err = stream.Recv(); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(heard.ids); got != c.hears {
				t.Errorf("heard %s, want %s", got, c.hears)
			}
			got, err := client.BatchGetHeartbeat(ctx, &service_manage.GetHeartbeatsRequest{InstanceIds: ids})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range got.GetRecords() {
				if r.GetExist() != heard.ids[r.GetInstanceId()] {
					t.Errorf("record %v", r)
				}
			}
			res, err := client.BatchDelHeartbeat(ctx, &service_manage.DelHeartbeatsRequest{InstanceIds: ids})
			if err != nil || res.GetCode() != c.forgets {
				t.Errorf("forgetting all is answered %v, %v", res, err)
			}
			if now := fmt.Sprint(heard.ids); c.forgets == 200000 && now != "map[]" || c.forgets != 200000 && now != c.hears {
				t.Errorf("after forgetting: %s", now)
			}
			if err = stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			for _, d := range status.Convert(err).Details() {
				if code := d.(*service_manage.Response).GetCode().GetValue(); code != 401001 {
					t.Errorf("a beat was refused with %d", code)
				}
			}
			if want := 2 - len(heard.ids); c.forgets != 200000 && len(status.Convert(err).Details()) != want {
				t.Errorf("%d beats are named as refused, want %d", len(status.Convert(err).Details()), want)
			}
		})
	}
	// What is revoked on an open stream ends it with the next message.
	g.admit(people)
	certificate = nil
	stream, err := client.BatchHeartbeat(withToken(t.Context(), "ann-token"))
	if err != nil {
		t.Fatal(err)
	}
	one := &service_manage.HeartbeatsRequest{Heartbeats: []*service_manage.InstanceHeartbeat{{InstanceId: "n"}}}
	if err = stream.Send(one); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err != nil {
		t.Fatal(err)
	}
	g.told()
	g.admit([]person{})
	if err = stream.Send(one); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("after the token is gone: %v", err)
	}
	want := []auth.Refusal{{Method: "BatchHeartbeat", Action: auth.Heartbeat, Reason: auth.BadToken}}
	if diff := cmp.Diff(want, g.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
