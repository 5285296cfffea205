package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// galeraSize is the least number of nodes of which one may be lost.
const galeraSize = 3

// Galera is a cluster of three MariaDB nodes on loopback.
type Galera struct {
	Nodes []*GaleraNode

	dir      string
	library  string // the wsrep provider
	settings []string
	owner    *user.User // of the files and the processes
}

// GaleraNode is one node of a [Galera]. At any time it runs or not.
type GaleraNode struct {
	*process // nil while it does not run

	Addr             string // where it answers SQL
	group, ist, sst  string // further addresses
	name, home, data string
	cluster          *Galera
}

// StartGalera starts a cluster whose nodes are all in sync. The settings are
// further options of the wsrep provider, such as evs.suspect_timeout=PT1S. The
// error says what to install when a program is missing.
func StartGalera(ctx context.Context, settings ...string) (_ *Galera, err error) {
	g := &Galera{settings: settings}
	for _, program := range []string{"mariadbd", "mariadb-install-db", "rsync"} {
		if _, err = exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is missing; make install installs it: %w", program, err)
		}
	}
	if g.library, err = provider(); err != nil {
		return nil, err
	}
	if g.owner, err = databaseUser(); err != nil {
		return nil, err
	}
	if g.dir, err = os.MkdirTemp("", "polestar-galera-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Stop())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for range galeraSize {
		if err := g.add(ctx); err != nil {
			return nil, err
		}
	}
	return g, g.start(ctx)
}

// provider finds the library that makes a cluster of single servers.
func provider() (string, error) {
	for _, pattern := range []string{"/usr/lib/galera/libgalera_smm.so", "/usr/lib*/galera-4/libgalera_smm.so", "/usr/lib/libgalera_smm.so"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("libgalera_smm.so is missing; make install installs it")
}

// databaseUser is mysql when we are root: a database does not run as root.
func databaseUser() (*user.User, error) {
	me, err := user.Current()
	if err == nil && me.Uid == "0" {
		return user.Lookup("mysql")
	}
	return me, err
}

// add makes the next node. Its ports must stay free while it does not run: so
// it has a loopback address of its own, where nobody else picks any.
func (g *Galera) add(ctx context.Context) error {
	n := &GaleraNode{name: fmt.Sprint("n", len(g.Nodes)), cluster: g}
	n.home = filepath.Join(g.dir, n.name)
	n.data = filepath.Join(n.home, "data")
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), 1+rand.N(254), 1+rand.N(254)) //nolint:gosec // no secret
	for _, addr := range []*string{&n.Addr, &n.group, &n.ist, &n.sst} {
		var err error
		if *addr, err = freeAddr(ctx, host); err != nil {
			return err
		}
	}
	g.Nodes = append(g.Nodes, n)
	return os.Mkdir(n.home, 0o700)
}

// start makes the first node's data, lets it found a cluster, and gives the
// other nodes copies: who joins with the state of the cluster needs no transfer
// of all of it.
func (g *Galera) start(ctx context.Context) error {
	first := g.Nodes[0]
	if err := g.handOver(); err != nil {
		return err
	}
	if err := installDB(ctx, first.data, g.owner.Username); err != nil {
		return err
	}
	if err := first.run(ctx, "--wsrep-new-cluster"); err != nil {
		return err
	}
	if err := first.Stop(ctx); err != nil {
		return err
	}
	for _, n := range g.Nodes[1:] {
		if err := os.CopyFS(n.data, os.DirFS(first.data)); err != nil {
			return err
		}
	}
	if err := g.handOver(); err != nil {
		return err
	}
	if err := first.run(ctx, "--wsrep-new-cluster"); err != nil {
		return err
	}
	for _, n := range g.Nodes[1:] {
		if err := n.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// handOver gives all files to the user of the database.
func (g *Galera) handOver() error {
	uid, gid, err := ids(g.owner)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(g.dir)
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, uid, gid)
	})
	return errors.Join(err, root.Close())
}

func ids(u *user.User) (uid, gid int, err error) {
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(uidErr, gidErr)
}

// DSN is the data source name of a database of all nodes, in an order of
// preference; without one in their own.
func (g *Galera) DSN(database string, order ...int) string {
	var hosts []string
	if len(order) == 0 {
		order = []int{0, 1, 2}
	}
	for _, n := range order {
		hosts = append(hosts, g.Nodes[n].Addr)
	}
	return "root@tcp(" + strings.Join(hosts, ",") + ")/" + database
}

