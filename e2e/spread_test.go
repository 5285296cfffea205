package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

// BenchmarkSpread measures how long a registration at one server takes, from
// its sending, until another server shows it to Discover and has sent it to an
// xDS client. One iteration is 200 registrations; what is reported are medians
// over the iterations. Run it with make bench-cluster.
func BenchmarkSpread(b *testing.B) {
	for _, v := range []struct {
		name   string
		args   []string
		chains int
		pause  time.Duration // at most, between two registrations: none is in step with the poll
		look   time.Duration
	}{
		{"hints", nil, 1, 5 * time.Millisecond, 200 * time.Microsecond},
		{"poll", []string{"--peer-addr", ""}, 10, 500 * time.Millisecond, 5 * time.Millisecond},
	} {
		b.Run(v.name, func(b *testing.B) {
			db := startMariaDB(b)
			var servers [2]*harness.Server
			for n := range servers {
				servers[n] = clusterNode(b, db, v.args...)
				servers[n].StartFor(b)
			}
			var chains []*chain
			for n := range v.chains {
				chains = append(chains, newChain(b, fmt.Sprintf("spread-%d", n), servers[0], servers[1], v.look))
			}
			var discovered, pushed [][]time.Duration
			for b.Loop() {
				d, p := together200(b, chains, v.pause)
				discovered, pushed = append(discovered, d), append(pushed, p)
			}
			for _, q := range []int{50, 99} {
				b.ReportMetric(median(discovered, q), fmt.Sprintf("discover-p%d-ms", q))
				b.ReportMetric(median(pushed, q), fmt.Sprintf("eds-p%d-ms", q))
			}
			b.ReportMetric(0, "ns/op") // says nothing here
		})
	}
}

// together200 makes 200 registrations, shared by chains that run at once.
func together200(b *testing.B, chains []*chain, pause time.Duration) (discovered, pushed []time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range chains {
		wg.Go(func() {
			for range 200 / len(chains) {
				rest(b.Context(), rand.N(pause)) //nolint:gosec // any will do
				d, p, err := c.once(b.Context())
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				discovered, pushed = append(discovered, d), append(pushed, p)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return discovered, pushed
}

// median is that of a percentile of each iteration, in milliseconds.
func median(runs [][]time.Duration, percentile int) float64 {
	var of []time.Duration
	for _, r := range runs {
		slices.Sort(r)
		of = append(of, r[(len(r)-1)*percentile/100])
	}
	slices.Sort(of)
	return float64(of[len(of)/2].Microseconds()) / 1000
}

// chain registers one instance again and again, and waits each time until it
// is everywhere.
type chain struct {
	service string
	from    *harness.Registrar
	at      *harness.Registrar
	look    time.Duration // between two looks
	n       uint32
	pushes  chan push
}

type push struct {
	weight uint32
	at     time.Time
	err    error
}

func newChain(b *testing.B, service string, from, to *harness.Server, look time.Duration) *chain {
	b.Helper()
	c := &chain{service: service, from: harness.Connect(b, from.Polaris), at: harness.Connect(b, to.Polaris), look: look, pushes: make(chan push, 64)}
	cc, err := dialAgain(to.XDS)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := c.follow(ctx, discoveryv3.NewAggregatedDiscoveryServiceClient(cc))
		select {
		case c.pushes <- push{err: err}:
		case <-ctx.Done():
		}
	}()
	b.Cleanup(func() {
		cancel()
		<-done
		_ = cc.Close()
	})
	return c
}

// follow tells what the stream is sent, and when.
func (c *chain) follow(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient) error {
	stream, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	const eds = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ask := &discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: c.service, UserAgentName: "envoy"}, TypeUrl: eds, ResourceNamesSubscribe: []string{"default/" + c.service},
	}
	for {
		if err := stream.Send(ask); err != nil {
			return err
		}
		res, err := stream.Recv()
		if err != nil {
			return err
		}
		at := time.Now()
		for _, x := range res.GetResources() {
			var cla endpointv3.ClusterLoadAssignment
			if err := x.GetResource().UnmarshalTo(&cla); err != nil {
				return err
			}
			for _, e := range endpointsOf(&cla) {
				select {
				case c.pushes <- push{weight: e.Weight, at: at}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		ask = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: eds, ResponseNonce: res.GetNonce()}
	}
}

// once makes one registration.
func (c *chain) once(ctx context.Context) (discovered, pushed time.Duration, err error) {
	c.n++
	began := time.Now()
	if err := c.from.Put(harness.Instance(c.service, "10.0.0.1:80", harness.Weight(c.n))); err != nil {
		return 0, 0, err
	}
	for {
		shown, err := shownBy(ctx, service_manage.PolarisGRPCClient(c.at), c.service)
		if err != nil {
			return 0, 0, err
		}
		if shown["10.0.0.1:80"].Weight == c.n {
			break
		}
		rest(ctx, c.look)
	}
	discovered = time.Since(began)
	timer := time.NewTimer(soon)
	defer timer.Stop()
	for {
		select {
		case p := <-c.pushes:
			if p.err != nil {
				return 0, 0, p.err
			}
			if p.weight == c.n {
				return discovered, p.at.Sub(began), nil
			}
		case <-timer.C:
			return 0, 0, fmt.Errorf("weight %d of %s was not pushed", c.n, c.service)
		}
	}
}
