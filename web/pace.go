package web

import (
	"math"
	"net"
	"net/http"
	"strconv"
)

// paced holds each address to its rate, before anybody looks who is calling.
// Probes of health are answered always: who is busy is not dead.
func (s *Server) paced(next http.Handler) http.Handler {
	if s.deps.Pace == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			ip, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				ip = r.RemoteAddr
			}
			if ok, wait := s.deps.Pace(ip); !ok {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
				problem(w, http.StatusTooManyRequests, "", "too many requests from this address")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
