package xds

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/xds-conformance.md")

const conformanceDoc = "../docs/xds-conformance.md"

// ruleTest is how a test names its rule: the id without its dash, and then
// what it shows.
var ruleTest = regexp.MustCompile(`^Test([PSDWN]\d\d|G25|Order|Bounds|ReferenceDefect\d\d)[A-Z]\w*$`)

// TestConformance holds the list of rules against the tests of all rooms: no
// rule without a test or a reason, no test of an unknown rule, and the
// documentation says what is.
func TestConformance(t *testing.T) {
	tests := ruleTests(t)
	var doc bytes.Buffer
	doc.WriteString(conformanceHead)
	for _, s := range conformance {
		fmt.Fprintf(&doc, "\n## %s\n\n| Rule | What is demanded | Status | Tests |\n|---|---|---|---|\n", s.title)
		for _, r := range s.rules {
			key := strings.ReplaceAll(r.id, "-", "")
			found := tests[key]
			delete(tests, key)
			if (len(found) == 0) == (r.why == "") {
				t.Errorf("%s: tests %v, reason for having none %q", r.id, found, r.why)
			}
			status := "held"
			if r.why != "" {
				status = "does not apply: " + r.why
			}
			fmt.Fprintf(&doc, "| %s | %s | %s | %s |\n", r.id, r.text, status, strings.Join(found, "<br>"))
		}
	}
	for key, names := range tests {
		t.Errorf("no rule %s, which %v are named after", key, names)
	}
	if *update {
		if err := os.WriteFile(conformanceDoc, doc.Bytes(), 0o644); err != nil { //nolint:gosec // documentation is public
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(conformanceDoc)
	if err != nil || !bytes.Equal(have, doc.Bytes()) {
		t.Errorf("%s is out of date (%v): go test ./xds -run TestConformance -update", conformanceDoc, err)
	}
}

const conformanceHead = `# Conformance of the xDS door

What the xDS protocol, Envoy and gRPC clients demand of a server, and the tests that hold Polestar to it. Generated from the names of the tests
by ` + "`go test ./xds -run TestConformance -update`" + `, and checked by the same test: a rule without a test fails the build.

All of these run with ` + "`make unit`" + `, those in ` + "`e2e`" + ` with ` + "`make e2e`" + `. What the door promises in addition is in the documentation of package
` + "`xds/ads`" + `.
`

// ruleTests lists the tests by the rule in their name, as "`room` TestName".
func ruleTests(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (len(p) > 1 && p[0] == '.' || p == "tools"):
			return fs.SkipDir
		case !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			m := ruleTest.FindStringSubmatch(fn.Name.Name)
			if m != nil && (strings.HasPrefix(p, "xds/") || m[1][len(m[1])-1] <= '9') { // words alone mean something else elsewhere
				out[m[1]] = append(out[m[1]], fmt.Sprintf("`%s` %s", path.Dir(p), fn.Name.Name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}
