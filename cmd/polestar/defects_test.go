package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
	"polestar/store"
)

// What is wrong with the reference between its door and its store, tried on a
// whole server.

// patient lets writes wait for as long as a test holds them.
func patient(c *Config) {
	c.Batch.CommitTimeout = 2 * time.Minute
	for n := range c.Batch.Kinds {
		c.Batch.Kinds[n].TaskLife = time.Minute
	}
}

// gate is a store that holds its commits until it is opened.
type gate struct {
	store.Store
	begun chan struct{} // buffered 1: a commit waits
	open  chan struct{}
}

func (g *gate) Apply(ctx context.Context, writes []naming.Write) (naming.Commit, []naming.Result, error) {
	select {
	case g.begun <- struct{}{}:
	default:
	}
	<-g.open
	return g.Store.Apply(ctx, writes)
}

// hold stops the commit of a first write, so that what comes after it waits in
// the queue, until release is called.
func (w *whole) hold(t *testing.T) (release func()) {
	t.Helper()
	was, err := w.store.get()
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Store: was, begun: make(chan struct{}, 1), open: make(chan struct{})}
	w.store.set(g)
	var first sync.WaitGroup
	first.Go(func() { w.try(t, 200000, at("held", 1)) })
	<-g.begun
	return sync.OnceFunc(func() { close(g.open); first.Wait() })
}

// queued waits until so many writes wait.
func (w *whole) queued(t *testing.T, n float64) {
	t.Helper()
	until(t, fmt.Sprint(n, " writes are queued"), func() bool { return w.metric(t, "polestar_batch_queue_length") >= n })
}

// until polls a state that no event announces.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}

// metric sums a metric over its labels, or over those with all of some values.
func (w *whole) metric(t *testing.T, name string, values ...string) (sum float64) {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// at is a registration of default/service with a health check.
func at(service string, port uint32) *service_manage.Instance {
	return &service_manage.Instance{
		Namespace: wrapperspb.String("default"), Service: wrapperspb.String(service), Host: wrapperspb.String("10.0.0.1"), Port: wrapperspb.UInt32(port),
		HealthCheck: &service_manage.HealthCheck{Heartbeat: &service_manage.HeartbeatHealthCheck{Ttl: wrapperspb.UInt32(60)}},
	}
}

// try registers as polaris-java does, and wants this code and an id.
func (w *whole) try(t *testing.T, code uint32, in *service_manage.Instance) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "async-regis", "true")
	res, err := w.polaris.RegisterInstance(ctx, in)
	if err != nil || res.GetCode().GetValue() != code || code == 200000 && res.GetInstance().GetId().GetValue() == "" {
		t.Errorf("%v: %v, %v; want %d", in, res, err, code)
	}
}

// Two identical registrations of polaris-java that met in one batch ended the
// process, and any two of the same instance made all but one fail with 400208.
func TestReferenceDefectAsyncRegistrationsInOneBatchEndTheServer(t *testing.T) {
	w := startWhole(t, t.TempDir(), patient)
	release := w.hold(t)
	defer release()
	const callers = 24
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() { w.try(t, 200000, at("cart", uint32(1+n%2))) })
	}
	w.queued(t, callers)
	release()
	all.Wait()
	if got := w.discovered(t); len(got) != 2 {
		t.Errorf("Discover shows %v", got)
	}
}

// One row that the database refused failed all registrations of its batch.
func TestReferenceDefectOneBadRowFailsItsBatch(t *testing.T) {
	w := startWhole(t, t.TempDir(), patient)
	taken := at("other", 1)
	taken.Id = wrapperspb.String("taken")
	w.try(t, 200000, taken)
	release := w.hold(t)
	defer release()
	heavy, prior, priorMost, wide, guilty := at("cart", 1), at("cart", 2), at("cart", 3), at("cart", 4), at("cart", 5)
	heavy.Weight, prior.Priority, priorMost.Priority = wrapperspb.UInt32(40_000), wrapperspb.UInt32(128), wrapperspb.UInt32(1<<32-1)
	wide.Id, wide.VpcId = wrapperspb.String(strings.Repeat("ü", 128)), wrapperspb.String(strings.Repeat("ü", 64))
	guilty.Id = taken.Id
	var all sync.WaitGroup
	for _, in := range []*service_manage.Instance{at("cart", 6), heavy, prior, priorMost, wide, at("cart", 7)} {
		all.Go(func() { w.try(t, 200000, in) })
	}
	all.Go(func() { w.try(t, 400130, guilty) })
	w.queued(t, 7)
	release()
	all.Wait()
	if got := w.discovered(t); len(got) != 6 {
		t.Errorf("Discover shows %v", got)
	}
}

