package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"polestar/naming"
)

// cleaned notes what it is asked to run.
type cleaned struct {
	job   string
	older time.Duration
	dry   bool
	actor naming.Actor
	err   error
}

func (c *cleaned) Jobs() CleanupJobs {
	return CleanupJobs{Interval: "1h0m0s", Jobs: []CleanupJob{{Job: "overrides", OlderThan: "24h0m0s"}}}
}

func (c *cleaned) Run(_ context.Context, job string, older time.Duration, dry bool, actor naming.Actor) (CleanupReport, error) {
	c.job, c.older, c.dry, c.actor = job, older, dry, actor
	return CleanupReport{Job: job, DryRun: dry, Removed: 2, Items: []CleanupItem{{Kind: "override", Outcome: "removed"}}}, c.err
}

func TestCleanup(t *testing.T) {
	s, c := door(t, true), &cleaned{}
	s.deps.Cleanup = c
	if got := must[CleanupJobs](t, get(s, "/api/v1/cleanup"), 200); got.Jobs[0].Job != "overrides" || got.Interval != "1h0m0s" {
		t.Errorf("%+v", got)
	}
	if got := must[CleanupReport](t, send(s, "POST", "/api/v1/cleanup", `{"job":"overrides","older_than":"36h","dry_run":true}`), 200); got.Removed != 2 || len(got.Items) != 1 {
		t.Errorf("%+v", got)
	}
	if c.job != "overrides" || c.older != 36*time.Hour || !c.dry || c.actor.Address != "192.0.2.1" {
		t.Errorf("%+v", c)
	}
	for body, want := range map[string]string{`{"older_than":"a day"}`: "older_than", `{"older_than":"-1h"}`: "older_than", `{"jobb":"x"}`: "jobb", `{"dry_run":1}`: "dry_run"} {
		if p := must[refused](t, send(s, "POST", "/api/v1/cleanup", body), 400); p.Parameter != want {
			t.Errorf("%s: %+v", body, p)
		}
	}
	c.err = naming.Errorf(naming.Conflict, "job", "nothing is removed now: because")
	if p := must[refused](t, send(s, "POST", "/api/v1/cleanup", `{"job":"overrides"}`), http.StatusConflict); !strings.Contains(p.Detail, "because") {
		t.Errorf("%+v", p)
	}
	must[refused](t, get(s, "/api/v1/cleanup?limit=1"), 400)
}
