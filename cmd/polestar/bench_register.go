package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"
)

// registerBench measures registrations: each is answered when it is durable.
type registerBench struct {
	*benchTarget
	callers  []int
	duration time.Duration
	services int
	conns    int
	async    bool
}

// registerRun is the result of one run.
type registerRun struct {
	Callers   int       `json:"callers"`
	PerSecond float64   `json:"registrations_per_second"`
	Errors    int       `json:"errors"`
	LastError string    `json:"last_error,omitempty"`
	Latency   latencies `json:"latency"`
}

func benchRegisterCommand(t *benchTarget) *cobra.Command {
	b := registerBench{benchTarget: t}
	cmd := &cobra.Command{
		Use: "register", Short: "Registrations per second and their latency", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.validate(); err != nil {
				return err
			}
			return b.run(cmd)
		},
	}
	cmd.Flags().IntSliceVar(&b.callers, "callers", []int{1, 64, 512}, "callers at once, one run each")
	cmd.Flags().DurationVar(&b.duration, "duration", 3*time.Second, "length of one run, up to 5m")
	cmd.Flags().IntVar(&b.services, "services", 100, "services that the instances belong to")
	cmd.Flags().IntVar(&b.conns, "conns", 8, "connections at most")
	cmd.Flags().BoolVar(&b.async, "async-header", false, "send async-regis, as polaris-java does")
	return cmd
}

func (b *registerBench) validate() error {
	switch {
	case b.duration <= 0 || b.duration > 5*time.Minute:
		return fmt.Errorf("--duration: %s is not between 0 and 5m", b.duration)
	case b.services < 1 || b.services > 100_000:
		return fmt.Errorf("--services: %d is not between 1 and 100000", b.services)
	case b.conns < 1 || b.conns > 1000:
		return fmt.Errorf("--conns: %d is not between 1 and 1000", b.conns)
	}
	for _, n := range b.callers {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("--callers: %d is not between 1 and 10000", n)
		}
	}
	return b.check(b.polaris)
}

func (b *registerBench) run(cmd *cobra.Command) error {
	conns, closeAll, err := b.dial(b.polaris, b.conns)
	if err != nil {
		return err
	}
	defer closeAll()
	clients := make([]service_manage.PolarisGRPCClient, len(conns))
	for n, cc := range conns {
		clients[n] = service_manage.NewPolarisGRPCClient(cc)
	}
	if err := b.probe(cmd.Context(), clients); err != nil {
		return err
	}
	var runs []registerRun
	var rows [][]any
	for _, callers := range b.callers {
		var mine []registerRun
		for range b.repeat {
			r, registered := b.once(cmd.Context(), clients, callers)
			// An interrupted run cleans up too; a second signal ends that.
			b.cleanUp(context.WithoutCancel(cmd.Context()), clients, registered)
			if cmd.Context().Err() != nil {
				return context.Cause(cmd.Context())
			}
			mine = append(mine, r)
		}
		runs = append(runs, mine...)
		rows = append(rows, []any{
			callers, figure(mine, func(r registerRun) float64 { return r.PerSecond }),
			figure(mine, func(r registerRun) float64 { return r.Latency.P50 }),
			figure(mine, func(r registerRun) float64 { return r.Latency.P99 }),
			figure(mine, func(r registerRun) float64 { return r.Latency.Max }),
			figure(mine, func(r registerRun) float64 { return float64(r.Errors) }), mine[len(mine)-1].LastError,
		})
	}
	return report(cmd.OutOrStdout(), b.output, runs, "callers\tper second\tp50 ms\tp99 ms\tmax ms\terrors\tlast error", rows)
}

// probe makes one registration: callers of a server that is not there would
// only measure how fast a connection is refused.
func (b *registerBench) probe(ctx context.Context, clients []service_manage.PolarisGRPCClient) error {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := called(clients[0].RegisterInstance(call, b.instance("register-0", 0))); err != nil {
		return err
	}
	_, err := clients[0].DeregisterInstance(call, b.instance("register-0", 0))
	return err
}

// figure is the median of one figure over the runs.
func figure[R any](runs []R, of func(R) float64) string {
	all := make([]float64, len(runs))
	for n, r := range runs {
		all[n] = of(r)
	}
	return fmt.Sprintf("%.2f", median(all))
}

// once registers new instances with this many callers for the duration.
func (b *registerBench) once(ctx context.Context, clients []service_manage.PolarisGRPCClient, callers int) (registerRun, int) {
	if b.async {
		ctx = metadata.AppendToOutgoingContext(ctx, "async-regis", "true")
	}
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	run := registerRun{Callers: callers}
	began := time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			var mine []time.Duration
			var failed int
			var last string
			for time.Since(began) < b.duration && ctx.Err() == nil {
				n := int(next.Add(1))
				call, cancel := context.WithTimeout(ctx, 10*time.Second)
				start := time.Now()
				err := answered(clients[c%len(clients)].RegisterInstance(call, b.instance(fmt.Sprint("register-", n%b.services), n)))
				took := time.Since(start)
				cancel()
				if err != nil {
					failed, last = failed+1, err.Error()
					continue
				}
				mine = append(mine, took)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			run.Errors += failed
			if last != "" {
				run.LastError = last
			}
		})
	}
	wg.Wait()
	run.PerSecond = float64(len(all)) / time.Since(began).Seconds()
	run.Latency = summarise(slices.Clip(all))
	return run, int(next.Load())
}

// cleanUpTimeout bounds the removal of what one run registered: a server that
// no longer answers must not hold the benchmark.
const cleanUpTimeout = 2 * time.Minute

// cleanUp removes what a run registered.
func (b *registerBench) cleanUp(ctx context.Context, clients []service_manage.PolarisGRPCClient, registered int) {
	ctx, cancelAll := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancelAll()
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range min(128, registered) {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= registered && ctx.Err() == nil; n = int(next.Add(1)) {
				call, cancel := context.WithTimeout(ctx, 10*time.Second)
				_, _ = clients[c%len(clients)].DeregisterInstance(call, b.instance(fmt.Sprint("register-", n%b.services), n))
				cancel()
			}
		})
	}
	wg.Wait()
}
