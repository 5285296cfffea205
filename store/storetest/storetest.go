package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/store"
)

// Caps says what a backend cannot do by its nature.
type Caps struct {
	Volatile bool // content does not survive Close
}

// Open opens a store in dir with these bounds; the suite closes it.
type Open func(t testing.TB, dir string, bounds store.LogBounds) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open, caps Caps) {
	for name, f := range map[string]func(*testing.T, *fixture){
		"RegisterUpdateDeregister": testLifecycle,
		"GroupOrder":               testGroupOrder,
		"OneRefusedAlone":          testOneRefusedAlone,
		"IsolationIsKept":          testIsolationIsKept,
		"OperatorWins":             testOperatorWins,
		"ManagedObjects":           testManaged,
		"AutoCreatedServices":      testAuto,
		"Members":                  testMembers,
		"WhoMayDoWhat":             testAccess,
		"OneBootstrap":             testBootstrap,
		"RefusalsInTheLogOnly":     testRefusals,
		"CreatorsAreKept":          testCreator,
		"RestoredWithoutTimes":     testTimeless,
		"RestoredAsItWas":          testRestore,
		"LoadEqualsWritten":        testLoad,
		"ScannedAsOfOneRevision":   testScan,
		"OneLeaderAtATime":         testLeaders,
		"FencedWritesRace":         testFences,
		"PurgedForGood":            testPurge,
		"NamesDifferByCase":        testCase,
		"LimitsAreStored":          testLimits,
		"CancelledLeavesNothing":   testCancelled,
		"FollowersSeeAllInOrder":   testFollow,
		"LogIsBounded":             testCompaction,
		"TheEndOfTheLogIsNamed":    testTail,
		"TouchedNeverGoesBack":     testTouched,
		"AnySequenceEqualsModel":   testModel,
	} {
		t.Run(name, func(t *testing.T) {
			fx := &fixture{t: t, open: open, caps: caps, dir: t.TempDir(), bounds: store.DefaultLogBounds()}
			fx.start()
			t.Cleanup(fx.stop)
			f(t, fx)
		})
	}
}

// fixture is one fresh store.
type fixture struct {
	t      *testing.T
	open   Open
	caps   Caps
	dir    string
	bounds store.LogBounds
	store.Store
}

func (f *fixture) start() { f.Store = f.open(f.t, f.dir, f.bounds) }

func (f *fixture) stop() {
	var problems []string
	if err := f.Check(context.Background(), func(p string) { problems = append(problems, p) }); err != nil || problems != nil {
		f.t.Errorf("Check: %v %v", err, problems)
	}
	if err := f.Close(); err != nil {
		f.t.Errorf("Close: %v", err)
	}
}

// reopen closes and opens the store, unless it is volatile.
func (f *fixture) reopen() {
	if !f.caps.Volatile {
		f.stop()
		f.start()
	}
}

func (f *fixture) apply(writes ...naming.Write) (naming.Commit, []naming.Result) {
	f.t.Helper()
	c, rs, err := f.Apply(f.t.Context(), writes)
	if err != nil {
		f.t.Fatalf("Apply: %v", err)
	}
	return c, rs
}

// world loads everything into comparable form.
func (f *fixture) world() (naming.Revision, map[string]naming.Object, map[naming.ServiceKey]naming.Revision) {
	f.t.Helper()
	objects, touched := map[string]naming.Object{}, map[naming.ServiceKey]naming.Revision{}
	head, err := f.Load(context.Background(), func(o naming.Object) error {
		objects[fmt.Sprint(o.ObjectKind(), " ", o.ObjectKey())] = o
		return nil
	}, func(m naming.Touched) error {
		touched[m.Service] = m.Revision
		return nil
	})
	if err != nil {
		f.t.Fatalf("Load: %v", err)
	}
	return head, objects, touched
}