// Behind a slow database callers waited without a limit, and heartbeats and
// reads with them.
func TestReferenceDefectAFullQueueBlocksItsCallers(t *testing.T) {
	const room = 4
	w := startWhole(t, t.TempDir(), patient, func(c *Config) { c.Batch.Kinds[kindRegister].QueueSize = room })
	w.try(t, 200000, at("cart", 1))
	release := w.hold(t)
	defer release()
	var all sync.WaitGroup
	for n := range uint32(room) {
		all.Go(func() { w.try(t, 200000, at("cart", 10+n)) })
	}
	w.queued(t, room)
	w.try(t, 429001, at("cart", 99)) // at once, while the others still wait
	if res, err := w.polaris.Heartbeat(t.Context(), at("cart", 1)); err != nil || res.GetCode().GetValue() != 200000 {
		t.Errorf("a beat meanwhile: %v, %v", res, err)
	}
	if got := w.discovered(t); len(got) != 1 {
		t.Errorf("Discover meanwhile shows %v", got)
	}
	release()
	all.Wait()
	if got := w.discovered(t); len(got) != 1+room {
		t.Errorf("Discover shows %v", got)
	}
}

// The caller's deadline never reached the queue: what its caller had given up
// was done later.
func TestReferenceDefectDeadlinesAreIgnored(t *testing.T) {
	w := startWhole(t, t.TempDir(), patient)
	release := w.hold(t)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// Client and server watch the same deadline; either may be the first to say so.
	res, err := w.polaris.RegisterInstance(ctx, at("cart", 1))
	if status.Code(err) != codes.DeadlineExceeded && res.GetCode().GetValue() != 500008 {
		t.Errorf("after the deadline: %v, %v", res, err)
	}
	until(t, "the server knows that the caller is gone", func() bool { return w.metric(t, "polestar_batch_queue_length") == 0 })
	release()
	w.try(t, 200000, at("last", 1)) // whatever was queued before it is decided
	if got := w.discovered(t); len(got) != 0 {
		t.Errorf("done after its caller had given up: %v", got)
	}
}

// A beat right after a registration was refused because a cache was behind.
func TestReferenceDefectTheFirstBeatIsRefused(t *testing.T) {
	w := startWhole(t, t.TempDir())
	var all sync.WaitGroup
	for n := range uint32(50) {
		all.Go(func() {
			w.try(t, 200000, at("cart", 1+n))
			if res, err := w.polaris.Heartbeat(t.Context(), at("cart", 1+n)); err != nil || res.GetCode().GetValue() != 200000 {
				t.Errorf("the first beat of %d: %v, %v", n, res, err)
			}
		})
	}
	all.Wait()
}

// Four beats of an instance that nobody knew were answered with success, and
// all of them were kept in memory.
func TestReferenceDefectUnknownBeatsAreKept(t *testing.T) {
	w := startWhole(t, t.TempDir())
	w.try(t, 200000, at("cart", 1))
	was := w.metric(t, "polestar_leases")
	for n := range uint32(500) {
		if res, err := w.polaris.Heartbeat(t.Context(), at("cart", 2+n)); err != nil || res.GetCode().GetValue() != 400202 {
			t.Fatalf("a beat of an unknown instance: %v, %v", res, err)
		}
	}
	if got := w.metric(t, "polestar_leases"); got != was || was != 1 {
		t.Errorf("%v leases after beats of unknown instances, %v before", got, was)
	}
}

// What was removed long after its last change stayed in Discover.
func TestReferenceDefectRemovalsAreNotSeen(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir)
	for port := range uint32(3) {
		w.try(t, 200000, at("cart", port+1))
	}
	for port := range uint32(3) {
		w.stop() // what is unchanged for longer than the process lives cannot be in any look-back
		w = startWhole(t, dir)
		if got := w.discovered(t); len(got) != 3-int(port) {
			t.Errorf("after a restart: %v", got)
		}
		if res, err := w.polaris.DeregisterInstance(t.Context(), at("cart", port+1)); err != nil || res.GetCode().GetValue() != 200000 {
			t.Fatalf("%v, %v", res, err)
		}
		if got := w.discovered(t); len(got) != 2-int(port) {
			t.Errorf("after a removal: %v", got)
		}
	}
}

// There was no health service, and the one that servers use among themselves
// took beats and removals from anybody who reached the port.
func TestReferenceDefectServicesOfThePublicPort(t *testing.T) {
	w := startWhole(t, t.TempDir())
	served := w.app.polaris.GRPC().GetServiceInfo()
	for name, want := range map[string]bool{
		"v1.PolarisGRPC": true, "v1.PolarisServiceContractGRPC": true, "grpc.health.v1.Health": true, "v1.PolarisHeartbeatGRPC": false,
	} {
		if _, is := served[name]; is != want {
			t.Errorf("%s is served: %v, want %v", name, is, want)
		}
	}
	res, err := w.health.Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", res, err)
	}
}
