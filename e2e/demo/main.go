// Command demo shows, in about a minute, how traffic through a real Envoy
// follows what applications register: weights, isolation, a crashed backend,
// and kill -9 of the server itself. It starts everything on loopback, in a
// temporary directory, and ends what it started. It exits with 1 if traffic
// does not go where it should.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"polestar/e2e/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the demo at once
	err := run(ctx)
	harness.Cleanup()
	switch {
	case ctx.Err() != nil:
		fmt.Println("stopped")
		os.Exit(130)
	case err != nil:
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	began := time.Now()
	w, err := newWorld(ctx)
	defer w.close()
	if err != nil {
		return err
	}
	for _, p := range w.phases() {
		if err := w.show(ctx, p); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone in %d s: everything went where it should.\n", int(time.Since(began).Seconds()))
	return nil
}

// phase is one change and what traffic must look like after it.
type phase struct {
	title string
	do    func() error
	want  map[string]float64 // shares; a backend that is not named gets nothing
	// lossy: requests may fail until the split is as wanted, because a backend
	// is gone that the registry cannot know of yet.
	lossy bool
	most  time.Duration
}

func (w *world) phases() []phase {
	const usual = 10 * time.Second
	even := map[string]float64{"blue": 1. / 3, "green": 1. / 3, "red": 1. / 3}
	return []phase{
		{
			title: "Three backends registered through polaris-go; Envoy shares the requests evenly.",
			want:  even, most: usual,
		},
		{
			title: "Weight of blue: 100 -> 300.",
			do:    func() error { return w.reg.Put(w.instance("blue", harness.Weight(300))) },
			want:  map[string]float64{"blue": 0.6, "green": 0.2, "red": 0.2}, most: usual,
		},
		{
			title: "An operator isolates green.",
			do:    func() error { return w.reg.Put(w.instance("green", harness.Isolated(true))) },
			want:  map[string]float64{"blue": 0.75, "red": 0.25}, most: usual,
		},
		{
			title: "Green is back, blue has weight 100 again.",
			do: func() error {
				return errors.Join(w.reg.Put(w.instance("green", harness.Isolated(false))), w.reg.Put(w.instance("blue")))
			},
			want: even, most: usual,
		},
		{
			title: "Red crashes. Requests to it fail until it has missed its beats for three TTLs of 1 s.",
			do:    func() error { w.backends["red"].child.Kill(); return nil },
			want:  map[string]float64{"blue": 0.5, "green": 0.5}, lossy: true, most: usual,
		},
		{
			title: "kill -9 of the Polestar server. Envoy goes on with what it knows.",
			do:    func() error { w.server.Kill(); return nil },
			want:  map[string]float64{"blue": 0.5, "green": 0.5}, most: usual,
		},
		{
			title: "The server starts again: nothing is lost, and nobody is out for beats that it could not hear.",
			do: func() error {
				if err := w.server.Start(); err != nil {
					return err
				}
				return w.nothingLost()
			},
			want: map[string]float64{"blue": 0.5, "green": 0.5}, most: usual,
		},
		{
			title: "A new backend, gold, registers at the restarted server.",
			do:    func() error { return w.backend("gold") },
			want:  map[string]float64{"blue": 1. / 3, "green": 1. / 3, "gold": 1. / 3}, most: 30 * time.Second,
		},
	}
}
