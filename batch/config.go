package batch

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds a [Batcher].
type Config struct {
	// CommitTimeout is the deadline of one commit, and the longest that a caller
	// waits in all, 10 ms…5 min.
	CommitTimeout time.Duration
	Kinds         []KindConfig // at least one; [Batcher.Do] takes their index
}

// KindConfig bounds the items of one kind.
type KindConfig struct {
	Name string // in errors and metrics
	// Open lets items of the kind share a commit. When it is false each of them
	// is a commit of its own.
	Open      bool
	QueueSize int // waiting items at most, 1…1,000,000; more are refused at once
	// WaitTime is how long an item may wait for its group to reach MaxBatchCount,
	// 0…1 s. With 0 a group gathers only while another one commits. A commit
	// that is made anyway takes along whatever waits.
	WaitTime      time.Duration
	MaxBatchCount int // items of the kind in one commit at most, 1…10,000
	// Concurrency bounds the commits with items of the kind that run at once,
	// 1…128; what the store can run at once is a bound above it.
	Concurrency int
	// An item that waited for TaskLife, 10 ms…5 min, is dropped when
	// DropExpireTask is set: its caller is told that nothing was done.
	TaskLife       time.Duration
	DropExpireTask bool
}

// Default returns the bounds that fit most servers, for kinds of these names.
func Default(names ...string) Config {
	c := Config{CommitTimeout: 3 * time.Second}
	for _, name := range names {
		c.Kinds = append(c.Kinds, KindConfig{
			Name: name, Open: true, QueueSize: 10240, MaxBatchCount: 512, Concurrency: 4, TaskLife: time.Second, DropExpireTask: true,
		})
	}
	return c
}

// Validate returns an error that names the fields and their bounds.
func (c Config) Validate() error {
	var errs []error
	if c.CommitTimeout < 10*time.Millisecond || c.CommitTimeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("batch.commit-timeout: %s is not between 10ms and 5m", c.CommitTimeout))
	}
	if len(c.Kinds) == 0 {
		errs = append(errs, errors.New("batch: there is no kind of items"))
	}
	for _, k := range c.Kinds {
		if err := k.validate(); err != nil {
			errs = append(errs, fmt.Errorf("batch.%s.%w", k.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (k KindConfig) validate() error {
	for _, n := range []struct {
		key         string
		value, most int
	}{{"queue-size", k.QueueSize, 1_000_000}, {"max-batch-count", k.MaxBatchCount, 10_000}, {"concurrency", k.Concurrency, 128}} {
		if n.value < 1 || n.value > n.most {
			return fmt.Errorf("%s: %d is not between 1 and %d", n.key, n.value, n.most)
		}
	}
	switch {
	case k.WaitTime < 0 || k.WaitTime > time.Second:
		return fmt.Errorf("wait-time: %s is not between 0 and 1s", k.WaitTime)
	case k.TaskLife < 10*time.Millisecond || k.TaskLife > 5*time.Minute:
		return fmt.Errorf("task-life: %s is not between 10ms and 5m", k.TaskLife)
	case k.DropExpireTask && k.WaitTime >= k.TaskLife:
		return fmt.Errorf("wait-time: %s is not below task-life (%s): everything would be dropped", k.WaitTime, k.TaskLife)
	}
	return nil
}

// patience is how long an item may be queued.
func (k KindConfig) patience(most time.Duration) time.Duration {
	if k.DropExpireTask {
		return min(k.TaskLife, most)
	}
	return most
}
