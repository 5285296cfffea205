package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"

	"polestar/e2e/harness"
	"polestar/e2e/history"
	"polestar/naming"
	"polestar/store/codec"
)

// run lets clients write and faults happen, waits until all is quiet, and
// returns what there is to judge.
func (r *round) run(t *testing.T) *history.History {
	t.Helper()
	h := &history.History{}
	if err := r.sql.QueryRowContext(t.Context(), "SELECT revision FROM polestar_head WHERE id = 1").Scan(&h.From); err != nil {
		t.Fatal(err)
	}
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	var watchers []*watcher
	for n := range r.nodes {
		w := &watcher{round: r, node: n}
		watchers = append(watchers, w)
		readers.Go(func() { report(t, w.run(reading)) })
		readers.Go(func() { report(t, r.discover(reading, n)) })
	}
	writing, enough := context.WithTimeout(t.Context(), roundTime)
	defer enough()
	var writers sync.WaitGroup
	for n := range r.nodes {
		for k := range 3 {
			c, err := r.client(n, k)
			if err != nil {
				t.Fatal(err)
			}
			writers.Go(func() { c.write(writing) })
		}
	}
	report(t, r.befall(writing))
	writers.Wait()
	// What was asked for may still be done after its client gave up: the end is
	// when the same is everywhere. What is not the same then is for the judge.
	if err := harness.Poll(soon, func() error { return r.settled(t.Context(), h, watchers) }); err != nil {
		t.Logf("not settled: %v", err)
	}
	stop()
	readers.Wait()
	h.Ops, h.Reads = r.notes.ops, r.notes.reads
	return h
}

func report(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

// settled fills in the end of the history, and fails unless every server and
// every stream shows what is stored.
func (r *round) settled(ctx context.Context, h *history.History, watchers []*watcher) error {
	stored, err := r.stored(ctx, h)
	if err != nil {
		return err
	}
	h.Final = map[string]history.World{"the database": stored}
	var wrong []error
	for n, s := range r.nodes {
		cc, err := dialAgain(s.Polaris)
		if err != nil {
			return err
		}
		w, err := shownBy(ctx, service_manage.NewPolarisGRPCClient(cc), r.service)
		_ = cc.Close()
		if err != nil {
			return err
		}
		h.Final[fmt.Sprintf("node %d", n)] = w
		if shown := (&history.Read{World: w}); !shown.Shows(stored) {
			wrong = append(wrong, fmt.Errorf("node %d shows %v, stored is %v", n, w, stored))
		}
		if held := watchers[n].holds(); !held.Shows(stored) {
			h.Final[fmt.Sprintf("the stream of node %d", n)] = held.World
			wrong = append(wrong, fmt.Errorf("the stream of node %d holds %v, stored is %v", n, held.World, stored))
		}
	}
	return errors.Join(wrong...)
}

// stored reads the log of the round and the tables, as of one revision.
func (r *round) stored(ctx context.Context, h *history.History) (w history.World, err error) {
	tx, err := r.sql.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.QueryRowContext(ctx, "SELECT revision FROM polestar_head WHERE id = 1").Scan(&h.Head); err != nil {
		return nil, err
	}
	if err := r.readLog(ctx, tx, h); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT i.host, i.port, i.weight, i.isolate, i.polestar_revision, m.mvalue
FROM instance i JOIN service s ON s.id = i.service_id JOIN instance_metadata m ON m.id = i.id AND m.mkey = 'mark'
WHERE s.namespace = 'default' AND s.name = ? AND i.flag = 0`, r.service)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	w = history.World{}
	for rows.Next() {
		var host string
		var port int
		var c history.Content
		if err := rows.Scan(&host, &port, &c.Weight, &c.Isolated, &c.Revision, &c.Mark); err != nil {
			return nil, err
		}
		w[fmt.Sprintf("%s:%d", host, port)] = c
	}
	return w, rows.Err()
}

func (r *round) readLog(ctx context.Context, tx *sql.Tx, h *history.History) error {
	rows, err := tx.QueryContext(ctx, "SELECT revision, record FROM polestar_log WHERE revision > ? ORDER BY revision", h.From)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	h.Commits, h.Log = nil, nil
	for rows.Next() {
		var rev uint64
		var record []byte
		if err := rows.Scan(&rev, &record); err != nil {
			return err
		}
		commit, err := codec.DecodeCommit(naming.Revision(rev), record)
		if err != nil {
			return err
		}
		h.Commits = append(h.Commits, rev)
		for n := range commit.Changes {
			h.Log = append(h.Log, r.changesOf(rev, &commit.Changes[n])...)
		}
	}
	return rows.Err()
}

// changesOf is a change of the round's service as the judge takes it, or none.
func (r *round) changesOf(rev uint64, ch *naming.Change) []history.Change {
	i, ok := ch.Object().(*naming.Instance)
	if !ok || i.Service.Name != r.service {
		return nil
	}
	agent, _, _ := strings.Cut(ch.Actor.Agent, " ")
	out := history.Change{
		Revision: rev, Instance: fmt.Sprintf("%s:%d", i.Host, i.Port), Before: contentOf(ch.Before), After: contentOf(ch.After),
		Own: i.Own().Weight, Mark: ch.Reason, Agent: agent, Cause: string(ch.Cause),
	}
	return []history.Change{out}
}

func contentOf(o naming.Object) *history.Content {
	i, ok := o.(*naming.Instance)
	if !ok {
		return nil
	}
	mark, _ := i.Metadata.Get("mark")
	return &history.Content{Mark: mark, Revision: uint64(i.Revision), Weight: i.Weight, Isolated: i.Isolated}
}
