package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"polestar/batch"
	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/memory"
	"polestar/store/mysql"
)

// importCommand carries the world of another registry into a store.
func importCommand() *cobra.Command {
	return group(&cobra.Command{Use: "import", Short: "Import what another registry holds"}, importPolarisCommand())
}

func importPolarisCommand() *cobra.Command {
	var dsn, passwordFile string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "polaris --dsn USER:PASSWORD@tcp(HOST:PORT)/DATABASE", Short: "Import from the database of a Polaris server", Args: cobra.NoArgs,
		Annotations: map[string]string{"creates": "yes"},
		Long: "Copy namespaces, services, aliases, instances and their metadata out of a Polaris database (1.12 to 1.18) into a store. Ids stay.\n" +
			"Nothing is written to the Polaris database. What is there already and looks the same is left alone, so the command may be repeated.\n" +
			"Rules, users, policies and configuration are counted and stay behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readSecret("password-file", passwordFile)
			if err != nil {
				return err
			}
			from, err := mysql.ReadPolaris(cmd.Context(), dsn, password)
			if err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, s store.Store) error {
				if dryRun { // on a copy in memory
					trial := memory.New(store.DefaultLogBounds())
					if err := trial.Restore(ctx, s.Load); err != nil {
						return err
					}
					s = trial
				}
				return carry(ctx, cmd.OutOrStdout(), from, s, dryRun)
			})
		},
	}
	addStoreFlags(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVar(&dsn, "dsn", "", "the Polaris database")
	fs.StringVar(&passwordFile, "password-file", "", "file that holds its password")
	fs.BoolVar(&dryRun, "dry-run", false, "only say what would change")
	_ = cmd.MarkFlagRequired("dsn") // the flag exists
	return cmd
}

// carrying writes what was read and counts what came of it.
type carrying struct {
	mu      sync.Mutex // guards everything below
	counts  map[string]map[naming.Outcome]int
	refused []string
}

func (c *carrying) note(what, name string, r naming.Result, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind := naming.KindOf(err); err != nil && slices.Contains(refusals, kind) {
		c.refused = append(c.refused, fmt.Sprintf("%s %s: %v", what, name, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	if c.counts[what] == nil {
		c.counts[what] = map[naming.Outcome]int{}
	}
	c.counts[what][r.Outcome]++
	return nil
}

// refusals are errors of one object; the others go on.
var refusals = []naming.ErrorKind{naming.Invalid, naming.Conflict, naming.NotFound, naming.Exists}

// importers is how many writes are under way at once; they share commits.
const importers = 256

// carry writes everything through the use cases that also check what an SDK
// registers.
func carry(ctx context.Context, out io.Writer, from *mysql.Polaris, into store.Store, dryRun bool) (err error) {
	b, err := batch.New(defaultBatch(), batch.Deps[naming.Write, naming.Result]{
		Commit: func(ctx context.Context, writes []naming.Write) ([]naming.Result, error) {
			_, results, failed := into.Apply(ctx, writes)
			return results, failed
		},
		Splittable: splittable, Parallel: writers, Key: keyOf, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-done) }()
	r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: writer{b}, World: registry.New(), Beats: noBeats{}})
	c := &carrying{counts: map[string]map[naming.Outcome]int{}}
	if err = c.all(ctx, r, from); err != nil {
		return err
	}
	return c.report(out, from, dryRun)
}

// noBeats is for a store without a server: nobody beats.
type noBeats struct{}

// Beat implements naming.Beats.
func (noBeats) Beat(string) bool { return false }

func (c *carrying) all(ctx context.Context, r *naming.Registrar, from *mysql.Polaris) error {
	for _, w := range from.Namespaces {
		res, err := r.PutNamespace(ctx, w)
		if err = c.note("namespaces", w.Name, res, err); err != nil {
			return err
		}
	}
	for _, w := range from.Services {
		res, err := r.PutService(ctx, w)
		if err = c.note("services", w.Key.String(), res, err); err != nil {
			return err
		}
	}
	for _, w := range from.Aliases {
		res, err := r.PutAlias(ctx, w)
		if err = c.note("aliases", w.Key.String(), res, err); err != nil {
			return err
		}
	}
	return c.instances(ctx, r, from.Instances)
}

func (c *carrying) instances(ctx context.Context, r *naming.Registrar, all []naming.Registration) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	next := 0
	for range min(importers, len(all)) {
		wg.Go(func() {
			for {
				mu.Lock()
				if next == len(all) || len(errs) > 0 {
					mu.Unlock()
					return
				}
				i := all[next]
				next++
				mu.Unlock()
				res, err := r.Register(ctx, i)
				if err = c.note("instances", i.ID, res, err); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// report says what was done, or what would be, and what stays behind.
func (c *carrying) report(out io.Writer, from *mysql.Polaris, dryRun bool) error {
	verb := ""
	if dryRun {
		verb = "would be "
	}
	p := &printer{out: out}
	for _, what := range []string{"namespaces", "services", "aliases", "instances"} {
		n := c.counts[what]
		p.linef("%-11s %d %screated, %d %schanged, %d the same", what+":", n[naming.Created], verb, n[naming.Updated], verb, n[naming.Unchanged])
	}
	for _, what := range slices.Sorted(maps.Keys(from.Left)) {
		p.linef("left behind: %d %s", from.Left[what], what)
	}
	slices.Sort(c.refused)
	for _, text := range slices.Concat(from.Broken, c.refused) {
		p.linef("cannot be carried: %s", text)
	}
	return p.err
}

// printer keeps the first error of a series of lines.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}