// Instance makes a valid instance with every attribute set.
func Instance(service string, n int) naming.Instance {
	i := naming.Instance{
		Service: naming.ServiceKey{Namespace: "ns", Name: service}, Host: fmt.Sprintf("10.0.%d.%d", n/250, n%250), Port: 8080,
		Protocol: "grpc", Version: "1.0", LogicSet: "set", Priority: 1, Weight: 100, TTL: 5,
		Location: naming.Location{Region: "r", Zone: "z", Campus: "c"},
		Metadata: naming.NewMetadata(map[string]string{"k": "v", "a": "b"}),
	}
	i.ID = naming.InstanceID(i.Service, "", i.Host, i.Port)
	return i
}

func register(i naming.Instance) *naming.Register {
	return &naming.Register{Instance: i, AutoCreate: true, Actor: naming.Actor{Address: "127.0.0.1", Agent: "test"}}
}

func testLifecycle(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	c, rs := f.apply(register(i))
	if c.Revision != 1 || rs[0].Outcome != naming.Created || len(c.Changes) != 3 {
		t.Fatalf("first registration: %+v %+v", c, rs[0])
	}
	if c, rs = f.apply(register(i)); c.Revision != 0 || rs[0].Outcome != naming.Unchanged || rs[0].Revision != 1 {
		t.Errorf("the same again: revision %d, %+v; want no revision", c.Revision, rs[0])
	}
	f.reopen()
	i.Weight = 7
	if c, rs = f.apply(register(i)); c.Revision != 2 || rs[0].Outcome != naming.Updated || rs[0].Instance.Weight != 7 {
		t.Errorf("update: %+v %+v", c, rs[0])
	}
	if _, rs = f.apply(&naming.SetHealth{ID: i.ID, Cause: naming.CauseLease}); rs[0].Instance.Healthy {
		t.Error("the instance is still healthy")
	}
	if c, rs = f.apply(&naming.Deregister{ID: i.ID}); c.Revision != 4 || rs[0].Outcome != naming.Deleted {
		t.Errorf("deregister: %+v %+v", c, rs[0])
	}
	f.reopen()
	if c, rs = f.apply(&naming.Deregister{ID: i.ID}); c.Revision != 0 || rs[0].Outcome != naming.Absent {
		t.Errorf("deregister again: %+v %+v", c, rs[0])
	}
	if head, _ := f.Head(t.Context()); head != 4 {
		t.Errorf("head = %d, want 4", head)
	}
}

func testGroupOrder(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	heavy := i
	heavy.Weight = 9
	c, rs := f.apply(register(i), &naming.Deregister{ID: i.ID}, register(heavy), register(heavy))
	var got []naming.Outcome
	for _, r := range rs {
		got = append(got, r.Outcome)
		if r.Revision != 1 {
			t.Errorf("revision %d, want 1", r.Revision)
		}
	}
	want := []naming.Outcome{naming.Created, naming.Deleted, naming.Created, naming.Unchanged}
	if diff := cmp.Diff(want, got); diff != "" || c.Revision != 1 {
		t.Errorf("revision %d %s", c.Revision, diff)
	}
	f.reopen()
	_, objects, _ := f.world()
	if o := objects["instance "+i.ID].(*naming.Instance); o.Weight != 9 {
		t.Errorf("weight = %d: the last write of a group must win", o.Weight)
	}
}

func testOneRefusedAlone(t *testing.T, f *fixture) {
	a, b := Instance("svc", 1), Instance("svc", 2)
	f.apply(register(a))
	thief := Instance("other", 3)
	thief.ID = a.ID
	orphan := register(Instance("missing", 4))
	orphan.AutoCreate = false
	_, rs := f.apply(register(thief), register(b), orphan)
	if naming.KindOf(rs[0].Err) != naming.Invalid || rs[1].Err != nil || naming.KindOf(rs[2].Err) != naming.NotFound {
		t.Errorf("got %v, %v, %v; want Invalid, none, NotFound", rs[0].Err, rs[1].Err, rs[2].Err)
	}
	_, objects, _ := f.world()
	if o := objects["instance "+a.ID].(*naming.Instance); o.Service.Name != "svc" || objects["instance "+b.ID] == nil {
		t.Error("an id was taken over, or its neighbour lost")
	}
	if objects["service ns\x00other"] != nil {
		t.Error("a refused registration created its service")
	}
}

