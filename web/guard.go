package web

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guarded refuses writes that a web page could make a browser send on behalf
// of whoever looks at it: from another origin, under a name that was pointed
// at this address for the purpose, or in a form that browsers send unasked.
func guarded(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if err := origins.Check(r); err != nil {
			problem(w, http.StatusForbidden, "Origin", "writes from pages of another origin are refused")
			return
		}
		if r.Header.Get("Origin") != "" && !addressed(r.Host) {
			problem(w, http.StatusForbidden, "Host", fmt.Sprintf(
				"a browser may write only to an address or to localhost, not to the name %.128q", r.Host))
			return
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if hasBody(r) && (err != nil || kind != "application/json") {
			problem(w, http.StatusUnsupportedMediaType, "Content-Type", "Content-Type: must be application/json")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hasBody reports whether a request is one that carries a body: every write but
// DELETE, which browsers send to other origins only when these agree.
func hasBody(r *http.Request) bool { return r.Method != http.MethodDelete || r.ContentLength != 0 }

// addressed reports whether a Host header is an IP address or localhost.
func addressed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// loaded answers 503 until the stored world is known: an empty one must not be
// shown, nor changed.
func (s *Server) loaded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.deps.Loaded() {
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusServiceUnavailable, "", "the server is starting: it has not loaded its store yet")
			return
		}
		next.ServeHTTP(w, r)
	})
}
