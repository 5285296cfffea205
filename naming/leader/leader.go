package leader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"polestar/naming"
)

// Config of one server.
type Config struct {
	ID   string // of this run of the server, 1…128 characters
	Duty string // 1…128 characters
	// Term is how long the duty stays with a holder that asks no more, in whole
	// seconds, 3 s…1 h.
	Term     time.Duration
	Interval time.Duration // between two questions, at most a third of Term
}

// Default returns a term of ten seconds and a question every two.
func Default() Config { return Config{Term: 10 * time.Second, Interval: 2 * time.Second} }

// margin is what the store's clock, which counts in seconds, may be ahead at the
// end of a term.
const margin = time.Second

// Validate returns an error that names the field and its bound.
func (c Config) Validate() error {
	switch {
	case c.ID == "" || len(c.ID) > 128:
		return fmt.Errorf("leader: an id of %d characters; 1 to 128 are needed", len(c.ID))
	case c.Duty == "" || len(c.Duty) > 128:
		return fmt.Errorf("leader: a duty of %d characters; 1 to 128 are needed", len(c.Duty))
	case c.Term < 3*time.Second || c.Term > time.Hour || c.Term%time.Second != 0:
		return fmt.Errorf("leader: a term of %s; whole seconds between 3s and 1h are needed", c.Term)
	case c.Interval <= 0 || c.Interval > c.Term/3:
		return fmt.Errorf("leader: an interval of %s; at most a third of the term (%s) is needed", c.Interval, c.Term)
	}
	return nil
}

// Elections is the part of the store that is needed.
type Elections interface {
	// Lead gives a duty to who has it or may have it, and returns who has it.
	Lead(ctx context.Context, duty, server string, term time.Duration) (naming.Leader, error)
	// Resign gives a duty back.
	Resign(ctx context.Context, l naming.Leader) error
}

// Leader stands for one duty.
type Leader struct {
	cfg   Config
	in    Elections
	log   *zap.Logger
	leads prometheus.Gauge

	mu    sync.Mutex // guards everything below
	last  naming.Leader
	asked time.Time // when the last question that was answered was put; zero: none was
}

// New makes a Leader; it stands for nothing before [Leader.Run].
func New(cfg Config, in Elections, metrics prometheus.Registerer, log *zap.Logger) (*Leader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Leader{
		cfg: cfg, in: in, log: log, leads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polestar_cluster_leads", Help: "1 while this server does what one server does for the whole cluster.",
		}),
	}
	return l, metrics.Register(l.leads)
}

// Run asks for the duty until ctx ends, and gives it back then.
func (l *Leader) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Interval)
	defer tick.Stop()
	for {
		l.ask(ctx)
		select {
		case <-ctx.Done():
			return l.resign(ctx)
		case <-tick.C:
		}
	}
}

// ask asks once.
func (l *Leader) ask(ctx context.Context) {
	_, before := l.Fence()
	bounded, cancel := context.WithTimeout(ctx, l.cfg.Term/3)
	defer cancel()
	asked := time.Now() // the term begins no earlier
	now, err := l.in.Lead(bounded, l.cfg.Duty, l.cfg.ID, l.cfg.Term)
	if err != nil {
		l.log.Debug("who leads is not known", zap.Error(err))
	} else {
		l.mu.Lock()
		l.last, l.asked = now, asked
		l.mu.Unlock()
	}
	f, leads := l.Fence()
	l.leads.Set(map[bool]float64{true: 1}[leads])
	switch {
	case leads && !before:
		l.log.Info("this server has the duty now", zap.String("duty", l.cfg.Duty), zap.Uint64("epoch", f.Epoch))
	case before && !leads:
		l.log.Warn("this server has the duty no more", zap.String("duty", l.cfg.Duty), zap.String("now", now.ID))
	}
}

// resign gives the duty back, so that another server has it at once.
func (l *Leader) resign(ctx context.Context) error {
	l.mu.Lock()
	last := l.last
	l.last, l.asked = naming.Leader{}, time.Time{}
	l.mu.Unlock()
	l.leads.Set(0)
	if last.ID != l.cfg.ID {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Interval)
	defer cancel()
	if err := l.in.Resign(ctx, last); err != nil {
		l.log.Warn("the duty could not be given back; another server has it when the term is over", zap.Error(err))
	}
	return nil
}

// Fence is what this server's writes of the duty must carry; false while it has
// the duty not, as far as it knows.
func (l *Leader) Fence() (naming.Fence, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Fence(), l.last.ID == l.cfg.ID && !l.asked.IsZero() && time.Since(l.asked) < l.cfg.Term-margin
}

// Last returns who had the duty when the store was asked last, and whether that
// is this server; the zero Leader before the first answer, and when the last
// one is so old that another server may have the duty by now.
func (l *Leader) Last() (now naming.Leader, self bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked.IsZero() || time.Since(l.asked) >= l.cfg.Term {
		return naming.Leader{}, false
	}
	return l.last, l.last.ID == l.cfg.ID
}
