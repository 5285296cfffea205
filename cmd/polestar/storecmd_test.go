package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"polestar/naming"
	"polestar/store"
	"polestar/store/storetest"
)

var storedHash = strings.Repeat("ab", 32)

// three is a store with three instances, and a user who has a token.
func three(t *testing.T, dir string) store.Store {
	t.Helper()
	s := openedStore(t, dir)
	for n := range 3 {
		writes := []naming.Write{
			&naming.Register{Instance: storetest.Instance("svc", n), AutoCreate: true},
			&naming.Bootstrap{UserID: strings.Repeat("1", 32), Name: "root", TokenID: strings.Repeat("2", 32), Hash: storedHash},
		}
		if _, _, err := s.Apply(t.Context(), writes); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// storeCommands runs commands on stores; each either says want or fails.
func storeCommands(t *testing.T, all []storeCase) {
	t.Helper()
	for _, c := range all {
		got, failed := run(t, append([]string{"store"}, c.args...)...)
		switch {
		case c.fail == "" && (failed != nil || !strings.Contains(got, c.want)):
			t.Errorf("%v: %q, %v; want %q", c.args, got, failed, c.want)
		case c.fail != "" && (failed == nil || !strings.Contains(failed.Error(), c.fail)):
			t.Errorf("%v: %v, want %q", c.args, failed, c.fail)
		}
	}
}

type storeCase struct {
	want, fail string
	args       []string
}

func TestStoreCommands(t *testing.T) {
	dir, other, out := t.TempDir(), t.TempDir(), t.TempDir()
	if err := three(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	world, again := filepath.Join(out, "world"), filepath.Join(out, "again")
	on := func(dir string, args ...string) []string { return slices.Concat(args, storeFlags(t, dir)) }
	const held = "revision 3: 1 namespaces, 1 services, 3 instances, 0 clients"
	storeCommands(t, []storeCase{
		{"exported " + held, "", on(dir, "export", world)},
		{"imported " + held, "", on(other, "import", world)},
		{"", "not empty", on(other, "import", world)},
		{"no problems", "", on(other, "check")},
		{"newest revision is 3", "", on(other, "migrate")},
		{"", "no such file", on(t.TempDir(), "import", filepath.Join(out, "nothing"))},
		{"exported " + held, "", on(other, "export", again)},
	})
	first, err := os.ReadFile(world)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("what came back differs: %v", err)
	}
	if !bytes.Contains(first, []byte(storedHash)) {
		t.Error("the token stayed behind")
	}
}

// What only the embedded store has: a file that one process opens, and that can
// be copied.
func TestStoreFileCommands(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	world, copied := filepath.Join(out, "world"), filepath.Join(out, "copy.db")
	s := three(t, dir)
	storeCommands(t, []storeCase{{"", "in use", []string{"export", world, "--data-dir", dir}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	storeCommands(t, []storeCase{
		{"copied ", "", []string{"backup", copied, "--data-dir", dir}},
		{"", "exists", []string{"backup", copied, "--data-dir", dir}},
		{"", "no store in", []string{"check", "--data-dir", out}},
		{"", "neither bolt nor mysql", []string{"check", "--store", "papyrus"}},
	})
}
