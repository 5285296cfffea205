package web

import (
	"net/http"
	"testing"
	"time"
)

func TestAddressesAreHeldToTheirRate(t *testing.T) {
	s := door(t, true)
	var asked []string
	s.deps.Pace = func(ip string) (bool, time.Duration) {
		asked = append(asked, ip)
		return len(asked) == 1, 1500 * time.Millisecond
	}
	s.http.Handler = s.routes()
	if res := get(s, "/api/v1/services"); res.Code != http.StatusOK {
		t.Errorf("within the rate: %d %s", res.Code, res.Body)
	}
	for _, path := range []string{"/api/v1/services", "/metrics", "/nothing"} {
		res := get(s, path)
		if res.Code != http.StatusTooManyRequests || res.Header().Get("Retry-After") != "2" || res.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s", path, res.Code, res.Header(), res.Body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := get(s, path); res.Code != http.StatusOK {
			t.Errorf("%s: %d; who is busy is not dead", path, res.Code)
		}
	}
	if len(asked) != 4 || asked[0] != "192.0.2.1" { // httptest's
		t.Errorf("asked for %v", asked)
	}
}
