// Package archtest fails when a package imports a room that it must not know.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "polestar/"

// may names, for each room, the rooms of ours that it may import.
var may = map[string]string{
	"naming": "", "batch": "", "proto/storepb": "", "proto/peerpb": "", "proto/adminpb": "",
	"auth":                   "naming",
	"auth/audit":             "auth naming",
	"naming/registry":        "naming",
	"naming/health":          "naming",
	"naming/cleanup":         "naming",
	"naming/leader":          "naming",
	"naming/cmdb":            "naming",
	"naming/cluster":         "naming proto/peerpb",
	"naming/follow":          "naming naming/registry",
	"naming/polaris":         "naming auth internal/ratelimit",
	"naming/polaris/openapi": "auth internal/tlsfiles naming naming/polaris",
	"store":                  "naming",
	"store/codec":            "naming proto/storepb",
	"store/memory":           "store naming",
	"store/bolt":             "store store/codec naming",
	"store/mysql":            "store store/codec naming",
	"store/snapshot":         "store/codec naming",
	"store/storetest":        "store naming",
	"xds/resource":           "naming",
	"xds/node":               "naming xds/resource",
	"xds/cache":              "naming xds/resource",
	"xds/access":             "auth internal/grpcserver naming xds/resource",
	"xds/ads":                "auth naming xds/access xds/cache xds/resource",
	"xds/csds":               "naming xds/access xds/ads xds/resource",
	"xds/explain":            "naming naming/health xds/ads xds/resource",
	"xds/receipt":            "naming proto/adminpb xds/access xds/ads xds/resource",
	"xds":                    "xds/resource xds/cache naming naming/registry",
	"web":                    "auth naming xds/explain xds/receipt internal/tlsfiles",
	"internal/lifecycle":     "",
	"internal/localca":       "",
	"internal/tlsfiles":      "",
	"internal/grpcserver":    "internal/connlimit internal/tlsfiles",
	"internal/connlimit":     "",
	"internal/ratelimit":     "",
	"internal/buildinfo":     "",
	"internal/testenv":       "",
	"internal/archtest":      "",
	"cmd/polestar":           "*",
}

func TestImports(t *testing.T) {
	root := os.DirFS("../..")
	seen := map[string]bool{}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == "e2e" || p == "tools" || len(p) > 1 && p[0] == '.' { // other modules, and no code
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, p) // read here, not by a child process: go test then knows when to run again
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := path.Dir(p)
		seen[room] = true
		rule, known := may[room]
		if !known {
			t.Errorf("%s: a new room; add its rule here and in layout.md", room)
		}
		for _, im := range f.Imports {
			imp, _ := strconv.Unquote(im.Path.Value)
			dep, ours := strings.CutPrefix(imp, module)
			if ours && rule != "*" && !slices.Contains(strings.Fields(rule), dep) {
				t.Errorf("%s must not import %s", p, dep)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range may {
		if !seen[room] && room != "internal/archtest" {
			t.Errorf("%s: has a rule but no code", room)
		}
	}
}
