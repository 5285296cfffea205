package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"polestar/naming"
	"polestar/naming/cleanup"
	"polestar/naming/leader"
	"polestar/web"
)

// cleanupSettings are the keys of the clean-up jobs.
func cleanupSettings() []setting {
	return []setting{
		span("cleanup.interval", "time between two runs of the clean-up jobs", func(c *Config) *time.Duration { return &c.Cleanup.Interval }),
		number("cleanup.max-per-run", "objects that one run of one job removes", func(c *Config) *int { return &c.Cleanup.MaxPerRun }),
		span("cleanup.unhealthy-instances", "remove instances that have been unhealthy for longer; 0: never",
			func(c *Config) *time.Duration { return &c.Cleanup.UnhealthyInstances }),
		span("cleanup.empty-services", "remove services that a registration created and that have been empty for longer; 0: never",
			func(c *Config) *time.Duration { return &c.Cleanup.EmptyServices }),
		span("cleanup.overrides", "forget what operators set on instances that have been away for longer; 0: never",
			func(c *Config) *time.Duration { return &c.Cleanup.Overrides }),
		span("cleanup.deleted-rows", "remove the database's rows of what was deleted longer ago; 0: never",
			func(c *Config) *time.Duration { return &c.Cleanup.DeletedRows }),
	}
}

// buildCleanup makes the clean-up jobs.
func (a *app) buildCleanup(admin *naming.Registrar) (err error) {
	deps := cleanup.Deps{
		World: a.registry, Admin: admin, ChangeLog: &a.store, Silent: a.silent, Hold: a.holdCleanup,
		Metrics: a.metrics, Log: a.log.Named("cleanup"),
	}
	if a.leader != nil {
		deps.Rows, deps.Lead = &a.store, a.leader.Fence
		deps.Fenced = func(f naming.Fence) cleanup.Admin {
			d := admin.Deps
			d.Writer = fenced{d.Writer, f}
			return naming.NewRegistrar(naming.Config{}, d)
		}
	}
	a.cleaner, err = cleanup.New(a.cfg.Cleanup, deps)
	return err
}

// fenced writes as the holder of a duty.
type fenced struct {
	naming.Writer
	fence naming.Fence
}

// Do implements naming.Writer.
func (f fenced) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	return f.Writer.Do(ctx, &naming.Fenced{Write: w, Fence: f.fence})
}

// silent reports whether this server watches over a lease and has not been
// beaten for it in time. Leases get their full time anew after a start, a
// pause and an outage, so silence in those does not count.
func (a *app) silent(id string) bool {
	st, known := a.leases.State(id)
	return known && a.owns(id) && st.Left < 0 && !st.Healthy && !st.Suspect
}

// holdCleanup says why nothing may be removed now.
func (a *app) holdCleanup() string {
	if away := a.cutOff(); away != "" {
		return away
	}
	if a.leases.Outage() > 0 {
		return "changes of health cannot be written"
	}
	if held := a.leases.Suspects(); len(held) > 0 {
		return fmt.Sprintf("the mass-loss guard holds %d instances of %s, and perhaps others", held[0].Held, held[0].Service)
	}
	return ""
}

// cleanups shows the jobs as the admin API does.
type cleanups struct {
	*cleanup.Cleaner
	leader *leader.Leader // nil on a store of this server alone
}

// Jobs implements web.Cleanup.
func (c cleanups) Jobs() web.CleanupJobs {
	out := web.CleanupJobs{Interval: c.Interval().String(), Held: c.Held(), Jobs: []web.CleanupJob{}}
	if c.leader != nil {
		l, self := c.leader.Last()
		out.Leader = &web.CleanupLeader{Server: l.ID, Self: self, Epoch: l.Epoch}
		if l.ID != "" {
			out.Leader.Since = web.Time(time.UnixMicro(int64(l.Since)))
		}
	}
	for _, s := range c.Status() {
		job := web.CleanupJob{Job: string(s.Job)}
		if s.Age > 0 {
			job.OlderThan = s.Age.String()
		}
		if s.Last != nil {
			job.Last = new(cleanupReport(s.Last))
		}
		out.Jobs = append(out.Jobs, job)
	}
	return out
}

// Run implements web.Cleanup.
func (c cleanups) Run(ctx context.Context, job string, older time.Duration, dryRun bool, actor naming.Actor) (web.CleanupReport, error) {
	r, err := c.Do(ctx, cleanup.Request{Job: cleanup.Job(job), Age: older, DryRun: dryRun, Actor: actor})
	return cleanupReport(&r), err
}

func cleanupReport(r *cleanup.Report) web.CleanupReport {
	out := web.CleanupReport{
		Job: string(r.Job), DryRun: r.DryRun, At: web.Time(r.At), OlderThan: r.Age.String(), Held: r.Held,
		Removed: r.Removed, Rows: r.Rows, Kept: r.Kept, More: r.More, Items: []web.CleanupItem{},
	}
	if r.Err != nil {
		out.Error = "the run ended early"
		if e, ok := errors.AsType[*naming.Error](r.Err); ok && e.Msg != "" {
			out.Error = e.Msg // made for callers
		}
	}
	for _, i := range r.Items {
		s := i.Subject
		out.Items = append(out.Items, web.CleanupItem{
			Kind: s.Kind, Namespace: s.Service.Namespace, Service: s.Service.Name, ID: s.ID, Host: s.Host, Port: s.Port,
			Since: web.Time(time.UnixMicro(int64(i.Since))), Outcome: i.Outcome,
		})
	}
	return out
}

var _ web.Cleanup = cleanups{}

