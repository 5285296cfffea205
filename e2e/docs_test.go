package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"polestar/e2e/harness"
)

// shellBlocks are the commands of a page of the documentation, in their order,
// without those that only start a server.
func shellBlocks(t *testing.T, page string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if !strings.HasPrefix(m[1], "bin/polestar server") {
			blocks = append(blocks, m[1])
		}
	}
	return blocks
}

// The commands of docs/security.md work as they are pasted, one after the
// other, where a server with shipped defaults runs.
func TestCommandsOfTheSecurityPage(t *testing.T) {
	program, err := harness.Binary("..", "./cmd/polestar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := harness.NewServer(filepath.Join(dir, "data"))
	s.Args = []string{"--auth.console-open=true"} // as shipped
	s.StartFor(t)
	// Commands find the server at its usual port; here it has another one.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase $1 in auth|tls) exec %[1]s \"$@\";; *) exec %[1]s \"$@\" --server %[2]s;; esac\n", program, s.HTTP)
	err = os.Mkdir(filepath.Join(dir, "bin"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bin", "polestar"), []byte(wrapper), 0o700) //nolint:gosec // a program
	}
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, block := range shellBlocks(t, "security.md") {
		if strings.Contains(block, "auth recover") { // as the page says: the server is stopped
			if err := s.Terminate(); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", block) //nolint:gosec // our own documentation
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v:\n%s\n%s", err, block, out)
		}
		all.Write(out)
		if strings.Contains(block, "auth recover") {
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	said := all.String()
	for _, want := range []string{
		"user admin, the main user, by token ", "has a new token", "user cart created",
		"the client API is not checked; if it were: yes, allowed by policy cart", "user cart updated",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the commands do not say %q:\n%s", want, said)
		}
	}
}
