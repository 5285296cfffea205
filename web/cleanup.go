package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"polestar/auth"
	"polestar/naming"
)

// The JSON forms of clean-up jobs.
type (
	// CleanupJobs are all jobs.
	CleanupJobs struct {
		Jobs     []CleanupJob `json:"jobs"`
		Interval string       `json:"interval"`
		Held     string       `json:"held,omitempty"` // why nothing is removed now
		// Leader runs most of the jobs for all servers; nil on a store of one server.
		Leader *CleanupLeader `json:"leader,omitempty"`
	}
	// CleanupLeader is the server that runs jobs for all.
	CleanupLeader struct {
		Server string `json:"server"` // the id of its run; empty: nobody
		Self   bool   `json:"self"`   // it is the one that answers
		Epoch  uint64 `json:"epoch"`
		Since  string `json:"since"`
	}
	// CleanupJob is one job and what it did last.
	CleanupJob struct {
		Job       string         `json:"job"`
		OlderThan string         `json:"older_than,omitempty"` // empty: it is off
		Last      *CleanupReport `json:"last,omitempty"`
	}
	// CleanupReport is one run of a job.
	CleanupReport struct {
		Job       string        `json:"job"`
		DryRun    bool          `json:"dry_run"`
		At        string        `json:"at"`
		OlderThan string        `json:"older_than"`
		Held      string        `json:"held,omitempty"` // why nothing was removed, or would be now
		Removed   int           `json:"removed"`
		Rows      int           `json:"rows,omitempty"` // of deleted objects, that a dry run found
		Kept      int           `json:"kept"`           // changed meanwhile
		More      bool          `json:"more"`           // there is more than one run removes
		Error     string        `json:"error,omitempty"`
		Items     []CleanupItem `json:"items"`
	}
	// CleanupItem is one object that a run found.
	CleanupItem struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace,omitempty"`
		Service   string `json:"service,omitempty"`
		ID        string `json:"id,omitempty"`
		Host      string `json:"host,omitempty"`
		Port      uint32 `json:"port,omitempty"`
		Since     string `json:"since"`
		Outcome   string `json:"outcome"` // found, removed or kept
	}
)

// Cleanup runs clean-up jobs.
type Cleanup interface {
	// Jobs lists the jobs and their last runs.
	Jobs() CleanupJobs
	// Run runs a job once. older 0 means as configured.
	Run(ctx context.Context, job string, older time.Duration, dryRun bool, actor naming.Actor) (CleanupReport, error)
}

func (s *Server) cleanups(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, auth.Inspect, naming.ServiceKey{}) {
		return
	}
	if _, wrong := parse(r); wrong != nil {
		wrong.write(w)
		return
	}
	answer(w, http.StatusOK, s.deps.Cleanup.Jobs())
}

// runCleanup runs a job now; a run that ended early says so in its report.
func (s *Server) runCleanup(w http.ResponseWriter, r *http.Request) {
	var job, older string
	var dry bool
	_, wrong := decode(r, fields{"job": &job, "older_than": &older, "dry_run": &dry})
	var age time.Duration
	if wrong == nil && older != "" {
		var err error
		if age, err = time.ParseDuration(older); err != nil || age <= 0 {
			wrong = bad("older_than", fmt.Sprintf("older_than: %.32q is not a time such as 24h", older))
		}
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Maintain, naming.ServiceKey{}) {
		return
	}
	report, err := s.deps.Cleanup.Run(r.Context(), job, age, dry, actor(r))
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	answer(w, http.StatusOK, report)
}
