package e2e

import (
	"fmt"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// Servers of the reference whose clocks show another time of day see nothing of
// what changed before, or all of it again.
func TestReferenceDefectTimeZonesHideChanges(t *testing.T) {
	s := harness.NewServer(t.TempDir())
	t.Cleanup(s.End)
	harness.ShowOnFailure(t, "polestar", s.Log)
	for n, zone := range []string{"Etc/GMT-14", "Etc/GMT+12", "UTC"} {
		t.Setenv("TZ", zone)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		r := harness.Connect(t, s.Polaris)
		old, err := r.Instances("cart")
		if err != nil || len(old) != n {
			t.Fatalf("in zone %s: %v, %v; want the %d of earlier runs", zone, old, err, n)
		}
		for _, port := range []int{1, 2} {
			if err := r.Put(harness.Instance("cart", fmt.Sprintf("10.0.0.%d:%d", n+1, port))); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Remove(harness.Instance("cart", fmt.Sprintf("10.0.0.%d:1", n+1))); err != nil {
			t.Fatal(err)
		}
		all, err := r.Instances("cart")
		if err != nil || len(all) != n+1 {
			t.Errorf("in zone %s, after a removal: %v, %v", zone, all, err)
		}
		for _, i := range all {
			if i.GetHost().GetValue() != fmt.Sprintf("10.0.0.%d", n+1) {
				continue
			}
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.ParseInLocation(time.DateTime, i.GetCtime().GetValue(), loc)
			if err != nil || time.Since(at).Abs() > time.Minute {
				t.Errorf("the server does not run in zone %s: %v", zone, i.GetCtime())
			}
		}
		if err := s.Terminate(); err != nil {
			t.Fatal(err)
		}
	}
}
