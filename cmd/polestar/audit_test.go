package main

import (
	"strings"
	"testing"
)

// Whoever was turned away at a door is in the history: who, from where, what
// they wanted, and how often.
func TestRefusalsAreInTheHistory(t *testing.T) {
	dir := t.TempDir()
	w := startWhole(t, dir, checking)
	root := adminToken(t, dir)
	if code := w.registers(t, "", "cart"); code != 401000 {
		t.Errorf("without a token: %d", code)
	}
	w.must(t, root, "create", "user", "eve")
	eve := lastLine(w.must(t, root, "create", "token", "--user", "eve"))
	for range 3 {
		if code := w.registers(t, eve, "cart"); code != 401001 {
			t.Errorf("with a token without rights: %d", code)
		}
	}
	if _, err := w.as(t, eve, "get", "clients"); err == nil {
		t.Error("eve inspects clients")
	}
	for _, want := range []string{"eve", "127.0.0.1", "RegisterInstance", "GET /api/v1/clients", "forbidden", "no_credentials"} {
		until(t, "the history tells of "+want, func() bool {
			return strings.Contains(w.must(t, root, "history", "--kind", "refusal", "-o", "json"), want)
		})
	}
}
