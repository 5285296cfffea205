package lifecycle

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) part(name string) Component {
	return Component{
		Name:  name,
		Start: func(context.Context) error { j.note("start " + name); return nil },
		Run:   func(ctx context.Context) error { <-ctx.Done(); j.note("ended " + name); return nil },
		Stop:  func(context.Context) error { j.note("stop " + name); return nil },
	}
}

func TestOrder(t *testing.T) {
	j := &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	last := Component{Name: "c", Start: func(context.Context) error { cancel(); return nil }}
	if err := Run(ctx, zap.NewNop(), time.Second, []Component{j.part("a"), j.part("b"), last}); err != nil {
		t.Fatal(err)
	}
	want := []string{"start a", "start b", "ended b", "stop b", "ended a", "stop a"}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Error(diff)
	}
}

func TestFailedStartStopsWhatWasStarted(t *testing.T) {
	j := &journal{}
	bad := Component{Name: "b", Start: func(context.Context) error { return errors.New("no") }}
	err := Run(t.Context(), zap.NewNop(), time.Second, []Component{j.part("a"), bad, j.part("c")})
	if err == nil || err.Error() != "b: no" {
		t.Errorf("err = %v", err)
	}
	if diff := cmp.Diff([]string{"start a", "ended a", "stop a"}, j.lines); diff != "" {
		t.Error(diff)
	}
}

func TestFailingRunStopsAll(t *testing.T) {
	j := &journal{}
	bad := Component{Name: "b", Run: func(context.Context) error { return errors.New("broke") }}
	err := Run(t.Context(), zap.NewNop(), time.Second, []Component{j.part("a"), bad})
	if err == nil || err.Error() != "b: broke" {
		t.Errorf("err = %v", err)
	}
}

func TestOverrunIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		slow := Component{Name: "slow", Run: func(context.Context) error { <-release; return nil }}
		last := Component{Name: "last", Start: func(context.Context) error { cancel(); return nil }}
		err := Run(ctx, zap.NewNop(), time.Second, []Component{slow, last})
		if err == nil || !strings.Contains(err.Error(), "slow did not stop within 1s") {
			t.Errorf("err = %v", err)
		}
		close(release)
	})
}