// Isolation that the client itself asked for stays when it says nothing more.
func testIsolationIsKept(t *testing.T, f *fixture) {
	i := Instance("svc", 1)
	yes, no := true, false
	w := register(i)
	w.Isolated = &yes
	f.apply(w)
	i.Version = "2"
	if _, rs := f.apply(register(i)); !rs[0].Instance.Isolated {
		t.Error("a registration without its own wish ended the isolation")
	}
	w = register(i)
	w.Isolated = &no
	if _, rs := f.apply(w); rs[0].Instance.Isolated {
		t.Error("a registration's own wish was ignored")
	}
}

func testLoad(t *testing.T, f *fixture) {
	want := map[string]naming.Object{}
	for n := range 50 {
		c, _ := f.apply(register(Instance(fmt.Sprint("svc", n%3), n)), &naming.PutClient{Client: naming.Client{ID: fmt.Sprint(n % 7), Host: "h"}})
		for _, ch := range c.Changes {
			want[fmt.Sprint(ch.Object().ObjectKind(), " ", ch.Object().ObjectKey())] = ch.After
		}
	}
	f.reopen()
	head, got, _ := f.world()
	if diff := cmp.Diff(want, got); diff != "" || head != 50 {
		t.Errorf("head %d, world differs: %s", head, diff)
	}
	stop := errors.New("stop")
	if _, err := f.Load(t.Context(), func(naming.Object) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("a visitor's error came back as %v", err)
	}
}

func testCase(t *testing.T, f *fixture) {
	for _, name := range []string{"svc", "Svc", "SVC"} {
		f.apply(register(Instance(name, 1)))
	}
	f.reopen()
	_, objects, _ := f.world()
	for _, name := range []string{"svc", "Svc", "SVC"} {
		if objects["service ns\x00"+name] == nil || objects["instance "+Instance(name, 1).ID] == nil {
			t.Errorf("%s is missing: names are case-sensitive", name)
		}
	}
}

func testLimits(t *testing.T, f *fixture) {
	i := naming.Instance{
		ID:      strings.Repeat("界", naming.MaxInstanceID),
		Service: naming.ServiceKey{Namespace: strings.Repeat("n", naming.MaxNamespace), Name: strings.Repeat("s", naming.MaxService)},
		Host:    strings.Repeat("h", naming.MaxHost), Port: naming.MaxPort, VpcID: strings.Repeat("界", naming.MaxVpcID),
		Protocol: strings.Repeat("界", naming.MaxProtocol), Version: strings.Repeat("界", naming.MaxVersion),
		LogicSet: strings.Repeat("界", naming.MaxLogicSet), Priority: 1<<32 - 1, Weight: naming.MaxWeight, TTL: naming.MaxTTL,
		Location: naming.Location{
			Region: strings.Repeat("界", naming.MaxLocation), Zone: strings.Repeat("z", naming.MaxLocation), Campus: strings.Repeat("🚀", naming.MaxLocation),
		},
		Healthy: true,
	}
	m := map[string]string{}
	for n := range naming.MaxMetadataPairs {
		m[fmt.Sprintf("%02d", n)+strings.Repeat("🔑", naming.MaxMetadataKey-2)] = strings.Repeat("🚀", naming.MaxMetadataValue)
	}
	i.Metadata = naming.NewMetadata(m)
	f.apply(register(Instance("neighbour", 1)), register(i))
	f.reopen()
	_, objects, _ := f.world()
	got, _ := objects["instance "+i.ID].(*naming.Instance)
	if got == nil || !got.SameContent(&i) {
		t.Error("what passes validation must be stored and read back exactly")
	}
}

func testCancelled(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Apply(ctx, []naming.Write{register(Instance("svc", 1))}); naming.KindOf(err) != naming.NotDone {
		t.Errorf("err = %v, want NotDone", err)
	}
	if head, objects, _ := f.world(); head != 0 || len(objects) != 0 {
		t.Errorf("a cancelled write left %v at revision %d", objects, head)
	}
}