// Stop kills all nodes and removes their data.
func (g *Galera) Stop() error {
	var errs []error
	for _, n := range g.Nodes {
		errs = append(errs, n.Kill())
	}
	return errors.Join(append(errs, os.RemoveAll(g.dir))...)
}

// DSN is the data source name of a database of this node alone.
func (n *GaleraNode) DSN(database string) string {
	return "root@tcp(" + n.Addr + ")/" + database
}

// Kill ends the node as a crash would; nothing happens to one that does not
// run.
func (n *GaleraNode) Kill() error {
	if n.process == nil {
		return nil
	}
	err := n.end()
	n.process = nil
	return err
}

// Stop shuts the node down as an operator would.
func (n *GaleraNode) Stop(ctx context.Context) error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-n.done:
		n.process = nil
		return err
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), n.Kill())
	}
}

// Start lets a node that was killed or stopped join the others again, and
// waits until it is in sync.
func (n *GaleraNode) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	at, err := n.position(ctx)
	if err != nil {
		return err
	}
	return n.run(ctx, "--wsrep-start-position="+at)
}

var recovered = regexp.MustCompile(`WSREP: Recovered position: (\S+)`)

// position asks the node's own files how far they are: after a crash only they
// know.
func (n *GaleraNode) position(ctx context.Context) (string, error) {
	cmd, err := n.command("--wsrep-recover", "--skip-networking")
	if err != nil {
		return "", err
	}
	p, err := startProcess(cmd)
	if err != nil {
		return "", err
	}
	select {
	case err = <-p.done:
	case <-ctx.Done():
		err = errors.Join(context.Cause(ctx), p.end())
	}
	found := recovered.FindSubmatch(p.log.Bytes())
	if err != nil || found == nil {
		return "", fmt.Errorf("%s: its position: %w: %s", n.name, err, p.log)
	}
	return string(found[1]), nil
}

// run starts the process and waits until it is in sync with the cluster.
func (n *GaleraNode) run(ctx context.Context, args ...string) error {
	cmd, err := n.command(args...)
	if err != nil {
		return err
	}
	if n.process, err = startProcess(cmd); err != nil {
		return err
	}
	err = n.ready(ctx, n.DSN("mysql"), "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'",
		func(_, value string) bool { return value == "Synced" })
	if err != nil {
		log := n.log
		err = errors.Join(err, n.Kill()) // after which nothing more is logged
		return fmt.Errorf("%s: %w: %s", n.name, err, log)
	}
	return nil
}

func (n *GaleraNode) command(args ...string) (*exec.Cmd, error) {
	uid, gid, err := ids(n.cluster.owner)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return nil, err
	}
	var group []string
	for _, other := range n.cluster.Nodes {
		group = append(group, other.group)
	}
	settings := append([]string{
		"gmcast.listen_addr=tcp://" + n.group, "ist.recv_addr=" + n.ist, "ist.recv_bind=" + n.ist, "gcache.size=64M",
	}, n.cluster.settings...)
	all := append([]string{
		"--no-defaults", "--datadir=" + n.data, "--socket=" + filepath.Join(n.home, "sock"), "--pid-file=" + filepath.Join(n.home, "pid"),
		"--tmpdir=" + n.home, "--bind-address=" + host, "--port=" + port, "--skip-name-resolve", "--max-connections=400",
		"--innodb-buffer-pool-size=128M", logFileSize, "--innodb-flush-log-at-trx-commit=1", "--innodb-autoinc-lock-mode=2",
		"--binlog-format=ROW", "--wsrep-on=ON", "--wsrep-provider=" + n.cluster.library, "--wsrep-cluster-name=polestar-test",
		"--wsrep-cluster-address=gcomm://" + strings.Join(group, ","), "--wsrep-node-name=" + n.name, "--wsrep-node-address=" + n.group,
		"--wsrep-sst-method=rsync", "--wsrep-sst-receive-address=" + n.sst, "--wsrep-slave-threads=4",
		"--wsrep-provider-options=" + strings.Join(settings, ";"),
	}, args...)
	cmd := exec.Command("mariadbd", all...) //nolint:gosec // arguments of a test
	cmd.Dir = n.home
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd, nil
}
