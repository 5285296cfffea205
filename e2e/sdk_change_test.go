package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"polestar/e2e/harness"
)

// TestSDKRegistersAgain: an instance that somebody else removed is brought
// back by the SDK that beats for it, with all its attributes. Both SDKs wait
// for two or three refused beats, and at least 30 s since they registered.
func TestSDKRegistersAgain(t *testing.T) {
	for name, start := range sdks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.StartServer(t)
			c := start(t, s)
			r := harness.Connect(t, s.Polaris)
			if err := c.Do("register cart 10.1.1.1 8080 1 77 auto", nil); err != nil {
				t.Fatal(err)
			}
			before, err := r.Instances("cart")
			if err != nil || len(before) != 1 {
				t.Fatal(before, err)
			}
			if err := r.Remove(harness.Instance("cart", "10.1.1.1:8080")); err != nil {
				t.Fatal(err)
			}
			if all, err := r.Instances("cart"); err != nil || len(all) != 0 {
				t.Fatalf("removed, but shown: %v, %v", all, err)
			}
			harness.Wait(t, 2*time.Minute, func() error {
				after, err := r.Instances("cart")
				if err != nil {
					return err
				}
				if len(after) != 1 {
					return errors.New("not registered again")
				}
				a, b := before[0], after[0]
				if a.GetId().GetValue() != b.GetId().GetValue() || b.GetWeight().GetValue() != 77 ||
					fmt.Sprint(a.GetMetadata()) != fmt.Sprint(b.GetMetadata()) || a.GetLocation().String() != b.GetLocation().String() ||
					a.GetHealthCheck().String() != b.GetHealthCheck().String() || !b.GetHealthy().GetValue() {
					return fmt.Errorf("registered again as %v, was %v", b, a)
				}
				return nil
			})
		})
	}
}

// TestSDKsSeeEachOther: what one SDK registers, the other one discovers, with
// the same attributes.
func TestSDKsSeeEachOther(t *testing.T) {
	s := harness.StartServer(t)
	drivers := map[string]*harness.Child{}
	for name, start := range sdks() {
		drivers[name] = start(t, s)
	}
	for n, by := range []string{"polaris-go", "polaris-java"} {
		if err := drivers[by].Do(fmt.Sprintf("register %s 10.1.1.%d 8080 0 77", by, n+1), nil); err != nil {
			t.Fatal(err)
		}
		var views []string
		for name, c := range drivers {
			harness.Wait(t, soon, func() error {
				all := instancesOf(t, c, "all "+by)
				if len(all) != 1 {
					return fmt.Errorf("%s sees %+v", name, all)
				}
				return nil
			})
			got := instancesOf(t, c, "all "+by)[0]
			for _, k := range []string{"env", "owner", "version", "protocol", "region", "zone", "campus"} {
				if got.Metadata[k] == "" {
					t.Errorf("%s, registered by %s: no metadata %s", name, by, k)
				}
			}
			views = append(views, fmt.Sprintf("%+v", got))
		}
		if views[0] != views[1] {
			t.Errorf("registered by %s, the SDKs see it differently:\n%s\n%s", by, views[0], views[1])
		}
	}
}

// watches changes a service until the SDK reports a change.
func watches(t *testing.T, s *harness.Server, c *harness.Child) {
	t.Helper()
	r := harness.Connect(t, s.Polaris)
	if err := r.Put(harness.Instance("cart", "10.1.1.1:80")); err != nil {
		t.Fatal(err)
	}
	instancesOf(t, c, "all cart")
	answer := make(chan error, 1)
	go func() { answer <- c.Do("watch cart", nil) }()
	// The watch may begin before or after one change, so changes go on.
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for n := uint32(1); ; n++ {
		select {
		case err := <-answer:
			if err != nil {
				t.Errorf("watch: %v", err)
			}
			return
		case <-tick.C:
			if err := r.Put(harness.Instance("cart", "10.1.1.1:80", harness.Weight(n))); err != nil {
				t.Fatal(err)
			}
		}
	}
}
