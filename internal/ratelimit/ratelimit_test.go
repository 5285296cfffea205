package ratelimit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachKeyHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := New(Config{PerSecond: 10, Burst: 5}, func() { n++ })
		passed := func(key string) (count int) {
			for range 100 {
				if ok, wait := b.Allow(key); ok {
					count++
				} else if wait <= 0 || wait > 100*time.Millisecond {
					t.Errorf("%s is told to wait for %s", key, wait)
				}
			}
			return count
		}
		if got := passed("a"); got != 5 {
			t.Errorf("%d passed at once, want the burst of 5", got)
		}
		if got := passed("b"); got != 5 {
			t.Errorf("of another one %d passed", got)
		}
		if n != 190 {
			t.Errorf("%d refusals counted", n)
		}
		time.Sleep(200 * time.Millisecond)
		if got := passed("a"); got != 2 {
			t.Errorf("%d passed after 200 ms", got)
		}
		time.Sleep(time.Hour)
		if got := passed("a"); got != 5 {
			t.Errorf("%d passed after a rest", got)
		}
	})
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{PerSecond: 10, Burst: 1}, func() {})
		began := time.Now()
		for range 11 {
			if !b.Wait(t.Context(), "a", time.Second) {
				t.Fatal("refused")
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("11 took %s, want 1 s", took)
		}
		if b.Wait(t.Context(), "a", time.Millisecond) {
			t.Error("waited for longer than it was to")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if b.Wait(ctx, "a", time.Second) {
			t.Error("passed though its caller is gone")
		}
		if !b.Wait(t.Context(), "a", 100*time.Millisecond) {
			t.Error("who gave up took a turn")
		}
	})
}

func TestBucketsAreBounded(t *testing.T) {
	b := New(Config{PerSecond: 1}, func() {})
	for n := range 3 * generation {
		b.Allow(fmt.Sprint(n))
		if n%1000 == 0 {
			b.Allow("busy")
		}
	}
	if n := len(b.fresh) + len(b.old); n > 2*generation {
		t.Errorf("%d buckets", n)
	}
	if ok, _ := b.Allow("busy"); ok {
		t.Error("who is busy all the time was forgotten")
	}
}

func TestNoBound(t *testing.T) {
	b := New(Config{}, nil)
	for range 1000 {
		if ok, _ := b.Allow("a"); !ok || !b.Wait(t.Context(), "a", 0) {
			t.Fatal("refused")
		}
	}
}

func TestPeers(t *testing.T) {
	for ip, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "2001:db8::1": "2001:db8::/64", "2001:db8::2": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%eth0": "fe80::/64", "": "", "junk": "junk",
	} {
		if got := Peer(ip); got != want {
			t.Errorf("%q: %q, want %q", ip, got, want)
		}
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	for want, c := range map[string]Config{
		"x.rate-per-ip":       {PerSecond: -1},
		"x.rate-per-ip: 1000": {PerSecond: 1_000_001},
		"x.rate-burst-per-ip": {PerSecond: 1, Burst: -1},
		"without x.rate-per":  {Burst: 1},
	} {
		if err := c.Validate("x.rate", "ip"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", c, err, want)
		}
	}
	if err := (Config{PerSecond: 1, Burst: 10}).Validate("x.rate", "ip"); err != nil {
		t.Error(err)
	}
}
