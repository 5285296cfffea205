package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/cleanup"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var svc = naming.ServiceKey{Namespace: "ns", Name: "svc"}

// world is a whole registry in memory.
type world struct {
	*memory.Store
	*registry.Registry
	t       *testing.T
	fail    error           // what every write answers
	beating map[string]bool // ids that somebody beats for
	hold    string
	onWrite func(naming.Write)
	metrics *prometheus.Registry
}

func newWorld(t *testing.T, bounds store.LogBounds) *world {
	t.Helper()
	return &world{Store: memory.New(bounds), Registry: registry.New(), t: t, beating: map[string]bool{}, metrics: prometheus.NewRegistry()}
}

// Do implements naming.Writer.
func (w *world) Do(ctx context.Context, wr naming.Write) (naming.Result, error) {
	if w.fail != nil {
		return naming.Result{}, w.fail
	}
	if w.onWrite != nil {
		f := w.onWrite
		w.onWrite = nil
		f(wr)
	}
	commit, results, err := w.Store.Apply(ctx, []naming.Write{wr})
	if err != nil {
		return naming.Result{}, err
	}
	return results[0], w.Registry.Apply(commit)
}

// do writes; nothing may be refused.
func (w *world) do(writes ...naming.Write) {
	w.t.Helper()
	for _, wr := range writes {
		if res, err := w.Do(w.t.Context(), wr); err != nil || res.Err != nil {
			w.t.Fatal(err, res.Err)
		}
	}
}

func (w *world) deps() cleanup.Deps {
	return cleanup.Deps{
		World: w.Registry, Admin: naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: w, World: w.Registry}), ChangeLog: w.Store,
		Silent: func(id string) bool { return !w.beating[id] }, Hold: func() string { return w.hold },
		Metrics: w.metrics, Log: zap.NewNop(),
	}
}