// cleanupRun is what the command asks for.
type cleanupRun struct {
	adminClient
	run, dry string
	older    time.Duration
}

func cleanupCommand() *cobra.Command {
	var c cleanupRun
	var jobs []string
	for _, j := range cleanup.Jobs() {
		jobs = append(jobs, string(j))
	}
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Show the clean-up jobs, try one or run one now",
		Long: `Show the clean-up jobs and what they did last, show what one would remove, or
run one now:

  unhealthy-instances  unhealthy, silent, and nothing of them was set by an operator
  empty-services       created by a registration, untouched, no instances and aliases
  overrides            what operators set on instances that are away
  deleted-rows         of a shared database: its rows of what was deleted

A job runs by itself when the server is given an age for it (cleanup.JOB).`,
		Example: `  polestar cleanup
  polestar cleanup --dry-run empty-services --older-than 24h
  polestar cleanup --run unhealthy-instances`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, args []string) error {
			for flag, job := range map[string]string{"run": c.run, "dry-run": c.dry} {
				if job != "" && !slices.Contains(jobs, job) {
					return fmt.Errorf("--%s: unknown job %q%s", flag, job, suggest(job, jobs))
				}
			}
			if c.older != 0 && c.run == "" && c.dry == "" {
				return errors.New("--older-than goes with --run or --dry-run")
			}
			return c.check(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.run == "" && c.dry == "" {
				return c.show(cmd)
			}
			return c.do(cmd)
		},
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&c.run, "run", "", "run this job now")
	cmd.Flags().StringVar(&c.dry, "dry-run", "", "show what this job would remove")
	cmd.Flags().DurationVar(&c.older, "older-than", 0, "how old things must be (default: as configured)")
	cmd.MarkFlagsMutuallyExclusive("run", "dry-run")
	return cmd
}

// show lists the jobs.
func (c *cleanupRun) show(cmd *cobra.Command) error {
	body, err := ask(cmd.Context(), &c.server, "cleanup", nil, pageTime)
	if err != nil {
		return err
	}
	if c.output != "table" {
		return writeDocument(cmd.OutOrStdout(), c.output, body)
	}
	var all web.CleanupJobs
	if err := json.Unmarshal(body, &all); err != nil {
		return fmt.Errorf("the server at %s answered no jobs: %w", c.server.addr, err)
	}
	rows := make([][]any, len(all.Jobs))
	for n, j := range all.Jobs {
		age, last, removed := "off", "", ""
		if j.OlderThan != "" {
			age = j.OlderThan
		}
		if j.Last != nil {
			last, removed = j.Last.At, fmt.Sprint(j.Last.Removed)
			if j.Last.Error != "" {
				removed += " (" + j.Last.Error + ")"
			}
		}
		rows[n] = []any{j.Job, age, dash(last), dash(removed)}
	}
	if err := writeTable(cmd.OutOrStdout(), "JOB\tOLDER THAN\tLAST RUN\tREMOVED", rows); err != nil {
		return err
	}
	switch l := all.Leader; {
	case l == nil:
	case l.Self:
		cmd.PrintErrln("this server runs the jobs for all servers since", l.Since)
	case l.Server != "":
		cmd.PrintErrln(l.Server, "runs the jobs for all servers since", l.Since+"; this one those for the leases that it watches over")
	}
	if all.Held != "" {
		cmd.PrintErrln("nothing is removed now:", all.Held)
	}
	return nil
}

// cleanupTime bounds one run; it is more than a run of many objects takes.
const cleanupTime = 80 * time.Second

// do runs or tries one job.
func (c *cleanupRun) do(cmd *cobra.Command) error {
	ask := map[string]any{"job": c.run + c.dry, "dry_run": c.dry != ""}
	if c.older != 0 {
		ask["older_than"] = c.older.String()
	}
	body, err := c.write(cmd.Context(), request{method: http.MethodPost, path: "/cleanup", body: ask, patience: cleanupTime})
	if err != nil {
		return err
	}
	var r web.CleanupReport
	if err = json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("the server at %s answered no report: %w", c.server.addr, err)
	}
	if c.output == "table" && r.Job == string(cleanup.DeletedRows) {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d rows of what was deleted more than %s ago\n", r.Rows+r.Removed, r.OlderThan)
	} else if c.output == "table" {
		rows := make([][]any, len(r.Items))
		for n, i := range r.Items {
			rows[n] = []any{objectOf(&web.Change{Kind: i.Kind, Namespace: i.Namespace, Service: i.Service, ID: i.ID, Host: i.Host, Port: i.Port}), i.Since, i.Outcome}
		}
		err = writeTable(cmd.OutOrStdout(), "OBJECT\tSINCE\tOUTCOME", rows)
	} else {
		err = writeDocument(cmd.OutOrStdout(), c.output, body)
	}
	switch {
	case err != nil:
		return err
	case r.Error != "":
		return &serverError{0, fmt.Errorf("the run ended early, after %d removals: %s", r.Removed, r.Error)}
	}
	if r.Held != "" {
		cmd.PrintErrln("nothing would be removed now:", r.Held)
	}
	if r.More {
		cmd.PrintErrln("there is more; one run takes so many")
	}
	return nil
}

// logCleanup says at the start which jobs are on.
func (a *app) logCleanup() {
	for _, s := range a.cleaner.Status() {
		if s.Age > 0 {
			a.log.Info("clean-up is on", zap.String("job", string(s.Job)), zap.Duration("older_than", s.Age), zap.Duration("interval", a.cleaner.Interval()))
		}
	}
}
