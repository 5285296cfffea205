package web

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// holding is a Guard that holds one service and the clients.
type holding struct {
	released []Release
	err      error
}

func (*holding) Held() []Held {
	return []Held{
		{Of: OfInstances, Namespace: "ns", Service: "svc", Held: 9, Leases: 10, Since: "2026-01-01T00:00:00.000Z"},
		{Of: OfClients, Service: "clients", Held: 4, Leases: 5},
	}
}

func (h *holding) Release(r Release) (int, error) {
	h.released = append(h.released, r)
	switch {
	case h.err != nil:
		return 0, h.err
	case r.Of == OfClients || r.Service.Name == "svc":
		return 9, nil
	}
	return 0, nil
}

func TestWhatTheGuardHoldsIsShownAndReleased(t *testing.T) {
	s, g := door(t, true), &holding{}
	s.deps.Guard = g
	list := must[struct {
		Guard []Held
		Total int
	}](t, get(s, "/api/v1/guard"), 200)
	if diff := cmp.Diff(g.Held(), list.Guard); diff != "" || list.Total != 2 {
		t.Errorf("%d in all %s", list.Total, diff)
	}
	if w := get(s, "/api/v1/guard?namespace=ns&service=svc"); !strings.Contains(w.Body.String(), `"total": 1`) {
		t.Errorf("filtered: %s", w.Body)
	}
	for _, body := range []string{`{"namespace":"ns","service":"svc","reason":"gone"}`, `{"of":"clients","reason":"gone"}`} {
		if r := must[Released](t, send(s, "POST", "/api/v1/guard/release", body), 200); r.Released != 9 {
			t.Errorf("%s: %+v", body, r)
		}
	}
	actor := naming.Actor{Address: "192.0.2.1", Agent: "test/1"} // httptest's
	want := []Release{
		{Of: OfInstances, Service: naming.ServiceKey{Namespace: "ns", Name: "svc"}, Actor: actor, Reason: "gone"},
		{Of: OfClients, Actor: actor, Reason: "gone"},
	}
	if diff := cmp.Diff(want, g.released); diff != "" {
		t.Error(diff)
	}
}

func TestReleasesAreChecked(t *testing.T) {
	s, g := door(t, true), &holding{}
	s.deps.Guard = g
	for body, want := range map[string]refused{
		`{"namespace":"ns","service":"svc"}`:                           {Status: 400, Parameter: "reason"},
		`{"namespace":"ns","service":"svc","reason":""}`:               {Status: 400, Parameter: "reason"},
		`{"service":"svc","reason":"x"}`:                               {Status: 400, Parameter: "namespace"},
		`{"namespace":"ns","reason":"x"}`:                              {Status: 400, Parameter: "service"},
		`{"of":"clients","service":"svc","reason":"x"}`:                {Status: 400, Parameter: "service"},
		`{"of":"all","reason":"x"}`:                                    {Status: 400, Parameter: "of"},
		`{"reason":"` + strings.Repeat("x", 513) + `","of":"clients"}`: {Status: 400, Parameter: "reason", Detail: "512"},
		`{"namespace":"ns","service":"other","reason":"x"}`:            {Status: 404, Parameter: "service", Detail: `"ns/other"`},
	} {
		got := must[refused](t, send(s, "POST", "/api/v1/guard/release", body), want.Status)
		if got.Parameter != want.Parameter || !strings.Contains(got.Detail, want.Detail) {
			t.Errorf("%.80s: %+v, want %+v", body, got, want)
		}
	}
	if len(g.released) != 1 {
		t.Errorf("%+v were released", g.released)
	}
	g.err = naming.Errorf(naming.StoreFailed, "", "nothing was done")
	must[refused](t, send(s, "POST", "/api/v1/guard/release", `{"of":"clients","reason":"x"}`), 503)
}