func (w *world) cleaner(cfg cleanup.Config) *cleanup.Cleaner {
	w.t.Helper()
	c, err := cleanup.New(cfg, w.deps())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// run runs c until the test ends.
func run(t *testing.T, c *cleanup.Cleaner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func instance(id string, ttl uint32) *naming.Register {
	return &naming.Register{Instance: naming.Instance{ID: id, Service: svc, Host: "h-" + id, Port: 80, Weight: 100, TTL: ttl}, AutoCreate: true}
}

func sick(id string) *naming.SetHealth { return &naming.SetHealth{ID: id, Cause: naming.CauseLease} }

func isolate(id string) *naming.Modify {
	return &naming.Modify{ID: id, Set: naming.Setting{Isolated: new(true)}}
}

func outcomes(r cleanup.Report) map[string]string {
	out := map[string]string{}
	for _, i := range r.Items {
		out[i.Subject.Kind+" "+i.Subject.Service.Name+" "+i.Subject.ID] = i.Outcome
	}
	return out
}

func ages(of func(*cleanup.Config)) cleanup.Config {
	cfg := cleanup.Default()
	of(&cfg)
	return cfg
}

// An instance goes when it was unhealthy for the whole time, nobody beats for
// it, no operator touched it, and its lease is what decides.
func TestLongUnhealthyInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("dead", 5), instance("operated", 5), instance("beating", 5), instance("healthy", 5), instance("young", 5), instance("changed", 5))
		w.do(&naming.Register{Instance: instance("its-own-word", 0).Instance, Healthy: new(false)})
		w.do(sick("dead"), sick("operated"), sick("beating"), sick("changed"), isolate("operated"))
		w.beating["beating"] = true
		c := w.cleaner(ages(func(c *cleanup.Config) { c.UnhealthyInstances = 3 * time.Hour }))
		run(t, c)
		time.Sleep(2 * time.Hour)
		w.do(sick("young"), &naming.Modify{ID: "changed", Set: naming.Setting{Version: new("2")}})
		time.Sleep(59 * time.Minute)
		if w.World().Instance("dead") == nil {
			t.Error("removed before its time")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.World().Instance("dead") != nil {
			t.Error("not removed after three hours")
		}
		for _, id := range []string{"operated", "beating", "healthy", "young", "changed", "its-own-word"} {
			if w.World().Instance(id) == nil {
				t.Errorf("%s was removed", id)
			}
		}
		log, err := w.Before(t.Context(), 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if ch := log[0].Changes[0]; ch.Cause != naming.CauseCleanup || ch.Reason != "unhealthy since 2000-01-01T00:00:00Z" || ch.Actor != (naming.Actor{}) {
			t.Errorf("%+v", ch)
		}
		if n := counted(t, w, "unhealthy-instances"); n != 1 {
			t.Errorf("%v are counted", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if w.World().Instance("young") != nil || w.World().Instance("changed") != nil {
			t.Error("the younger ones never get old")
		}
	})
}

// counted is how many removals of a job the metrics show.
func counted(t *testing.T, w *world, job string) (n float64) {
	t.Helper()
	all, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "polestar_cleanup_removed_total" && m.GetLabel()[0].GetValue() == job {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// A service goes when it was empty for the whole time and nobody cares for it.
// Since when it is empty is in the change log, and so outlives a restart.
func TestEmptyServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		of := func(name string) *naming.Register {
			r := instance("i-"+name, 0)
			r.Instance.Service.Name = name
			return r
		}
		key := func(name string) naming.ServiceKey { return naming.ServiceKey{Namespace: "ns", Name: name} }
		for _, name := range []string{"empty", "used", "touched", "aliased", "late", "again"} {
			w.do(of(name))
		}
		w.do(&naming.PutService{Key: key("touched"), Comment: new("mine")}, &naming.PutAlias{Key: key("nick"), For: key("aliased")})
		for _, name := range []string{"empty", "touched", "aliased", "again"} {
			w.do(&naming.Deregister{ID: "i-" + name})
		}
		time.Sleep(30 * time.Minute)
		w.do(&naming.Deregister{ID: "i-late"})
		c := w.cleaner(ages(func(c *cleanup.Config) { c.EmptyServices = time.Hour }))
		run(t, c)
		time.Sleep(40 * time.Minute)
		got, err := c.Do(t.Context(), cleanup.Request{Job: cleanup.EmptyServices, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"service empty ": "found", "service again ": "found"}, outcomes(got)); diff != "" || got.Removed != 0 {
			t.Errorf("(-want +got):\n%s", diff)
		}
		w.onWrite = func(naming.Write) { w.do(of("again")) } // while the first one is removed
		got, err = c.Do(t.Context(), cleanup.Request{Job: cleanup.EmptyServices})
		if err != nil || got.Err != nil {
			t.Fatal(err, got.Err)
		}
		kept := 0
		for name, outcome := range outcomes(got) {
			if outcome == cleanup.Kept {
				kept++
			} else if outcome != cleanup.Removed || w.World().Service(key(strings.Fields(name)[1])) != nil {
				t.Errorf("%s: %s", name, outcome)
			}
		}
		if got.Removed+got.Kept != 2 || kept != got.Kept || w.World().Service(key("again")) == nil {
			t.Errorf("%+v", got)
		}
		for _, name := range []string{"used", "touched", "aliased", "late"} {
			if w.World().Service(key(name)) == nil {
				t.Errorf("%s was removed", name)
			}
		}
	})
}

// What waits for an instance goes when the instance was away for the whole
// time, however long ago the operator set it.
func TestOverridesOfAbsentInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("away", 0), instance("late", 0), instance("here", 0), isolate("away"), isolate("late"), isolate("here"))
		w.do(&naming.Deregister{ID: "away"})
		c := w.cleaner(ages(func(c *cleanup.Config) { c.Overrides = 24 * time.Hour }))
		run(t, c)
		time.Sleep(20 * time.Hour)
		w.do(&naming.Deregister{ID: "late"})
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		var left []string
		for o := range w.World().Overrides() {
			left = append(left, o.InstanceID)
		}
		if diff := cmp.Diff([]string{"late"}, left); diff != "" || !w.World().Instance("here").Isolated {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// What the log does not have any more is as old as the log at least, not older
// than anybody knows.
func TestAgesWithAShortLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.LogBounds{MaxRevisions: 2, MaxBytes: 1 << 20})
		w.do(instance("a", 0), isolate("a"), &naming.Deregister{ID: "a"})
		c := w.cleaner(ages(func(c *cleanup.Config) { c.Overrides = time.Hour }))
		run(t, c)
		time.Sleep(30 * time.Minute)
		for n := range 3 { // the record of the removal goes
			w.do(&naming.PutNamespace{Name: fmt.Sprint("n", n)})
		}
		time.Sleep(59 * time.Minute)
		find := func() int {
			t.Helper()
			r, err := c.Do(t.Context(), cleanup.Request{Job: cleanup.Overrides, DryRun: true})
			if err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			return len(r.Items)
		}
		if n := find(); n != 0 {
			t.Errorf("%d found, though nobody knows that it is an hour old", n)
		}
		time.Sleep(time.Minute)
		if n := find(); n != 1 {
			t.Errorf("%d found, though the oldest record is an hour old", n)
		}
	})
}

// Nothing is removed soon after a start, or while something holds.
func TestNothingIsRemovedWhenItIsNotSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("a", 5), instance("b", 5), sick("a"), sick("b"))
		time.Sleep(2 * time.Hour)
		c := w.cleaner(ages(func(c *cleanup.Config) { c.UnhealthyInstances, c.Interval = time.Hour, 2*time.Minute }))
		do := func(dry bool) (cleanup.Report, error) {
			return c.Do(t.Context(), cleanup.Request{Job: cleanup.UnhealthyInstances, DryRun: dry})
		}
		if _, err := do(false); naming.KindOf(err) != naming.Conflict || !strings.Contains(err.Error(), "started less than 5m") {
			t.Errorf("before the start: %v", err)
		}
		run(t, c)
		w.hold = "expiries are held"
		time.Sleep(5*time.Minute - time.Second)
		if r, err := do(true); err != nil || len(r.Items) != 2 || !strings.Contains(r.Held, "started") {
			t.Errorf("a dry run shows what it would do and why it does not: %v %+v", err, r)
		}
		if c.Held() == "" || c.Interval() != 2*time.Minute {
			t.Errorf("held %q", c.Held())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := do(false); naming.KindOf(err) != naming.Conflict || !strings.Contains(err.Error(), "expiries are held") || w.World().Instance("a") == nil {
			t.Errorf("%v", err)
		}
		// What begins to hold amid a run stops it.
		w.hold = ""
		w.onWrite = func(naming.Write) { w.hold = "an outage" }
		r, err := do(false)
		if err != nil || r.Removed != 1 || r.Err == nil || r.Items[1].Outcome != cleanup.Found {
			t.Errorf("%v %+v", err, r)
		}
		if s := c.Status(); s[0].Last == nil || s[0].Last.Removed != 1 || s[0].Age != time.Hour || s[1].Age != 0 || s[1].Last != nil {
			t.Errorf("%+v", s)
		}
	})
}

func TestRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		for n := range 7 {
			w.do(instance(fmt.Sprint(n), 5), sick(fmt.Sprint(n)))
		}
		c := w.cleaner(ages(func(c *cleanup.Config) { c.MaxPerRun = 3 }))
		run(t, c)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.World().Service(svc).Instances) != 7 {
			t.Error("a job that is off did something")
		}
		for _, want := range []struct {
			removed int
			more    bool
		}{{3, true}, {3, true}, {1, false}, {0, false}} {
			r, err := c.Do(t.Context(), cleanup.Request{Job: cleanup.UnhealthyInstances, Age: time.Minute, Actor: naming.Actor{Address: "10.0.0.1"}})
			if err != nil || r.Err != nil || r.Removed != want.removed || r.More != want.more {
				t.Fatalf("%v %+v, want %+v", err, r, want)
			}
		}
		log, _ := w.Before(t.Context(), 0, 1)
		if log[0].Changes[0].Actor.Address != "10.0.0.1" {
			t.Errorf("%+v", log[0].Changes[0].Actor)
		}
	})
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("a", 5), sick("a"))
		c := w.cleaner(cleanup.Default())
		run(t, c)
		time.Sleep(time.Hour)
		for _, r := range []cleanup.Request{{Job: "magic", Age: time.Hour}, {Job: cleanup.Overrides}, {Job: cleanup.Overrides, Age: time.Second}, {Job: cleanup.Overrides, Age: 1 << 62}} {
			if _, err := c.Do(t.Context(), r); naming.KindOf(err) != naming.Invalid {
				t.Errorf("%+v: %v", r, err)
			}
		}
		broken := &naming.Error{Kind: naming.StoreFailed, Msg: "nothing was done"}
		w.fail = broken
		r, err := c.Do(t.Context(), cleanup.Request{Job: cleanup.UnhealthyInstances, Age: time.Minute})
		if err != nil || !errors.Is(r.Err, broken) || r.Removed != 0 {
			t.Errorf("%v %+v", err, r)
		}
		w.fail = nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r, err = c.Do(ctx, cleanup.Request{Job: cleanup.UnhealthyInstances, Age: time.Minute}); err != nil || r.Err == nil || w.World().Instance("a") == nil {
			t.Errorf("a caller that is gone: %v %+v", err, r)
		}
	})
}

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, store.DefaultLogBounds())
		w.do(instance("a", 5), sick("a"))
		c := w.cleaner(cleanup.Default())
		run(t, c)
		time.Sleep(time.Hour)
		ask := cleanup.Request{Job: cleanup.UnhealthyInstances, Age: time.Minute}
		w.onWrite = func(naming.Write) {
			if _, err := c.Do(t.Context(), ask); naming.KindOf(err) != naming.Conflict {
				t.Errorf("a second run beside the first: %v", err)
			}
		}
		if r, err := c.Do(t.Context(), ask); err != nil || r.Removed != 1 {
			t.Errorf("%v %+v", err, r)
		}
	})
}

func TestConfigNamesKeyAndBound(t *testing.T) {
	if err := cleanup.Default().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*cleanup.Config){
		"cleanup.interval: 1s is not between 1m and 24h":                             func(c *cleanup.Config) { c.Interval = time.Second },
		"cleanup.max-per-run: 0 is not between 1 and 10000":                          func(c *cleanup.Config) { c.MaxPerRun = 0 },
		"cleanup.settle: 0s is below 1s":                                             func(c *cleanup.Config) { c.Settle = 0 },
		"cleanup.unhealthy-instances: 1s is neither 0 nor between 1m and 87600h":     func(c *cleanup.Config) { c.UnhealthyInstances = time.Second },
		"cleanup.empty-services: 100000h0m0s is neither 0 nor between 1m and 87600h": func(c *cleanup.Config) { c.EmptyServices = 100000 * time.Hour },
		"cleanup.overrides: -1h0m0s is neither 0 nor between 1m and 87600h":          func(c *cleanup.Config) { c.Overrides = -time.Hour },
	} {
		cfg := ages(change)
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := cleanup.New(cfg, cleanup.Deps{}); err == nil {
			t.Errorf("%s: accepted", want)
		}
	}
}
