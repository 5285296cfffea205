package health

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config of the leases.
type Config struct {
	Factor    int           // an instance is late after Factor × TTL without a beat, 2…10
	Tick      time.Duration // how often deadlines are looked at, 10 ms…1 s
	Pause     time.Duration // a gap between ticks, or a time without working flips, from which on all leases start anew, > 2 × Tick
	Workers   int           // flips in flight at most, 1…1024
	RetryWait time.Duration // wait after a flip that could not be written, Tick…1 min

	// The mass-loss guard holds expiries when more than max(GuardMin,
	// GuardShare percent) of a service's leases, or of all, would expire within
	// one TTL.
	GuardShare int           // percent, 1…100; 100 switches the guard off
	GuardMin   int           // so many may always expire, 1…1000
	GuardHold  time.Duration // held so long at most, then released at GuardShare per TTL, 1 s…1 h
}

// Default returns Polaris' three TTLs, looked at four times a second, and a
// guard at 15 percent.
func Default() Config {
	return Config{
		Factor: 3, Tick: 250 * time.Millisecond, Pause: time.Second, Workers: 128, RetryWait: time.Second,
		GuardShare: 15, GuardMin: 3, GuardHold: 5 * time.Minute,
	}
}

// Validate returns an error that names the key and its bound.
func (c Config) Validate() error {
	switch {
	case c.Factor < 2 || c.Factor > 10:
		return fmt.Errorf("lease.factor: %d is not between 2 and 10", c.Factor)
	case c.Tick < 10*time.Millisecond || c.Tick > time.Second:
		return fmt.Errorf("lease.tick: %s is not between 10ms and 1s", c.Tick)
	case c.Pause <= 2*c.Tick:
		return fmt.Errorf("lease.pause: %s is not above two ticks (%s)", c.Pause, 2*c.Tick)
	case c.Workers < 1 || c.Workers > 1024:
		return fmt.Errorf("lease.workers: %d is not between 1 and 1024", c.Workers)
	case c.RetryWait < c.Tick || c.RetryWait > time.Minute:
		return fmt.Errorf("lease.retry-wait: %s is not between a tick (%s) and 1m", c.RetryWait, c.Tick)
	case c.GuardShare < 1 || c.GuardShare > 100:
		return fmt.Errorf("lease.guard-share: %d is not between 1 and 100 percent", c.GuardShare)
	case c.GuardMin < 1 || c.GuardMin > 1000:
		return fmt.Errorf("lease.guard-min: %d is not between 1 and 1000", c.GuardMin)
	case c.GuardHold < time.Second || c.GuardHold > time.Hour:
		return fmt.Errorf("lease.guard-hold: %s is not between 1s and 1h", c.GuardHold)
	}
	return nil
}

// Deps are what the leases call.
type Deps struct {
	// Flip writes the health of an instance and returns when that is durable.
	// It is called by up to Config.Workers goroutines at once, never for the
	// same id twice at a time, and may be told what is stored already. An error
	// of the kinds Invalid, NotFound, Conflict, Denied or NoHealthCheck refuses
	// this one flip; any other means that this node cannot commit.
	Flip    func(ctx context.Context, id string, healthy bool) error
	Metrics prometheus.Registerer
	Log     *zap.Logger
}
