package follow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"polestar/naming"
	"polestar/naming/follow"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/storetest"
)

// A database that crashed may forget a commit that a server has shown, and give
// its revision to another one. Whatever comes next, the server shows what is
// stored, counts it, and takes nothing back that was answered.
func TestALogThatWasRewritten(t *testing.T) {
	seen, instead := storetest.Instance("svc", 2), storetest.Instance("svc", 3)
	for name, next := range map[string]func(t *testing.T, other, n *node){
		"nothing comes": func(t *testing.T, _, n *node) { n.follower.Fresh(t.Context()) },
		"another server's commit": func(t *testing.T, other, n *node) {
			other.register(t, "svc", 3)
			n.follower.Fresh(t.Context())
		},
		"two of another server": func(t *testing.T, other, n *node) {
			other.register(t, "svc", 3)
			other.register(t, "svc", 4)
			n.follower.Fresh(t.Context())
		},
		"an own commit at its revision": func(t *testing.T, _, n *node) { n.register(t, "svc", 3) },
		"an own commit after another one": func(t *testing.T, other, n *node) {
			other.register(t, "svc", 3)
			n.register(t, "svc", 4)
		},
		"an own commit that another one overtook": func(t *testing.T, other, n *node) {
			c, _, err := n.store.Apply(t.Context(), []naming.Write{&naming.Register{Instance: instead, AutoCreate: true}})
			if err != nil {
				t.Fatal(err)
			}
			other.register(t, "svc", 4)
			if err := n.follower.Commit(t.Context(), c, c.Revision); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := memory.New(store.DefaultLogBounds())
			other, n := newNode(t, s, s), newNode(t, s, s)
			answered := other.register(t, "svc", 1)
			n.follower.Fresh(t.Context())
			// The database shows a commit, and crashes before that is on its disk.
			if _, _, err := s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: seen}}); err != nil {
				t.Fatal(err)
			}
			n.follower.Fresh(t.Context())
			if n.registry.World().Instance(seen.ID) == nil {
				t.Fatal("the server does not see what the database shows")
			}
			s.Forget()
			next(t, other, n)
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w := n.registry.World()
			if w.Revision() != head || w.Instance(seen.ID) != nil || w.Instance(storetest.Instance("svc", 1).ID) == nil {
				t.Errorf("revision %d is visible, %d is stored; what was forgotten is shown: %v", w.Revision(), head, w.Instance(seen.ID) != nil)
			}
			if got := w.Instance(instead.ID) != nil; got != (head > answered) {
				t.Errorf("what has its revision now is shown: %v", got)
			}
			if counted := n.metric(t, "polestar_follow_rewrites_total"); counted != 1 || n.loaded.Load() != 1 || other.loaded.Load() != 0 {
				t.Errorf("%v counted, loaded %d times, the other server %d times", counted, n.loaded.Load(), other.loaded.Load())
			}
			check(t, n)
			if c := n.follower.Compared(); c.Differences != 0 {
				t.Errorf("memory and store: %+v", c)
			}
			n.register(t, "svc", 5) // and it goes on
			if n.loaded.Load() != 1 {
				t.Errorf("loaded %d times", n.loaded.Load())
			}
		})
	}
}

// lagging is a feed whose database node is behind for some looks.
type lagging struct {
	*memory.Store
	looks int // that still see an older log
}

func (l *lagging) Tail(ctx context.Context, after naming.Revision, limit int) (naming.Tail, error) {
	t, err := l.Store.Tail(ctx, after, limit)
	if l.looks > 0 {
		l.looks--
		t = naming.Tail{Head: after - 1}
	}
	return t, err
}

// A log that ends too early for a moment is of a node that lags: nothing is
// taken back.
func TestALogThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &lagging{Store: memory.New(store.DefaultLogBounds())}
		n := newNode(t, feed.Store, feed)
		rev := n.register(t, "svc", 1)
		feed.looks = 3
		began := time.Now()
		n.follower.Fresh(t.Context())
		if feed.looks != 0 || time.Since(began) > follow.Default().Poll {
			t.Errorf("%d looks are left after %s", feed.looks, time.Since(began))
		}
		if n.loaded.Load() != 0 || n.registry.World().Revision() != rev || n.metric(t, "polestar_follow_rewrites_total") != 0 {
			t.Errorf("loaded %d times, revision %d is visible", n.loaded.Load(), n.registry.World().Revision())
		}
	})
}

