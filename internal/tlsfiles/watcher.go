package tlsfiles

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const (
	interval = 2 * time.Second     // between two looks at the files
	soon     = 14 * 24 * time.Hour // an end so near is told
	nag      = 24 * time.Hour      // so often
)

// Watcher keeps the doors up to date with their files.
type Watcher struct {
	log   *zap.Logger
	meter *meter

	doors []*Door // fixed once Run runs
}

// state is what the watcher knows of a door.
type state struct {
	doubt string // what was wrong at the last look; only Run's goroutine

	mu      sync.Mutex // guards everything below
	digest  [sha256.Size]byte
	broken  string    // why the newest content is not in force; empty: it is
	since   time.Time // when that was first seen
	nagged  time.Time // when the near end was last told
	expires time.Time
}

// New makes a watcher of no doors.
func New(metrics prometheus.Registerer, log *zap.Logger) (*Watcher, error) {
	w := &Watcher{log: log, meter: newMeter()}
	return w, w.meter.register(metrics)
}

// Add reads the files of a door; errors name the setting, the file and the
// reason. Peers are the names of whom the door lets in and calls; without any,
// it is whoever has a certificate of the client CA.
func (w *Watcher) Add(name string, cfg Config, peers ...string) (*Door, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Door{name: name, cfg: cfg, peers: peers, log: w.log, meter: w.meter, tell: rate.NewLimiter(1, 10)}
	in, err := cfg.read()
	if err != nil {
		return nil, err
	}
	m, err := cfg.parse(in, time.Now())
	if err != nil {
		return nil, err
	}
	w.meter.failures.WithLabelValues(name)
	w.use(d, m, in.digest())
	w.doors = append(w.doors, d)
	return d, nil
}

// use puts what was read in force.
func (w *Watcher) use(d *Door, m *material, digest [sha256.Size]byte) {
	d.now.Store(m)
	d.mu.Lock()
	d.digest, d.broken, d.expires, d.nagged = digest, "", m.expires, time.Time{}
	d.mu.Unlock()
	w.meter.expiry.set(d.name, m.expires)
	for _, text := range m.warnings {
		w.log.Warn("TLS of a door", zap.String("door", d.name), zap.String("warning", text))
	}
}

// Run looks at the files until ctx ends: now and then, and when told to.
func (w *Watcher) Run(ctx context.Context, now <-chan os.Signal) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-now:
			w.log.Info("told to read the files of TLS again")
		}
	}
}

// look reads the files of all doors.
func (w *Watcher) look() {
	for _, d := range w.doors {
		w.lookAt(d)
		d.mu.Lock()
		left := time.Until(d.expires)
		tell := left < soon && time.Since(d.nagged) > nag
		if tell {
			d.nagged = time.Now()
		}
		d.mu.Unlock()
		if tell {
			w.log.Warn("the certificate of a door ends soon", zap.String("door", d.name), zap.String("file", d.cfg.Cert.Path),
				zap.Duration("left", left.Round(time.Minute)))
		}
	}
}

// lookAt puts a door's files in force if they changed and are good; else what
// was read before stays, and that is told once for each mistake that two looks
// have seen: between a certificate and its key a writer may take its time.
func (w *Watcher) lookAt(d *Door) {
	in, err := d.cfg.read()
	d.mu.Lock()
	same, was := in.digest() == d.digest, d.broken
	d.mu.Unlock()
	if err == nil && same {
		d.doubt = ""
		if was != "" { // what is in force was put back
			w.log.Info("the files of TLS are good again", zap.String("door", d.name))
			w.mark(d, "")
		}
		return
	}
	var m *material
	if err == nil {
		m, err = d.cfg.parse(in, time.Now())
	}
	if err != nil {
		doubt := d.doubt
		d.doubt = err.Error()
		if err.Error() != was && err.Error() == doubt {
			w.meter.failures.WithLabelValues(d.name).Inc()
			w.log.Error("changed files of TLS cannot be used; the certificate that was read before stays in force",
				zap.String("door", d.name), zap.Error(err))
			w.mark(d, err.Error())
		}
		return
	}
	d.doubt = ""
	w.use(d, m, in.digest())
	w.log.Info("new TLS files are in force for new connections", zap.String("door", d.name), zap.Time("expires", m.expires))
}

func (w *Watcher) mark(d *Door, broken string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken == "" {
		d.since = time.Now()
	}
	d.broken = broken
}

// Trouble lists what an operator should do something about, a line for each
// door; nothing when all is well.
func (w *Watcher) Trouble() (out []string) {
	for _, d := range w.doors {
		d.mu.Lock()
		if d.broken != "" {
			out = append(out, fmt.Sprintf("%s door: the new files are not in force since %s: %s", d.name, d.since.Format(time.RFC3339), d.broken))
		}
		if left := time.Until(d.expires); left < soon {
			out = append(out, fmt.Sprintf("%s door: the certificate ends at %s", d.name, d.expires.Format(time.RFC3339)))
		}
		d.mu.Unlock()
	}
	return slices.Clip(out)
}
