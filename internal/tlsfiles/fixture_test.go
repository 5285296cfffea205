package tlsfiles

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"polestar/internal/localca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is a directory with files of one authority.
type world struct {
	t   *testing.T
	dir string
	ca  *localca.Authority
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t, t.TempDir(), must(localca.New("a", 10_000*time.Hour))}
	cert, _, err := w.ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	w.put("ca.pem", cert)
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// put replaces a file as careful writers do.
func (w *world) put(name string, text []byte) {
	w.t.Helper()
	next := w.file(name + ".next")
	if err := os.WriteFile(next, text, 0o600); err != nil { //nolint:gosec // below the directory of the test
		w.t.Fatal(err)
	}
	if err := os.Rename(next, w.file(name)); err != nil {
		w.t.Fatal(err)
	}
}

// issue writes name.pem and name-key.pem.
func (w *world) issue(name string, r localca.Request) {
	w.t.Helper()
	r.Name = name
	if r.Life == 0 {
		r.Life = 5_000 * time.Hour
	}
	cert, key, err := w.ca.Issue(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(name+".pem", cert)
	w.put(name+"-key.pem", key)
}

func (w *world) server(name string) {
	w.issue(name, localca.Request{Hosts: []string{"127.0.0.1"}, Server: true})
}

// config is that of a door with a certificate by this name.
func (w *world) config(name string) Config {
	c := Named("d.tls")
	c.Cert.Path, c.Key.Path = w.file(name+".pem"), w.file(name+"-key.pem")
	return c
}

func (w *world) mutual(name string) Config {
	c := w.config(name)
	c.ClientCA.Path = w.file("ca.pem")
	return c
}

// client is one with a certificate by this name; without a name it has none.
func (w *world) client(name string) Client {
	c := Client{CA: File{"--ca-file", w.file("ca.pem")}, Cert: File{Setting: "--cert-file"}, Key: File{Setting: "--key-file"}}
	if name != "" {
		c.Cert.Path, c.Key.Path = w.file(name+".pem"), w.file(name+"-key.pem")
	}
	return c
}

type watched struct {
	*Watcher
	metrics *prometheus.Registry
	logs    *observer.ObservedLogs
}

func watch(t *testing.T) watched {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	metrics := prometheus.NewRegistry()
	w, err := New(metrics, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return watched{w, metrics, logs}
}

func (w watched) add(t *testing.T, cfg Config, peers ...string) *Door {
	t.Helper()
	d, err := w.Add("d", cfg, peers...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// metric is the value of a metric with this label value; 0 when there is none.
func (w watched) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}