// A log that was cut back to a world that lacks too much is not believed.
func TestARewrittenLogIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(store.DefaultLogBounds())
		feed := &broken{Store: s}
		n := newNode(t, s, feed)
		for k := range 10 {
			n.register(t, "svc", k)
		}
		s.Forget()
		feed.empty.Store(true)
		n.follower.Fresh(t.Context())
		_, _, instances, _ := n.registry.Snapshot().Counts()
		if n.loaded.Load() != 0 || instances != 10 || n.metric(t, "polestar_follow_shrinks_total") != 1 || n.metric(t, "polestar_follow_rewrites_total") != 0 {
			t.Errorf("loaded %d times, %d instances left", n.loaded.Load(), instances)
		}
		feed.empty.Store(false)
		time.Sleep(time.Minute) // it is not read again at once
		n.follower.Fresh(t.Context())
		if _, _, instances, _ = n.registry.Snapshot().Counts(); n.loaded.Load() != 1 || instances != 9 || n.registry.World().Revision() != 9 {
			t.Errorf("loaded %d times, %d instances at revision %d", n.loaded.Load(), instances, n.registry.World().Revision())
		}
	})
}

// unsynced is a feed of a database whose disk is slow.
type unsynced struct {
	*memory.Store

	mu    sync.Mutex      // guards everything below
	disk  naming.Revision // what is on it
	syncs int
	crash func() // when it is asked for what is on its disk
	err   error
}

// set changes the database.
func (u *unsynced) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

func (u *unsynced) Sync(context.Context) (naming.Revision, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.syncs++
	if u.crash != nil {
		u.crash()
	}
	return u.disk, u.err
}

// What can be read, but is not on the disk, is shown to nobody. A hint says of
// all up to its revision that it is there, and so does an own commit; else the
// database is asked.
func TestOnlyWhatIsOnTheDiskIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &unsynced{Store: memory.New(store.DefaultLogBounds())}
		n := newNode(t, feed.Store, feed)
		for k := range 6 {
			if _, _, err := feed.Apply(t.Context(), []naming.Write{&naming.Register{Instance: storetest.Instance("svc", k), AutoCreate: true}}); err != nil {
				t.Fatal(err)
			}
		}
		shows := func(want naming.Revision, syncs int, when string) {
			t.Helper()
			var asked int
			feed.set(func() { asked = feed.syncs })
			if got := n.registry.World().Revision(); got != want || asked != syncs {
				t.Errorf("%s: revision %d is visible after %d questions, want %d after %d", when, got, asked, want, syncs)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.follower.Run(ctx) }()
		n.follower.Hint(2)
		synctest.Wait()
		shows(2, 0, "a hint")
		feed.set(func() { feed.disk = 3 })
		time.Sleep(follow.Default().Poll)
		synctest.Wait()
		shows(3, 1, "a poll")
		feed.set(func() { feed.err = errors.New("gone") })
		n.follower.Fresh(t.Context())
		shows(3, 2, "a question without an answer")
		feed.set(func() {
			feed.err, feed.disk = nil, 6
			feed.crash = func() { feed.Forget(); feed.disk = 5 }
		})
		n.follower.Fresh(t.Context())
		shows(5, 3, "a crash meanwhile")
		feed.set(func() { feed.crash = nil })
		if rev := n.register(t, "svc", 7); rev != 6 {
			t.Errorf("an own commit at revision %d", rev)
		}
		shows(6, 3, "an own commit")
		cancel()
		if err := <-done; err != nil || n.loaded.Load() != 0 {
			t.Errorf("%v, loaded %d times", err, n.loaded.Load())
		}
	})
}

// A server that shows nothing yet shows what its first answer rests on, though
// that changed nothing.
func TestNoChangeOfAnEmptyWorld(t *testing.T) {
	s := memory.New(store.DefaultLogBounds())
	other, n := newNode(t, s, s), newNode(t, s, s)
	rev := other.register(t, "svc", 1)
	if err := n.follower.Commit(t.Context(), naming.Commit{}, rev); err != nil || n.registry.World().Revision() != rev {
		t.Errorf("revision %d is visible, want %d: %v", n.registry.World().Revision(), rev, err)
	}
}
