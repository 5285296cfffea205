package cmdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"polestar/naming"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const inYAML = `
- {cidr: 10.0.0.0/8, region: cn}
- cidr: 10.1.0.0/16
  region: cn
  zone: east
- {cidr: 10.1.2.0/24, region: cn, zone: east, campus: a}
- {cidr: 10.1.2.3, zone: 7}
- {cidr: "::ffff:192.0.2.0/120", region: mapped, campus: }
- {cidr: "2001:db8::/32", region: six}
- {cidr: "2001:db8:1::/48", region: six, zone: one}
- {cidr: 0.0.0.0/0, region: anywhere}
`

const inCSV = `# where the racks are
Zone, cidr ,region,campus

,10.0.0.0/8,cn
east,10.1.0.0/16,cn,
east,"10.1.2.0/24",cn,a
7,10.1.2.3
,::ffff:192.0.2.0/120,mapped,
,2001:db8::/32,six,
one,2001:db8:1::/48,six,
,0.0.0.0/0,anywhere,
`

func TestTheLongestRangeWins(t *testing.T) {
	for name, content := range map[string]string{"a.yaml": inYAML, "a.yml": inYAML, "a.CSV": "\xef\xbb\xbf" + inCSV} {
		path := filepath.Join(t.TempDir(), name)
		put(t, path, content)
		i, err := New(path, prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if got := i.Locate("10.1.2.3"); got != (naming.Location{}) {
			t.Errorf("before the file was read: %v", got)
		}
		if err := i.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for ip, want := range map[string]naming.Location{
			"10.200.0.1":        {Region: "cn"},
			"10.1.200.1":        {Region: "cn", Zone: "east"},
			"10.1.2.4":          {Region: "cn", Zone: "east", Campus: "a"},
			"10.1.2.3":          {Zone: "7"},
			"::ffff:10.1.2.3":   {Zone: "7"},
			"192.0.2.9":         {Region: "mapped"},
			"198.51.100.1":      {Region: "anywhere"},
			"2001:db8:2::1":     {Region: "six"},
			"2001:db8:1::1%eth": {Region: "six", Zone: "one"},
			"2001:dead::1":      {},
			"cart.example.org":  {},
			"":                  {},
		} {
			if got := i.Locate(ip); got != want {
				t.Errorf("%s, %s: %v, want %v", name, ip, got, want)
			}
		}
	}
}

func TestMistakesAreNamedWithTheirLine(t *testing.T) {
	long := strings.Repeat("x", naming.MaxLocation+1)
	for name, c := range map[string]struct{ file, content, want string }{
		"no range":        {"a.yaml", "- {cidr: 10.0.0.0/8, zone: a}\n- {cidr: 10.0.0/8, zone: a}\n", `line 2: cidr: "10.0.0/8" is no range`},
		"bits behind":     {"a.yaml", "- {cidr: 10.0.0.5/8, zone: a}\n", "line 1: cidr: 10.0.0.5/8 has bits behind its length; did you mean 10.0.0.0/8?"},
		"mapped":          {"a.yaml", "- {cidr: '::ffff:0:0/90', zone: a}\n", "line 1: cidr: ::ffff:0.0.0.0/90 holds more than IPv4"},
		"no cidr":         {"a.yaml", "- {zone: a}\n", `line 1: cidr: ""`},
		"no place":        {"a.yaml", "- {cidr: 10.0.0.0/8}\n", "line 1: 10.0.0.0/8 has neither"},
		"long":            {"a.yaml", "- {cidr: 10.0.0.0/8, zone: " + long + "}\n", "line 1: location.zone: 129 characters"},
		"control":         {"a.yaml", "- {cidr: 10.0.0.0/8, zone: \"a\\x01\"}\n", "line 1: location.zone"},
		"twice":           {"a.yaml", "- {cidr: 10.0.0.0/8, zone: a}\n\n- {cidr: 10.0.0.0/8, zone: b}\n", "line 3: 10.0.0.0/8 is in line 1 already"},
		"unknown key":     {"a.yaml", "- {cidr: 10.0.0.0/8, zoen: a}\n", `line 1: unknown key "zoen"; known are cidr, region, zone, campus`},
		"key twice":       {"a.yaml", "- cidr: 10.0.0.0/8\n  zone: a\n  zone: b\n", "line 3: zone is given twice"},
		"list in a value": {"a.yaml", "- {cidr: 10.0.0.0/8, zone: [a]}\n", "line 1: zone: a single value"},
		"no list":         {"a.yaml", "cidr: 10.0.0.0/8\n", "line 1: a list of ranges"},
		"no map":          {"a.yaml", "- 10.0.0.0/8\n", "line 1: a range with"},
		"no YAML":         {"a.yaml", "- {cidr\n", "line"},
		"documents":       {"a.yaml", "- {cidr: 10.0.0.0/8, zone: a}\n---\n- {}\n", "more than one document"},
		"empty":           {"a.yaml", "# nothing\n", "empty"},
		"no ranges":       {"a.yaml", "[]\n", "no ranges"},
		"empty CSV":       {"a.csv", "", "empty"},
		"only a header":   {"a.csv", "cidr,zone\n", "no ranges"},
		"no header":       {"a.csv", "10.0.0.0/8,cn,a,b\n", `line 1: the header has an unknown column "10.0.0.0/8"`},
		"header twice":    {"a.csv", "cidr,zone,zone\n", "line 1: the header has zone twice"},
		"no cidr column":  {"a.csv", "#\nregion,zone\n", "line 2: the header has no column cidr"},
		"columns":         {"a.csv", "cidr,zone\n10.0.0.0/8,a,b\n", "line 2: 3 columns, but the header has 2"},
		"quote":           {"a.csv", "cidr,zone\n10.0.0.0/8,\"a\n", "line 2"},
		"CSV range":       {"a.csv", "cidr,zone\n#\n\n10.0.0.0/33,a\n", `line 4: cidr: "10.0.0.0/33"`},
		"form":            {"a.json", "[]", `".json", not with .yaml, .yml or .csv`},
	} {
		path := filepath.Join(t.TempDir(), c.file)
		put(t, path, c.content)
		i, err := New(path, prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err = i.Load(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v\nwant an error with %q", name, err, c.want)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none.yaml"), t.TempDir()} {
		i, err := New(path, prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Load(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTooMuch(t *testing.T) {
	table := newTable()
	for n := range maxEntries {
		if err := table.add(entry{n + 1, fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255), naming.Location{Zone: "z"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.add(entry{7, "192.0.2.1", naming.Location{Zone: "z"}}); err == nil || !strings.Contains(err.Error(), "line 7: more than 200000 ranges") {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "a.csv")
	put(t, path, "cidr,zone\n#"+strings.Repeat("x", maxBytes))
	if _, _, err := slurp(path); err == nil || !strings.Contains(err.Error(), "33554432 bytes") {
		t.Error(err)
	}
}

// A changed file is in force a moment later; one that cannot be used, or is
// gone, changes nothing but what is said about it, once.
func TestTheFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	put(t, path, "- {cidr: 10.0.0.0/8, zone: old}\n")
	synctest.Test(t, func(t *testing.T) {
		seen, logs := observer.New(zap.InfoLevel)
		metrics := prometheus.NewRegistry()
		i, err := New(path, metrics, zap.New(seen))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		at := func() { // the time of the file, whose clock may be coarse
			if err = os.Chtimes(path, began, began); err != nil {
				t.Fatal(err)
			}
		}
		at()
		if err = i.Load(context.Background()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- i.Run(ctx) }()
		expect := func(zone string, bad float64, said int) {
			t.Helper()
			time.Sleep(3 * interval)
			synctest.Wait()
			if got := i.Locate("10.0.0.1").Zone; got != zone {
				t.Errorf("zone %q, want %q", got, zone)
			}
			if got := gauge(t, metrics, "polestar_cmdb_bad"); got != bad {
				t.Errorf("polestar_cmdb_bad = %v, want %v", got, bad)
			}
			if got := logs.TakeAll(); len(got) != said {
				t.Errorf("said %v, want %d lines", got, said)
			}
		}
		put(t, path, "- {cidr: 10.0.0.0/8, zone: now}\n") // the same length and time
		at()
		expect("now", 0, 1)
		expect("now", 0, 0)
		put(t, path, "- {cidr: 10.0.0.0/8, zone: new}\n")
		expect("new", 0, 1)
		put(t, path, "- {cidr: 10.0.0.0/8}\n")
		expect("new", 1, 1)
		expect("new", 1, 0)
		put(t, path, "- {cidr: 10.0.0.0/8, zone: new}\n") // what is in force
		expect("new", 0, 1)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("new", 1, 1)
		put(t, path+".next", "- {cidr: 10.0.0.0/8, zone: third}\n")
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
		expect("third", 0, 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Errorf("there is no %s", name)
	return 0
}

// Whatever a file holds, reading it ends with a table or an error.
func FuzzParse(f *testing.F) {
	f.Add("a.yaml", []byte(inYAML))
	f.Add("a.csv", []byte(inCSV))
	f.Add("a.yaml", []byte("- &a {cidr: *a}"))
	f.Fuzz(func(t *testing.T, path string, content []byte) {
		table, err := parse(path, content)
		if err == nil && len(table.byRange) == 0 {
			t.Error("a table without ranges")
		}
	})
}

func BenchmarkLocate(b *testing.B) {
	t := newTable()
	for n := range 100_000 {
		if err := t.add(entry{n + 1, fmt.Sprintf("10.%d.%d.0/%d", n>>8&255, n&255, 24+n>>16), naming.Location{Zone: "z"}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := t.finish(); err != nil {
		b.Fatal(err)
	}
	i := &Inventory{}
	i.table.Store(t)
	for b.Loop() {
		i.Locate("10.3.200.7")
	}
}