// Writers race; a follower that reads the log sees every commit once and in
// order, and what it builds from it equals the store.
func testFollow(t *testing.T, f *fixture) {
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				i := Instance(fmt.Sprint("svc", w%3), n)
				i.Weight = uint32(w + 1)
				if _, _, err := f.Apply(t.Context(), []naming.Write{register(i)}); err != nil {
					t.Errorf("Apply: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	built := map[string]naming.Object{}
	var at naming.Revision
	follow := func() {
		for {
			commits, err := f.Since(t.Context(), at, 7)
			if err != nil {
				t.Fatalf("Since(%d): %v", at, err)
			}
			if len(commits) == 0 {
				return
			}
			for _, c := range commits {
				if c.Revision != at+1 {
					t.Fatalf("revision %d came after %d", c.Revision, at)
				}
				at = c.Revision
				for _, ch := range c.Changes {
					built[fmt.Sprint(ch.Object().ObjectKind(), " ", ch.Object().ObjectKey())] = ch.After
				}
			}
		}
	}
	for running := true; running; {
		follow()
		select {
		case <-done:
			running = false
		default:
		}
	}
	follow()
	head, objects, _ := f.world()
	if diff := cmp.Diff(objects, built); diff != "" || head != at {
		t.Errorf("head %d, follower at %d: %s", head, at, diff)
	}
}

func testCompaction(t *testing.T, f *fixture) {
	f.stop()
	f.dir, f.bounds = t.TempDir(), store.LogBounds{MaxRevisions: 5, MaxBytes: 1 << 20}
	f.start()
	oldest := func(want naming.Revision) {
		t.Helper()
		if got, err := f.Oldest(t.Context()); err != nil || got != want {
			t.Errorf("Oldest = %d, %v; want %d", got, err, want)
		}
	}
	oldest(0)
	for n := range 20 {
		f.apply(register(Instance("svc", n)))
		oldest(max(5, naming.Revision(n+1)) - 4)
	}
	if _, err := f.Since(t.Context(), 3, 100); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("err = %v, want ErrCompacted", err)
	}
	if _, err := f.Tail(t.Context(), 3, 100); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("err = %v, want ErrCompacted", err)
	}
	for after, want := range map[naming.Revision]int{15: 5, 16: 4} { // the first of which is not there itself
		if got, err := f.Tail(t.Context(), after, 100); err != nil || len(got.Commits) != want || (got.At != naming.Record{}) != (want == 4 && shared(f)) {
			t.Errorf("Tail(%d) = %+v, %v", after, got, err)
		}
	}
	got, err := f.Since(t.Context(), 15, 100)
	if err != nil || len(got) != 5 || got[0].Revision != 16 {
		t.Errorf("Since(15) = %d commits, %v; want 5 from 16", len(got), err)
	}
	if got, err := f.Since(t.Context(), 20, 100); err != nil || len(got) != 0 {
		t.Errorf("Since(head) = %v, %v", got, err)
	}
	for before, want := range map[naming.Revision][]naming.Revision{0: {20, 19, 18}, 18: {17, 16}, 16: nil} {
		got, err := f.Before(t.Context(), before, 3)
		var revs []naming.Revision
		for _, c := range got {
			revs = append(revs, c.Revision)
		}
		if err != nil || !slices.Equal(revs, want) {
			t.Errorf("Before(%d, 3) = %v, %v; want %v", before, revs, err, want)
		}
	}
}

func testTouched(t *testing.T, f *fixture) {
	a, b := Instance("svc", 1), Instance("svc", 2)
	f.apply(register(a), register(b))
	f.apply(&naming.Deregister{ID: a.ID})
	f.apply(register(Instance("other", 1)))
	f.reopen()
	_, _, touched := f.world()
	want := map[naming.ServiceKey]naming.Revision{a.Service: 2, {Namespace: "ns", Name: "other"}: 3}
	if diff := cmp.Diff(want, touched); diff != "" {
		t.Error(diff)
	}
}
