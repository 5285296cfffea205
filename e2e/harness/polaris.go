package harness

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Registrar speaks the Polaris protocol without an SDK.
type Registrar struct {
	cc *grpc.ClientConn
	service_manage.PolarisGRPCClient
}

// NewRegistrar connects to a server.
func NewRegistrar(addr string) (*Registrar, error) {
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Registrar{cc: cc, PolarisGRPCClient: service_manage.NewPolarisGRPCClient(cc)}, nil
}

// Connect connects for the length of a test.
func Connect(t testing.TB, addr string) *Registrar {
	t.Helper()
	r, err := NewRegistrar(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Close closes the connection.
func (r *Registrar) Close() { _ = r.cc.Close() }

// Instance describes an instance in namespace default.
func Instance(service, addr string, set ...func(*service_manage.Instance)) *service_manage.Instance {
	host, port := HostPort(addr)
	i := &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String(service),
		Host: wrapperspb.String(host), Port: wrapperspb.UInt32(port),
	}
	for _, f := range set {
		f(i)
	}
	return i
}

// Weight sets the weight.
func Weight(w uint32) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) { i.Weight = wrapperspb.UInt32(w) }
}

// Isolated sets the isolation.
func Isolated(on bool) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) { i.Isolate = wrapperspb.Bool(on) }
}

// Healthy sets the health.
func Healthy(on bool) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) { i.Healthy = wrapperspb.Bool(on) }
}

// TTL turns the health check on.
func TTL(seconds uint32) func(*service_manage.Instance) {
	return func(i *service_manage.Instance) {
		i.HealthCheck = &service_manage.HealthCheck{
			Type: service_manage.HealthCheck_HEARTBEAT, Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(seconds)},
		}
	}
}

// Put registers, and fails when the answer is not 200000.
func (r *Registrar) Put(i *service_manage.Instance) error {
	return r.call(r.RegisterInstance, i)
}

// Remove deregisters, and fails when the answer is not 200000.
func (r *Registrar) Remove(i *service_manage.Instance) error {
	return r.call(r.DeregisterInstance, i)
}

func (r *Registrar) call(
	f func(context.Context, *service_manage.Instance, ...grpc.CallOption) (*service_manage.Response, error), i *service_manage.Instance,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	res, err := f(ctx, i)
	if err != nil {
		return err
	}
	if code := res.GetCode().GetValue(); code != 200000 {
		return fmt.Errorf("code %d: %s", code, res.GetInfo().GetValue())
	}
	return nil
}

// Instances discovers a service.
func (r *Registrar) Instances(service string) ([]*service_manage.Instance, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := r.Discover(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&service_manage.DiscoverRequest{
		Type:    service_manage.DiscoverRequest_INSTANCE,
		Service: &service_manage.Service{Namespace: wrapperspb.String("default"), Name: wrapperspb.String(service)},
	})
	if err != nil {
		return nil, err
	}
	res, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	switch code := res.GetCode().GetValue(); code {
	case 200000, 400202:
		return res.GetInstances(), stream.CloseSend()
	default:
		return nil, fmt.Errorf("code %d: %s", code, res.GetInfo().GetValue())
	}
}

// Beat sends heartbeats for an instance until stop is called or the test ends.
// A beat that fails is not repeated: the next one comes soon.
func (r *Registrar) Beat(t testing.TB, i *service_manage.Instance, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			call, cancelCall := context.WithTimeout(ctx, every)
			_, _ = r.Heartbeat(call, i)
			cancelCall()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}
