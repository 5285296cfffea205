package e2e

import (
	"fmt"
	"path/filepath"
	"sync"
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

// sdk is a driver of a real SDK, on its way to a server that is watched.
type sdk struct {
	*harness.Child
	name     string
	as       string             // begins each line: one application of several in the driver
	recorder *harness.Recorder  // nil: nobody listens
	registry *harness.Registrar // beside the SDK
}

// Do runs a command.
func (s *sdk) Do(command string, v any) error { return s.Child.Do(s.as+command, v) }

// startSDKs starts one driver of each SDK on a server. A JVM is dear: all tests
// of SDKs share it, each with services of its own.
func startSDKs(t *testing.T, s *harness.Server) []*sdk {
	t.Helper()
	bin, err := harness.Binary("drivers/polarisgo", ".")
	if err != nil {
		t.Fatal(err)
	}
	r := harness.Connect(t, s.Polaris)
	var out []*sdk
	for name, command := range map[string][]string{
		"polaris-go":   {bin},
		"polaris-java": javaDriver(t),
	} {
		p := harness.StartRecorder(t, s.Polaris)
		c := harness.StartChild(t, []string{"HOME=" + t.TempDir()}, command[0], append(command[1:], p.Addr)...)
		out = append(out, &sdk{Child: c, name: name, recorder: p, registry: r})
	}
	return out
}

// javaDriver is the command of the driver of polaris-java.
func javaDriver(t *testing.T) []string {
	t.Helper()
	java := filepath.Join(harness.Cache(), "java", "target")
	return []string{
		"java", "-Xmx256m", "-Duser.home=" + t.TempDir(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(java, "classes") + ":" + filepath.Join(java, "dependency", "*"), "Driver",
	}
}

// do runs a command that must succeed.
func (s *sdk) do(t *testing.T, format string, args ...any) {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	if err := s.Do(command, nil); err != nil {
		t.Errorf("%s: %v", command, err)
	}
}

func (s *sdk) instances(t *testing.T, command string) []seen {
	t.Helper()
	var out struct{ Instances []seen }
	if err := s.Do(command, &out); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out.Instances
}

// sees waits until the SDK shows a service so.
func (s *sdk) sees(t *testing.T, service string, is func([]seen) bool) {
	t.Helper()
	harness.Wait(t, soon, func() error {
		if all := s.instances(t, "all "+service); !is(all) {
			return fmt.Errorf("the SDK shows %+v", all)
		}
		return nil
	})
}

func TestSDKs(t *testing.T) {
	server := harness.StartServer(t)
	all := startSDKs(t, server)
	var both sync.WaitGroup
	for _, s := range all {
		both.Add(1)
		go func() {
			defer both.Done()
			t.Run(s.name, func(t *testing.T) {
				for _, part := range []struct {
					name string
					test func(*testing.T, *sdk)
				}{
					{"lifecycle", lifecycle},
					{"beats by itself", beatsByItself},
					{"the same instance at once", sameInstanceAtOnce},
					{"unknown service", unknownService},
					{"what goes over the wire", wire},
					{"keeps what it has", keepsWhatItHas},
					{"registers again", registersAgain},
					{"watch", watches},
				} {
					t.Run(part.name, func(t *testing.T) { part.test(t, s) })
				}
			})
		}()
	}
	both.Wait()
	t.Run("see each other", func(t *testing.T) { seeEachOther(t, all) })
}

// lifecycle is a service's whole life, with all attributes.
func lifecycle(t *testing.T, s *sdk) {
	service := s.name + "-cart"
	var id struct{ ID string }
	if err := s.Do("register "+service+" 10.1.1.1 8080 2 77", &id); err != nil {
		t.Fatalf("register: %v", err)
	}
	s.do(t, "heartbeat %s 10.1.1.1 8080", service) // at once: a beat right after a registration works
	want := seen{
		ID: id.ID, Host: "10.1.1.1", Port: 8080, Weight: 77, Healthy: true, Protocol: "grpc", Version: "1.2.3",
		Region: "r1", Zone: "z1", Campus: "c1",
	}
	all := s.instances(t, "all "+service)
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
	// The first call of this kind asks for rules, and polaris-java for what the
	// server can do; without all of the answers it returns nothing.
	if one := s.instances(t, "one "+service); len(one) != 1 {
		t.Errorf("one instance: %+v", one)
	}
	// Beats stop: the SDK sees it unhealthy; one beat, and healthy again.
	s.sees(t, service, func(all []seen) bool { return len(all) == 1 && !all[0].Healthy })
	s.do(t, "heartbeat %s 10.1.1.1 8080", service)
	s.sees(t, service, func(all []seen) bool { return len(all) == 1 && all[0].Healthy })
	for range 2 { // of what is not there, too
		s.do(t, "deregister %s 10.1.1.1 8080", service)
	}
	s.sees(t, service, func(all []seen) bool { return len(all) == 0 })
}

// beatsByItself: the SDK's own beats keep an instance healthy.
func beatsByItself(t *testing.T, s *sdk) {
	service := s.name + "-auto"
	s.do(t, "register %s 10.1.1.2 8080 1 100 auto", service)
	timer := time.NewTimer(6 * time.Second) // twice the time after which it would be late
	<-timer.C
	shown, err := s.registry.Instances(service)
	if err != nil || len(shown) != 1 || !shown[0].GetHealthy().GetValue() {
		t.Errorf("with the SDK's beats: %v, %v", shown, err)
	}
}

// sameInstanceAtOnce: callers that register the same instance at the same
// moment all succeed, with one id; polaris-java asks for an early answer.
func sameInstanceAtOnce(t *testing.T, s *sdk) {
	service := s.name + "-together"
	s.do(t, "together %s 10.1.1.3 8080 5 100", service)
	if all, err := s.registry.Instances(service); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// unknownService: 400202 is no error, it is an empty service.
func unknownService(t *testing.T, s *sdk) {
	if all := s.instances(t, "all "+s.name+"-nobody"); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}
