package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// seen is an instance as an SDK shows it to its application.
type seen struct {
	ID, Host, Protocol, Version, Region, Zone, Campus string
	Port, Weight                                      int
	Healthy, Isolated                                 bool
	Metadata                                          map[string]string
}

// sdk starts a driver of a real SDK.
func sdks() map[string]func(t *testing.T, s *harness.Server) *harness.Child {
	return map[string]func(t *testing.T, s *harness.Server) *harness.Child{
		"polaris-go": func(t *testing.T, s *harness.Server) *harness.Child {
			bin, err := harness.Binary("drivers/polarisgo", ".")
			if err != nil {
				t.Fatal(err)
			}
			c := harness.StartChild(t, []string{"HOME=" + t.TempDir()}, bin, s.Polaris)
			return c
		},
		"polaris-java": func(t *testing.T, s *harness.Server) *harness.Child {
			java := filepath.Join(harness.Cache(), "java", "target")
			return harness.StartChild(t, nil, "java", "-Xmx256m", "-Duser.home="+t.TempDir(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
				"-cp", filepath.Join(java, "classes")+":"+filepath.Join(java, "dependency", "*"), "Driver", s.Polaris)
		},
	}
}

func instancesOf(t *testing.T, c *harness.Child, command string) []seen {
	t.Helper()
	var out struct{ Instances []seen }
	if err := c.Do(command, &out); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out.Instances
}

func TestSDKs(t *testing.T) {
	for name, start := range sdks() {
		t.Run(name, func(t *testing.T) {
			s := harness.StartServer(t)
			c := start(t, s)
			r := harness.Connect(t, s.Polaris)
			var id struct{ ID string }
			if err := c.Do("register cart 10.1.1.1 8080 2 77", &id); err != nil {
				t.Fatalf("register: %v", err)
			}
			// At once, before any beat: a beat right after a registration works.
			if err := c.Do("heartbeat cart 10.1.1.1 8080", nil); err != nil {
				t.Errorf("heartbeat: %v", err)
			}
			want := seen{
				ID: id.ID, Host: "10.1.1.1", Port: 8080, Weight: 77, Healthy: true, Protocol: "grpc", Version: "1.2.3",
				Region: "r1", Zone: "z1", Campus: "c1",
			}
			all := instancesOf(t, c, "all cart")
			if len(all) != 1 || id.ID == "" {
				t.Fatalf("instances %+v, id %q", all, id.ID)
			}
			got := all[0]
			for k, v := range map[string]string{"env": "test", "owner": "käthe", "version": "1.2.3", "protocol": "grpc", "zone": "z1"} {
				if got.Metadata[k] != v {
					t.Errorf("metadata %s = %q, want %q", k, got.Metadata[k], v)
				}
			}
			got.Metadata = nil
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("attributes came back as\n%+v, want\n%+v", got, want)
			}
			if one := instancesOf(t, c, "one cart"); len(one) != 1 {
				t.Errorf("one instance: %+v", one)
			}
			// Beats stop: the SDK sees it unhealthy; one beat, and healthy again.
			healthIs := func(want bool) {
				t.Helper()
				harness.Wait(t, soon, func() error {
					if all := instancesOf(t, c, "all cart"); len(all) != 1 || all[0].Healthy != want {
						return fmt.Errorf("the SDK shows %+v, want healthy=%v", all, want)
					}
					return nil
				})
			}
			healthIs(false)
			if err := c.Do("heartbeat cart 10.1.1.1 8080", nil); err != nil {
				t.Errorf("heartbeat: %v", err)
			}
			healthIs(true)
			// The SDK's own beats keep an instance healthy.
			if err := c.Do("register auto 10.1.1.2 8080 1 100 auto", nil); err != nil {
				t.Fatal(err)
			}
			timer := time.NewTimer(6 * time.Second) // twice the time after which it would be late
			<-timer.C
			shown, err := r.Instances("auto")
			if err != nil || len(shown) != 1 || !shown[0].GetHealthy().GetValue() {
				t.Errorf("with the SDK's beats: %v, %v", shown, err)
			}
			// Deregistration, also of what is not there, is a success.
			for range 2 {
				if err := c.Do("deregister cart 10.1.1.1 8080", nil); err != nil {
					t.Errorf("deregister: %v", err)
				}
			}
			harness.Wait(t, soon, func() error {
				if all := instancesOf(t, c, "all cart"); len(all) != 0 {
					return fmt.Errorf("still shown: %+v", all)
				}
				return nil
			})
		})
	}
}

// TestWatch: each SDK tells its application of a change.
func TestWatch(t *testing.T) {
	for name, start := range sdks() {
		t.Run(name, func(t *testing.T) {
			s := harness.StartServer(t)
			watches(t, s, start(t, s))
		})
	}
}
