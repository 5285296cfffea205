package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

// pushBench measures how long a change takes from the SDK's request to the
// endpoints that xDS clients hold.
type pushBench struct {
	*benchTarget
	xds, protocol, resource      string
	watchers, instances, changes int
}

// pushRun is the result of one run.
type pushRun struct {
	Watchers       int       `json:"watchers"`
	Protocol       string    `json:"protocol"`
	FromSending    latencies `json:"from_sending"`
	FromAnswer     latencies `json:"from_answer"` // 0 for what arrived before the answer
	BytesPerChange float64   `json:"bytes_per_change_and_watcher"`
}

func benchPushCommand(t *benchTarget) *cobra.Command {
	b := pushBench{benchTarget: t}
	cmd := &cobra.Command{
		Use: "push", Short: "From a registration to the endpoint that xDS clients hold", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.validate(); err != nil {
				return err
			}
			return b.run(cmd)
		},
	}
	cmd.Flags().StringVar(&b.xds, "xds-addr", "127.0.0.1:15010", "the xDS door")
	cmd.Flags().StringVar(&b.protocol, "protocol", "delta", "delta or sotw")
	cmd.Flags().StringVar(&b.resource, "resource", "bench/push", "EDS name of the service push in namespace bench")
	cmd.Flags().IntVar(&b.watchers, "watchers", 100, "xDS clients, each on its own connection")
	cmd.Flags().IntVar(&b.instances, "instances", 100, "instances of the watched service")
	cmd.Flags().IntVar(&b.changes, "changes", 100, "changes in one run")
	return cmd
}

func (b *pushBench) validate() error {
	for _, f := range []struct {
		name  string
		value int
		most  int
	}{{"watchers", b.watchers, 20_000}, {"instances", b.instances, 100_000}, {"changes", b.changes, 100_000}} {
		if f.value < 1 || f.value > f.most {
			return fmt.Errorf("--%s: %d is not between 1 and %d", f.name, f.value, f.most)
		}
	}
	if b.protocol != "delta" && b.protocol != "sotw" {
		return fmt.Errorf("--protocol: %q is neither delta nor sotw", b.protocol)
	}
	return b.check(b.polaris, b.xds)
}

func (b *pushBench) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	conns, closeAll, err := b.dial(b.polaris, 1)
	if err != nil {
		return err
	}
	defer closeAll()
	registry := service_manage.NewPolarisGRPCClient(conns[0])
	defer b.remove(context.WithoutCancel(ctx), registry) // also of a preload that stopped half way
	if err := b.preload(ctx, registry); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	var runs []pushRun
	for n := range b.repeat {
		r, err := b.once(ctx, registry, n)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	of := func(f func(pushRun) float64) string { return figure(runs, f) }
	return report(cmd.OutOrStdout(), b.output, runs,
		"watchers\tprotocol\tsent→held p50 ms\tp99 ms\tmax ms\tanswered→held p50 ms\tp99 ms\tbytes", [][]any{{
			b.watchers, b.protocol,
			of(func(r pushRun) float64 { return r.FromSending.P50 }), of(func(r pushRun) float64 { return r.FromSending.P99 }),
			of(func(r pushRun) float64 { return r.FromSending.Max }), of(func(r pushRun) float64 { return r.FromAnswer.P50 }),
			of(func(r pushRun) float64 { return r.FromAnswer.P99 }), of(func(r pushRun) float64 { return r.BytesPerChange }),
		}})
}

// marker is the text by which a change is found in a response.
func marker(run, change int) string { return fmt.Sprintf("bench-%04d-%08d", run, change) }

func (b *pushBench) put(ctx context.Context, registry service_manage.PolarisGRPCClient, n int, mark string) error {
	i := b.instance("push", n)
	i.Metadata["bench"] = mark
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return answered(registry.RegisterInstance(ctx, i))
}

func (b *pushBench) preload(ctx context.Context, registry service_manage.PolarisGRPCClient) error {
	return b.each(func(n int) error { return b.put(ctx, registry, n, "preload") })
}

func (b *pushBench) remove(ctx context.Context, registry service_manage.PolarisGRPCClient) {
	_ = b.each(func(n int) error { // what is left does no harm
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return answered(registry.DeregisterInstance(call, b.instance("push", n)))
	})
}

// each calls f for every instance, 64 at a time, and returns the first error.
func (b *pushBench) each(f func(n int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for range 64 {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < b.instances; n = int(next.Add(1)) - 1 {
				if err := f(n); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// once opens the watchers, makes the changes one after the other, and waits for
// each until every watcher holds it.
func (b *pushBench) once(ctx context.Context, registry service_manage.PolarisGRPCClient, run int) (pushRun, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conns, closeAll, err := b.dial(b.xds, b.watchers, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wireCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return pushRun{}, err
	}
	defer closeAll()
	arrived := make(chan arrival, b.watchers)
	failed := make(chan error, b.watchers)
	var mark atomic.Pointer[[]byte]
	first := []byte("bench") // the metadata key, which is always there
	mark.Store(&first)
	var bytesSeen atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for n, cc := range conns {
		w := watcher{id: n, delta: b.protocol == "delta", resource: b.resource, cc: cc}
		wg.Go(func() {
			err := w.follow(ctx, func(message []byte) {
				bytesSeen.Add(int64(len(message)))
				if want := *mark.Load(); bytes.Contains(message, want) {
					select { // nobody reads any more once a run has failed
					case arrived <- arrival{n, time.Now(), string(want)}:
					case <-ctx.Done():
					}
				}
			})
			if ctx.Err() == nil {
				failed <- fmt.Errorf("watcher %d: %w", n, err)
			}
		})
	}
	if _, err := b.wait(ctx, arrived, failed, string(first)); err != nil {
		return pushRun{}, err
	}
	bytesSeen.Store(0)
	var fromSending, fromAnswer []time.Duration
	for change := range b.changes {
		text := marker(run, change)
		want := []byte(text)
		mark.Store(&want)
		sent := time.Now()
		if err := b.put(ctx, registry, change%b.instances, text); err != nil {
			return pushRun{}, err
		}
		acked := time.Now()
		times, err := b.wait(ctx, arrived, failed, text)
		if err != nil {
			return pushRun{}, err
		}
		for _, at := range times {
			fromSending = append(fromSending, at.Sub(sent))
			fromAnswer = append(fromAnswer, max(0, at.Sub(acked)))
		}
	}
	return pushRun{
		Watchers: b.watchers, Protocol: b.protocol, FromSending: summarise(fromSending), FromAnswer: summarise(fromAnswer),
		BytesPerChange: float64(bytesSeen.Load()) / float64(b.changes*b.watchers),
	}, nil
}

// arrival is a watcher that holds a change.
type arrival struct {
	watcher int
	at      time.Time
	mark    string
}

// wait returns when each watcher first held the change.
func (b *pushBench) wait(ctx context.Context, arrived <-chan arrival, failed <-chan error, mark string) (map[int]time.Time, error) {
	times := map[int]time.Time{}
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	for len(times) < b.watchers {
		select {
		case a := <-arrived:
			if _, twice := times[a.watcher]; a.mark == mark && !twice {
				times[a.watcher] = a.at
			}
		case err := <-failed:
			return nil, err
		case <-timer.C:
			return nil, fmt.Errorf("after 30 s only %d of %d watchers hold the change %q", len(times), b.watchers, mark)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), context.Cause(ctx))
		}
	}
	return times, nil
}
