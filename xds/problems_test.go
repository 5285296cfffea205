package xds

import (
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming/registry"
	"polestar/xds/resource"
)

// Forms come and go with the rights of those who watch them: what was wrong
// with those that nobody watches any more is not kept for ever.
func TestProblemsOfWhatNobodyWatchesAreForgotten(t *testing.T) {
	p, err := New(Deps{Registry: registry.New(), Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 * minSwept {
		p.note(resource.Form{Type: resource.Route, Name: strconv.Itoa(n)}, []resource.Problem{{Reason: "x"}})
	}
	if n := len(p.problems); n > minSwept+1 || n == 0 {
		t.Errorf("%d are kept", n)
	}
}
