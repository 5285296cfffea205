package polaris_test

import (
	"strconv"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"polestar/naming/polaris"
)

// The answer to a write carries its revision as a header; a write that changed
// nothing has one that had it so already, and a refused one none.
func TestRevisionsAreRevealed(t *testing.T) {
	d := open(t)
	in := message("default", "cart", 80)
	call := func(f func(opt grpc.CallOption) (*service_manage.Response, error)) string {
		t.Helper()
		var head metadata.MD
		if _, err := f(grpc.Header(&head)); err != nil {
			t.Fatal(err)
		}
		if got := head.Get(polaris.RevisionHeader); len(got) == 1 {
			return got[0]
		}
		return ""
	}
	register := func(opt grpc.CallOption) (*service_manage.Response, error) {
		return d.RegisterInstance(t.Context(), in, opt)
	}
	now := func() string { return strconv.FormatUint(uint64(d.backend.World().Revision()), 10) }
	first := call(register)
	if first != now() || first == "0" {
		t.Errorf("registered at %s, the newest revision is %s", first, now())
	}
	if again := call(register); again != first {
		t.Errorf("the same again is revision %q, want %s", again, first)
	}
	in.Weight = num(1 << 20)
	if got := call(register); got != "" {
		t.Errorf("a refused registration has revision %q", got)
	}
	gone := call(func(opt grpc.CallOption) (*service_manage.Response, error) {
		return d.DeregisterInstance(t.Context(), in, opt)
	})
	if gone != now() || gone == first {
		t.Errorf("deregistered at %s, the newest revision is %s", gone, now())
	}
}
