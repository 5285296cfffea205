package resource

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"

	"polestar/naming"
	"polestar/naming/registry"
)

var update = flag.Bool("update", false, "rewrite testdata/*.out.yaml")

// golden is one testdata/*.in.yaml.
type golden struct {
	About     string // what the case shows
	Services  []goldenService
	Instances []goldenInstance
	Resources []goldenKey
}

// goldenService is created in the order of the file. The default namespace is
// "default".
type goldenService struct {
	Namespace, Name string
	Metadata        map[string]string
	ExportTo        []string       `yaml:"export_to"`
	AliasFor        *goldenService `yaml:"alias_for"`
}

func (s goldenService) service(n int) *naming.Service {
	out := &naming.Service{
		Key: s.key(), Metadata: naming.NewMetadata(s.Metadata), ExportTo: s.ExportTo, Created: naming.Micros(n + 1), Revision: 1,
	}
	if s.AliasFor != nil {
		out.AliasFor = s.AliasFor.key()
	}
	return out
}

// goldenInstance has the address 10.0.0.n:80, the id in (n = its place in the
// file), the weight 100 and is healthy, unless it says otherwise.
type goldenInstance struct {
	Service             goldenService
	ID, Host            string
	Version, Protocol   string
	Port, Weight        *uint32
	Unhealthy, Isolated bool
	Location            [3]string // region, zone, campus
	Metadata            map[string]string
}

// goldenKey asks as client envoy, grpc or grpc-java, or as sidecar or gateway of Polaris.
type goldenKey struct {
	Type, Client, Name, Namespace string
	Service, Ports                string    // of a sidecar
	Mutual                        Mutual    // 1: permissive, 2: strict
	OnDemand                      bool      `yaml:"ondemand"`
	Egress                        string    // ip; the port is 15001
	Location                      [3]string // of the client: region, zone, campus
	Draining                      bool
}

// built is one entry of testdata/*.out.yaml.
type built struct {
	Key      string
	Revision uint64
	Problems []Problem `yaml:",omitempty"`
	Resource any       // null: it does not exist
}

func (s goldenService) key() naming.ServiceKey {
	if s.Namespace == "" {
		s.Namespace = naming.DefaultNamespace
	}
	return naming.ServiceKey{Namespace: s.Namespace, Name: s.Name}
}

func (i *goldenInstance) instance(n int) *naming.Instance {
	out := &naming.Instance{
		ID: i.ID, Service: i.Service.key(), Host: i.Host, Port: 80, Weight: 100, Healthy: !i.Unhealthy, Isolated: i.Isolated,
		Version: i.Version, Protocol: i.Protocol, Metadata: naming.NewMetadata(i.Metadata), Revision: 2,
		Location: naming.Location{Region: i.Location[0], Zone: i.Location[1], Campus: i.Location[2]},
	}
	if out.ID == "" {
		out.ID = fmt.Sprintf("i%d", n)
	}
	if out.Host == "" {
		out.Host = fmt.Sprintf("10.0.0.%d", n)
	}
	if i.Port != nil {
		out.Port = *i.Port
	}
	if i.Weight != nil {
		out.Weight = *i.Weight
	}
	return out
}

// world registers services at revision 1 and instances at revision 2.
func (g *golden) world(t *testing.T) naming.World {
	t.Helper()
	r := registry.New()
	services, instances := naming.Commit{Revision: 1}, naming.Commit{Revision: 2}
	for n, s := range g.Services {
		services.Changes = append(services.Changes, naming.Change{After: s.service(n)})
	}
	for n := range g.Instances {
		instances.Changes = append(instances.Changes, naming.Change{After: g.Instances[n].instance(n + 1)})
	}
	for _, c := range []naming.Commit{services, instances} {
		if err := r.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	return r.World()
}

func (k *goldenKey) key(t *testing.T) Key {
	t.Helper()
	types := map[string]Type{"cds": Cluster, "eds": Endpoints, "lds": Listener, "rds": Route}
	clients := map[string]Scope{"envoy": {}, "grpc": {Client: GRPC}, "grpc-java": {Client: GRPC, Java: true}, "sidecar": {Kind: Sidecar}, "gateway": {Kind: Gateway}}
	typ, known := types[k.Type]
	s, knownToo := clients[k.Client]
	if !known || !knownToo {
		t.Fatalf("resource %+v: type is one of cds, eds, lds, rds and client one of envoy, grpc, grpc-java, sidecar, gateway", *k)
	}
	s.Namespace, s.Service, s.BindPorts, s.EgressAddress, s.EgressPort = k.Namespace, k.Service, k.Ports, k.Egress, OutboundPort
	s.Mutual, s.OnDemand = k.Mutual, k.OnDemand
	if s.Namespace == "" {
		s.Namespace = naming.DefaultNamespace
	}
	switch {
	case s.Kind != Plain:
		s.EgressAddress, s.IngressAddress, s.IngressPort = "0.0.0.0", "0.0.0.0", InboundPort
	case s.EgressAddress == "":
		s.EgressPort = 0
	}
	s.Location = naming.Location{Region: k.Location[0], Zone: k.Location[1], Campus: k.Location[2]}
	s.Draining = k.Draining
	return Key{typ, s.Of(typ, k.Name), k.Name}
}

// TestGolden builds the resources of each testdata/*.in.yaml and compares them
// with its *.out.yaml.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, in := range files {
		out := strings.TrimSuffix(in, ".in.yaml") + ".out.yaml"
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.yaml"), func(t *testing.T) {
			got := runGolden(t, in)
			if *update {
				if err := os.WriteFile(out, got, 0o644); err != nil { //nolint:gosec // a test file
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", out, diff)
			}
		})
	}
}

func runGolden(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&g); err != nil {
		t.Fatal(err)
	}
	if g.About == "" {
		t.Fatalf("%s: about is empty", file)
	}
	w := g.world(t)
	var all []built
	for _, k := range g.Resources {
		key := k.key(t)
		r, problems, err := Build(w, key.Form(w))
		if err != nil {
			t.Fatal(err)
		}
		b := built{Key: k.Client + " " + k.Type + " " + k.Name, Problems: problems}
		if k.Namespace != "" {
			b.Key += " for " + k.Namespace
		}
		if k.Location != [3]string{} {
			b.Key += " in " + strings.Join(k.Location[:], "/")
		}
		if k.Draining {
			b.Key += ", draining"
		}
		if r != nil {
			m := decode(t, r)
			checkShared(t, key, r, m)
			b.Revision, b.Resource = uint64(r.Revision), plain(t, protojson.Format(m))
		}
		all = append(all, b)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// plain turns JSON, which is YAML, into values: its white space changes from
// run to run.
func plain(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
