package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polestar/naming"
	"polestar/store"
	"polestar/store/bolt"
	"polestar/store/storetest"
)

func TestStoreCommands(t *testing.T) {
	dir, other, out := t.TempDir(), t.TempDir(), t.TempDir()
	s, err := bolt.Open(bolt.Config{Dir: dir, Log: store.DefaultLogBounds()})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, _, err = s.Apply(t.Context(), []naming.Write{&naming.Register{Instance: storetest.Instance("svc", n), AutoCreate: true}}); err != nil {
			t.Fatal(err)
		}
	}
	world, copied := filepath.Join(out, "world"), filepath.Join(out, "copy.db")
	if _, err = run(t, "store", "export", world, "--data-dir", dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("an open store: %v", err)
	}
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	const held = "revision 3: 1 namespaces, 1 services, 3 instances, 0 clients"
	for _, c := range []struct {
		want, fail string
		args       []string
	}{
		{"exported " + held, "", []string{"export", world, "--data-dir", dir}},
		{"copied ", "", []string{"backup", copied, "--data-dir", dir}},
		{"", "exists", []string{"backup", copied, "--data-dir", dir}},
		{"imported " + held, "", []string{"import", world, "--data-dir", other}},
		{"", "not empty", []string{"import", world, "--data-dir", other}},
		{"no problems", "", []string{"check", "--data-dir", other}},
		{"newest revision is 3", "", []string{"migrate", "--data-dir", other}},
		{"", "no store in", []string{"check", "--data-dir", out}},
		{"", "no such file", []string{"import", filepath.Join(out, "nothing"), "--data-dir", t.TempDir()}},
		{"", "neither bolt nor mysql", []string{"check", "--store", "papyrus"}},
	} {
		got, failed := run(t, append([]string{"store"}, c.args...)...)
		switch {
		case c.fail == "" && (failed != nil || !strings.Contains(got, c.want)):
			t.Errorf("%v: %q, %v; want %q", c.args, got, failed, c.want)
		case c.fail != "" && (failed == nil || !strings.Contains(failed.Error(), c.fail)):
			t.Errorf("%v: %v, want %q", c.args, failed, c.fail)
		}
	}
	first, err := os.ReadFile(world)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = run(t, "store", "export", world, "--data-dir", other); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(world); err != nil || !bytes.Equal(first, second) {
		t.Errorf("what came back differs: %v", err)
	}
}
