package cleanup

import (
	"fmt"
	"time"
)

// Job names one job.
type Job string

// The jobs.
const (
	UnhealthyInstances Job = "unhealthy-instances" // not healthy, silent, and no operator set anything on them
	EmptyServices      Job = "empty-services"      // created by a registration, untouched, without instances and aliases
	Overrides          Job = "overrides"           // what operators set on instances that are not registered
	// DeletedRows are what a shared store keeps of deleted objects; other stores
	// keep nothing.
	DeletedRows Job = "deleted-rows"
)

// Jobs lists every job.
func Jobs() []Job { return []Job{UnhealthyInstances, EmptyServices, Overrides, DeletedRows} }

// once reports whether one server runs a job for the whole cluster. Whose lease
// an instance's is knows only the server that watches over it, so each server
// runs that job for its own.
func (j Job) once() bool { return j != UnhealthyInstances }

// Config of the jobs.
type Config struct {
	Interval  time.Duration // between two runs of all jobs, 1 min…24 h
	MaxPerRun int           // objects that one run of one job removes, 1…10,000
	// Settle is how long after a start nothing is removed, at least a second.
	Settle time.Duration
	// How old something must be; 0: the job is off; else 1 min…10 years.
	UnhealthyInstances, EmptyServices, Overrides, DeletedRows time.Duration
}

// Default has all jobs off but that for rows of deleted objects, which nobody
// sees any more: they go after seven days.
func Default() Config {
	return Config{Interval: time.Hour, MaxPerRun: 100, Settle: 5 * time.Minute, DeletedRows: 7 * 24 * time.Hour}
}

const (
	minAge = time.Minute
	maxAge = 10 * 365 * 24 * time.Hour
)

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.Interval < time.Minute || c.Interval > 24*time.Hour:
		return fmt.Errorf("cleanup.interval: %s is not between 1m and 24h", c.Interval)
	case c.MaxPerRun < 1 || c.MaxPerRun > 10_000:
		return fmt.Errorf("cleanup.max-per-run: %d is not between 1 and 10000", c.MaxPerRun)
	case c.Settle < time.Second:
		return fmt.Errorf("cleanup.settle: %s is below 1s", c.Settle)
	}
	for _, job := range Jobs() {
		if age := c.age(job); age != 0 && (age < minAge || age > maxAge) {
			return fmt.Errorf("cleanup.%s: %s is neither 0 nor between 1m and 87600h", job, age)
		}
	}
	return nil
}

// age is how old something must be for a job; 0: it is off.
func (c Config) age(job Job) time.Duration {
	switch job {
	case UnhealthyInstances:
		return c.UnhealthyInstances
	case EmptyServices:
		return c.EmptyServices
	case Overrides:
		return c.Overrides
	case DeletedRows:
		return c.DeletedRows
	default:
		return 0
	}
}
