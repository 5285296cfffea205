package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"polestar/xds/ads"
	"polestar/xds/explain"
	"polestar/xds/node"
	"polestar/xds/resource"
)

// fleet is one client that lacks the endpoints of ns/svc and one that has them.
type fleet struct{}

func (fleet) status(id uint64) ads.ClientStatus {
	return ads.ClientStatus{
		ID: id, NodeID: map[uint64]string{7: "envoy-1", 9: "envoy-2"}[id], View: "envoy in ns", Service: "ads",
		Sees: &node.View{Namespace: "ns"}, Since: time.Unix(1, 0),
	}
}

func (f fleet) Clients() []ads.ClientStatus { return []ads.ClientStatus{f.status(7), f.status(9)} }

func (f fleet) Client(id uint64) (ads.ClientStatus, []ads.NameStatus, bool) {
	h, ok := f.Holding(id, nil)
	return h.Client, h.Names, ok
}

func (f fleet) Holding(id uint64, _ []resource.Ref) (ads.Holding, bool) {
	form := ads.Form{Version: "0123456789abcdef", Revision: 1}
	n := ads.NameStatus{Type: resource.Endpoints, Name: "ns/svc", Named: true, Current: form, Sent: ads.Delivery{Form: form, At: time.Unix(2, 0)}}
	if id == 9 {
		n.Acked = n.Sent
	}
	return ads.Holding{Client: f.status(id), Names: []ads.NameStatus{n}}, id == 7 || id == 9
}

func TestClientResources(t *testing.T) {
	s := door(t, true)
	w := get(s, "/api/v1/clients/9/resources?limit=1")
	var page struct {
		Resources []explain.Resource
		Total     int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Total != 1 || page.Resources[0].State != "synced" ||
		page.Resources[0].Acked.Revision != 1 || page.Resources[0].Refused != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDiff(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]struct{ total, listed, converged int }{
		"": {2, 2, 1}, "?client=envoy-2": {1, 1, 1}, "?client=7": {1, 1, 0}, "?limit=1&offset=1": {2, 1, 1}, "?offset=5": {2, 0, 0},
	} {
		w := get(s, "/api/v1/diff"+path)
		var page struct {
			Diff  []explain.Diff
			Total int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Diff == nil {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		converged := 0
		for _, d := range page.Diff {
			if d.Converged {
				converged++
			} else if len(d.Resources) != 1 || d.Resources[0].State != "stale" {
				t.Errorf("%s: %+v", path, d)
			}
		}
		if page.Total != want.total || len(page.Diff) != want.listed || converged != want.converged {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

func TestExplainAnswers(t *testing.T) {
	s := door(t, true)
	w := get(s, "/api/v1/explain?client=envoy-1&namespace=ns&service=svc&instance=i1")
	var a explain.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || len(a.Reports) != 1 ||
		a.Reports[0].Instances[0].AtClient != explain.NotYet || a.Reports[0].Causes[0].Code != explain.NotAcked {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBadQuestionsAboutClients(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]struct {
		code      int
		parameter string
	}{
		"clients/x/resources":                                  {400, "id"},
		"clients/8/resources":                                  {404, "id"},
		"clients/7/resources?state=x":                          {400, "state"},
		"diff?client=nobody":                                   {404, "client"},
		"diff?service=a":                                       {400, "service"},
		"explain":                                              {400, "client"},
		"explain?client=envoy-1":                               {400, "service"},
		"explain?client=x&service=a":                           {404, "client"},
		"explain?client=7&client=9":                            {400, "client"},
		"explain?client=7&name=a":                              {400, "name"},
		"explain?client=7&namespace=ns":                        {400, "service"},
		"explain?client=7&service=" + strings.Repeat("s", 129): {400, "service"},
		"explain?client=7&service=a&instance=" + strings.Repeat("i", 200): {400, "instance"},
		"explain?client=" + strings.Repeat("c", 300) + "&service=a":       {400, "client"},
		"explain?client=7&service=a&namespace=" + strings.Repeat("n", 65): {400, "namespace"},
	} {
		w := get(s, "/api/v1/"+path)
		var p struct{ Detail, Parameter string }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != want.code || p.Parameter != want.parameter {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
