package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
)

const service = "shop"

// world is all that the demo starts.
type world struct {
	dir      string
	server   *harness.Server
	envoy    *harness.Envoy
	reg      *harness.Registrar
	driver   string // the application: the binary of drivers/polarisgo
	backends map[string]*backend
	stop     func() // of the request loop

	mu  sync.Mutex
	sum harness.Counts
}

// backend is an application process.
type backend struct {
	child *harness.Child
	addr  string
}

// newWorld starts everything. On an error, what was started is in the result
// and close ends it.
func newWorld(ctx context.Context) (*world, error) {
	w := &world{backends: map[string]*backend{}, stop: func() {}, sum: harness.Counts{By: map[string]int{}}}
	steps := []struct {
		text string
		do   func() error
	}{
		{"building the server and the applications", w.build},
		{"starting the server", w.startServer},
		{"starting three backends", func() error { return w.backend("blue", "green", "red") }},
		{"starting Envoy", w.startEnvoy},
	}
	for _, s := range steps {
		fmt.Println("…", s.text)
		if err := s.do(); err != nil {
			return w, fmt.Errorf("%s: %w", s.text, err)
		}
		if err := ctx.Err(); err != nil {
			return w, err
		}
	}
	fmt.Printf("  Polestar: Polaris %s, xDS %s, HTTP http://%s   Envoy: http://%s (Host: %s), admin http://%s\n",
		w.server.Polaris, w.server.XDS, w.server.HTTP, w.envoy.Egress, service, w.envoy.Admin)
	w.startLoop(ctx)
	return w, nil
}

func (w *world) build() (err error) {
	if w.dir, err = os.MkdirTemp("", "polestar-demo-"); err != nil {
		return err
	}
	if _, err = harness.Binary("..", "./cmd/polestar"); err != nil {
		return err
	}
	w.driver, err = harness.Binary("drivers/polarisgo", ".")
	return err
}

func (w *world) startServer() (err error) {
	w.server = harness.NewServer(filepath.Join(w.dir, "data"))
	if err := w.server.Start(); err != nil {
		return err
	}
	w.reg, err = harness.NewRegistrar(w.server.Polaris)
	return err
}

func (w *world) startEnvoy() (err error) {
	w.envoy, err = harness.NewEnvoy(w.server, w.dir, true)
	return err
}

// backend starts applications that serve and register themselves.
func (w *world) backend(names ...string) error {
	for _, name := range names {
		dir := filepath.Join(w.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		c, err := harness.NewChild(dir, []string{"HOME=" + dir}, w.driver, w.server.Polaris)
		if err != nil {
			return err
		}
		b := &backend{child: c}
		w.backends[name] = b
		var out struct{ Addr string }
		if err := c.Do(fmt.Sprintf("backend %s %s 1 100", service, name), &out); err != nil {
			return err
		}
		b.addr = out.Addr
	}
	return nil
}

// instance is what an operator sends to change one attribute of a backend: a
// registration replaces all of them.
func (w *world) instance(name string, set ...func(*service_manage.Instance)) *service_manage.Instance {
	return harness.Instance(service, w.backends[name].addr, append([]func(*service_manage.Instance){harness.TTL(1)}, set...)...)
}

// nothingLost asks the server itself: red has not been heard, the others live.
func (w *world) nothingLost() error {
	all, err := w.reg.Instances(service)
	if err != nil {
		return err
	}
	healthy := 0
	for _, i := range all {
		if i.GetHealthy().GetValue() {
			healthy++
		}
	}
	if len(all) != 3 || healthy != 2 {
		return fmt.Errorf("the restarted server knows %d instances, %d healthy; want 3 and 2", len(all), healthy)
	}
	return nil
}

// startLoop sends about 200 requests a second until close.
func (w *world) startLoop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	w.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			c := w.envoy.Get(service, 20)
			w.mu.Lock()
			for name, n := range c.By {
				w.sum.By[name] += n
			}
			w.sum.Errors += c.Errors
			w.mu.Unlock()
		}
	}()
}

// taken is what was counted since the last call.
func (w *world) taken() harness.Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sum
	w.sum = harness.Counts{By: map[string]int{}}
	return out
}

// show makes a change and prints a line a second until the split was as wanted
// for two seconds.
func (w *world) show(ctx context.Context, p phase) error {
	fmt.Printf("\n== %s\n", p.title)
	if p.do != nil {
		if err := p.do(); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began, right := time.Now(), 0
	for right < 2 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		c := w.taken()
		fmt.Printf("   %s\n", line(c, p.want))
		if c.Errors > 0 && !p.lossy {
			return fmt.Errorf("%d requests failed", c.Errors)
		}
		right++
		if err := fits(c, p.want); err != nil {
			right = 0
			if time.Since(began) > p.most {
				return err
			}
		}
	}
	return nil
}

// fits allows a tenth of all requests: a window holds about 200.
func fits(c harness.Counts, want map[string]float64) error {
	if c.Errors > 0 || c.Total() == 0 {
		return fmt.Errorf("%d requests failed, %d were answered", c.Errors, c.Total())
	}
	for name, n := range c.By {
		if share := float64(n) / float64(c.Total()); math.Abs(share-want[name]) > 0.1 || want[name] == 0 {
			return fmt.Errorf("%s has %.0f %% of the requests, expected %.0f %%", name, 100*share, 100*want[name])
		}
	}
	for name := range want {
		if c.By[name] == 0 {
			return fmt.Errorf("%s has no requests", name)
		}
	}
	return nil
}

// line draws a second: a bar for each backend.
func line(c harness.Counts, want map[string]float64) string {
	names := slices.Sorted(maps.Keys(c.By))
	for name := range want {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		share := 0.
		if c.Total() > 0 {
			share = float64(c.By[name]) / float64(c.Total())
		}
		fmt.Fprintf(&b, "%-5s %3.0f %% %-16s", name, 100*share, strings.Repeat("█", int(math.Round(15*share))))
	}
	fmt.Fprintf(&b, "failed %d", c.Errors)
	return b.String()
}

// close ends everything, also after a start that failed half-way.
func (w *world) close() {
	w.stop()
	for _, b := range w.backends {
		b.child.Kill()
	}
	if w.envoy != nil {
		w.envoy.Stop()
	}
	if w.reg != nil {
		w.reg.Close()
	}
	if w.server != nil {
		w.server.End()
	}
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
}
