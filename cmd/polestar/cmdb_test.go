package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Who registers or reports without saying where it runs is told by the file,
// and by the file as it is now.
func TestTheInventoryLocatesInstancesAndClients(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cmdb.csv")
	put := func(zone string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("cidr,region,zone\n10.0.0.0/8,cn,"+zone+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("east")
	w := startWhole(t, t.TempDir(), func(c *Config) { c.CmdbFile = path })
	w.registered(t, "10.0.0.1", 0)
	w.registered(t, "192.0.2.1", 0)
	for _, i := range w.discovered(t) {
		want := ""
		if strings.HasPrefix(i.GetHost().GetValue(), "10.") {
			want = "east"
		}
		if got := i.GetLocation().GetZone().GetValue(); got != want {
			t.Errorf("%s is in zone %q, want %q", i.GetHost().GetValue(), got, want)
		}
	}
	zone := func() string {
		t.Helper()
		res, err := w.polaris.ReportClient(t.Context(), &service_manage.Client{Id: wrapperspb.String("c"), Host: wrapperspb.String("10.9.9.9")})
		if err = answered(res, err); err != nil {
			t.Fatal(err)
		}
		return res.GetClient().GetLocation().GetZone().GetValue()
	}
	if got := zone(); got != "east" {
		t.Errorf("a client is in zone %q", got)
	}
	put("west")
	until(t, "the changed file is in force", func() bool { return zone() == "west" })
}

func TestAMistakeInTheInventoryEndsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cmdb.yaml")
	if err := os.WriteFile(path, []byte("- {cidr: 10.0.0.0/40, zone: a}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	cfg.DataDir, cfg.CmdbFile = t.TempDir(), path
	cfg.Polaris.Addr, cfg.XDS.Addr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	err := runServer(t.Context(), cfg, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 1: cidr") {
		t.Errorf("err = %v, want one that names the file and the line", err)
	}
}
