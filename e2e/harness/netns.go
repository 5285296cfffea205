package harness

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

const aloneEnv = "POLESTAR_E2E_ALONE"

// Alone runs the test once more in a network of its own, where every port is
// free and iptables is the test's, and reports whether the caller is there. The
// outer run has nothing left to do. A machine that does not allow such a
// network runs the test where it is.
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) != "" {
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m") //nolint:gosec // this very test
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	log := &Log{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Logf("no network of its own: %v", err)
		return true
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("in a network of its own: %v\n%s", err, log)
	}
	t.Logf("in a network of its own:\n%s", log)
	return false
}

// loopbackUp starts the loopback device, which a new network has switched off.
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(s) }()
	request := struct { // ifreq
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); e != 0 {
		return e
	}
	return nil
}

// IPTables adds rules to the nat table, each given as its words, and reports
// whether this machine has such a thing. Only for a network of the test's own.
func IPTables(t *testing.T, rules ...string) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == "" {
		t.Log("not in a network of its own: no iptables")
		return false
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Fatalf("run e2e/install.sh first: %v", err)
	}
	if out, err := exec.Command("iptables", "-t", "nat", "-L").CombinedOutput(); err != nil {
		t.Logf("the kernel has no iptables: %v: %s", err, out)
		return false
	}
	for _, rule := range rules {
		out, err := exec.Command("iptables", append([]string{"-t", "nat"}, strings.Fields(rule)...)...).CombinedOutput() //nolint:gosec // a test's rule
		if err != nil {
			t.Fatalf("iptables %s: %v: %s", rule, err, out)
		}
	}
	return true
}
