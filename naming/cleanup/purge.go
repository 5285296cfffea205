package cleanup

import (
	"context"
	"time"

	"polestar/naming"
)

const (
	purgeBatch = 200     // rows that go in one transaction
	purgeMost  = 100_000 // rows that one run removes
)

// purge removes rows of deleted objects, in small transactions with rests as
// long as they took: writers wait for one of them at most.
func (c *Cleaner) purge(ctx context.Context, r *Report, by naming.Fence) {
	if r.DryRun {
		r.Rows, r.Err = c.deps.Rows.Purgeable(ctx, r.Age)
		return
	}
	for r.Removed < purgeMost {
		began := time.Now()
		n, err := c.deps.Rows.Purge(ctx, by, r.Age, purgeBatch)
		r.Removed += n
		c.removed.WithLabelValues(string(r.Job)).Add(float64(n))
		if r.Err = err; err != nil || n == 0 {
			return // what is found and is in use again meanwhile does not count; it is not found again
		}
		rest := time.NewTimer(time.Since(began))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			r.Err = context.Cause(ctx)
			return
		}
	}
	r.More = true
}
