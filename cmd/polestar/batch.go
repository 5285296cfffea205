package main

import (
	"context"
	"errors"
	"time"

	"polestar/batch"
	"polestar/naming"
)

// The kinds of writes, each with a queue and bounds of its own.
const (
	kindRegister = iota
	kindDeregister
	kindHeartbeat // changes of health that beats, or their absence, lead to
	kindClientRegister
	kindClientDeregister
	kindOther // operators' writes, services, contracts
)

// defaultBatch is what most servers need. Removals and changes of health wait
// as long as any caller does: who asks for one seldom asks again.
func defaultBatch() batch.Config {
	c := batch.Default("register", "deregister", "heartbeat", "client-register", "client-deregister", "other")
	for _, n := range []int{kindDeregister, kindHeartbeat, kindClientDeregister} {
		c.Kinds[n].TaskLife = c.CommitTimeout
	}
	return c
}

// batchSettings are the keys of the batch and of each of its kinds.
func batchSettings() []setting {
	out := []setting{
		span("batch.commit-timeout", "time for one commit, and for a whole write", func(c *Config) *time.Duration { return &c.Batch.CommitTimeout }),
	}
	for n, k := range defaultBatch().Kinds {
		of := func(c *Config) *batch.KindConfig { return &c.Batch.Kinds[n] }
		key := "batch." + k.Name + "."
		out = append(out,
			toggle(key+"open", "writes share commits; false: each is one of its own", func(c *Config) *bool { return &of(c).Open }),
			number(key+"queue-size", "writes that may wait; more are refused", func(c *Config) *int { return &of(c).QueueSize }),
			span(key+"wait-time", "time to wait for a full group; 0: a group gathers only while another one commits",
				func(c *Config) *time.Duration { return &of(c).WaitTime }),
			number(key+"max-batch-count", "writes in one commit", func(c *Config) *int { return &of(c).MaxBatchCount }),
			number(key+"concurrency", "commits at once, where the store can do several", func(c *Config) *int { return &of(c).Concurrency }),
			span(key+"task-life", "time that a write may be queued", func(c *Config) *time.Duration { return &of(c).TaskLife }),
			toggle(key+"drop-expire-task", "drop what was queued for longer", func(c *Config) *bool { return &of(c).DropExpireTask }),
		)
	}
	return out
}

// kindOf tells in which queue a write waits.
func kindOf(w naming.Write) int {
	switch w := w.(type) {
	case *naming.Fenced:
		return kindOf(w.Write)
	case *naming.Register:
		return kindRegister
	case *naming.Deregister:
		return kindDeregister
	case *naming.SetHealth:
		return kindHeartbeat
	case *naming.PutClient:
		return kindClientRegister
	case *naming.RemoveClient:
		return kindClientDeregister
	default:
		return kindOther
	}
}

// keyOf names what a write changes. What else it reads, the service of a
// registration for one, the store protects.
func keyOf(w naming.Write) string {
	n := w.Needs()
	switch {
	case len(n.Instances) > 0:
		return "instance\x00" + n.Instances[0]
	case len(n.Clients) > 0:
		return "client\x00" + n.Clients[0]
	case len(n.Services) > 0:
		return "service\x00" + n.Services[0].StoreKey()
	case len(n.Namespaces) > 0:
		return "namespace\x00" + n.Namespaces[0]
	default:
		return ""
	}
}

// splittable reports whether a failed group may be tried again in halves:
// only when nothing of it was done, and when the store itself is not at fault.
func splittable(err error) bool {
	return naming.KindOf(err) == naming.Invalid || naming.KindOf(err) == naming.Internal
}

// writer puts writes into the batch and names its refusals as naming does.
type writer struct {
	batch *batch.Batcher[naming.Write, naming.Result]
}

// Do implements naming.Writer.
func (w writer) Do(ctx context.Context, wr naming.Write) (naming.Result, error) {
	res, err := w.batch.Do(ctx, kindOf(wr), wr)
	if err == nil {
		return res, nil
	}
	if _, ours := errors.AsType[*naming.Error](err); ours {
		return res, err
	}
	switch {
	case errors.Is(err, batch.ErrFull):
		return res, &naming.Error{Kind: naming.Overloaded, Msg: "the write queue is full; nothing was done", Err: err}
	case errors.Is(err, batch.ErrNotDone):
		return res, &naming.Error{Kind: naming.NotDone, Msg: "time ran out before the write began; nothing was done", Err: err}
	case errors.Is(err, batch.ErrClosed):
		return res, &naming.Error{Kind: naming.NotReady, Msg: "the server is shutting down; nothing was done", Err: err}
	case errors.Is(err, batch.ErrOutcomeUnknown), errors.Is(err, batch.ErrPanicked):
		return res, &naming.Error{Kind: naming.OutcomeUnknown, Msg: "outcome unknown; a retry is safe", Err: err}
	default:
		return res, &naming.Error{Kind: naming.Internal, Err: err}
	}
}
