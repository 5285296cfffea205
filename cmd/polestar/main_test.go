package main

import (
	"errors"
	"strings"
	"testing"
)

func TestWrongCommandLinesAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"unknown command":       {[]string{"serve"}, []string{`"serve"`, "did you mean server?"}},
		"unknown in a group":    {[]string{"bench", "regster"}, []string{`"regster"`, "polestar bench", "did you mean register?"}},
		"unknown config word":   {[]string{"config", "show"}, []string{`"show"`, "polestar config"}},
		"unknown client":        {[]string{"bootstrap", "nginx"}, []string{`"nginx"`}},
		"unknown flag":          {[]string{"server", "--xds-adr", "x"}, []string{"--xds-adr", "did you mean --xds-addr?"}},
		"unlike any flag":       {[]string{"server", "--wholly-different"}, []string{"--wholly-different"}},
		"too many words":        {[]string{"server", "now"}, []string{`"now"`}},
		"unknown kind":          {[]string{"get", "pods"}, []string{`"pods"`}},
		"unknown output":        {[]string{"get", "services", "-o", "xml"}, []string{"--output", `"xml"`}},
		"bench out of bounds":   {[]string{"bench", "push", "--watchers", "0"}, []string{"--watchers", "20000"}},
		"bench unknown form":    {[]string{"bench", "register", "-o", "xml"}, []string{"--output"}},
		"bench unknown variant": {[]string{"bench", "push", "--protocol", "rest"}, []string{"--protocol", "delta"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, c.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "wholly") && strings.Contains(err.Error(), "did you mean") {
				t.Errorf("a far-fetched suggestion: %q", err)
			}
		})
	}
}

func TestAGroupAloneShowsItsHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"bench"}, {"config"}, {"bootstrap"}} {
		out, err := run(t, append([]string{}, args...)...)
		if err != nil || !strings.Contains(out, "Available Commands") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestErrorsTakeOneLine(t *testing.T) {
	if got := oneLine(errors.Join(errors.New("a: 1"), errors.New("b: 2"))); got != "a: 1; b: 2" {
		t.Errorf("%q", got)
	}
}
