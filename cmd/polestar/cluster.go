package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"polestar/internal/grpcserver"
	"polestar/internal/lifecycle"
	"polestar/naming"
	"polestar/naming/cluster"
	"polestar/naming/follow"
	"polestar/naming/leader"
	"polestar/proto/peerpb"
	"polestar/store/mysql"
)

// clusterSettings are the keys of the shared store and of what servers on it
// tell each other.
func clusterSettings() []setting {
	return []setting{
		text("store", "bolt: a file of this server; mysql: a database that several servers share", func(c *Config) *string { return &c.Store }),
		{
			"mysql-dsn", "user@tcp(host:port,…)/database; hosts in order of preference",
			func(c *Config) string { return hidePassword(c.MySQL.DSN) },
			func(c *Config, s string) error { c.MySQL.DSN = s; return nil },
		},
		text("mysql-password-file", "file that holds the password of mysql-dsn", func(c *Config) *string { return &c.MySQLPasswordFile }),
		span("mysql.timeout", "time for one commit of the database", func(c *Config) *time.Duration { return &c.MySQL.Timeout }),
		number("mysql.max-conns", "connections to the database", func(c *Config) *int { return &c.MySQL.MaxConns }),
		text("peer-addr", "address for the other servers of the cluster; empty: this is the only one", func(c *Config) *string { return &c.Peer.Addr }),
		text("cluster.advertise", "where the others reach peer-addr; empty: peer-addr itself", func(c *Config) *string { return &c.Cluster.Address }),
		text("cluster.secret-file", "file with what the servers prove to each other", func(c *Config) *string { return &c.ClusterSecretFile }),
		span("cluster.interval", "time between two signs of life", func(c *Config) *time.Duration { return &c.Cluster.Interval }),
		span("cluster.dead", "silence after which a server is taken for dead", func(c *Config) *time.Duration { return &c.Cluster.Dead }),
		span("cluster.poll", "time between two looks at the database without a hint", func(c *Config) *time.Duration { return &c.Follow.Poll }),
		number("cluster.max-shrink", "percent of instances that may be missing from a world that is loaded anew", func(c *Config) *int { return &c.Follow.MaxShrink }),
		span("cluster.compare", "time between two comparisons of memory with the database; 0: never", func(c *Config) *time.Duration { return &c.Follow.Compare }),
	}
}

// hidePassword shows a DSN without its password.
func hidePassword(dsn string) string {
	at := strings.LastIndex(dsn, "@")
	if at < 0 {
		return dsn
	}
	user, _, secret := strings.Cut(dsn[:at], ":")
	if secret {
		user += ":***"
	}
	return user + dsn[at:]
}

// readSecrets reads the files that hold secrets, and fills what follows from
// other settings.
func (c *Config) readSecrets() error {
	if c.Store != backendMySQL {
		return nil
	}
	var err error
	if c.MySQL.Password, err = readSecret("mysql-password-file", c.MySQLPasswordFile); err != nil {
		return err
	}
	if c.Cluster.Secret, err = readSecret("cluster.secret-file", c.ClusterSecretFile); err != nil {
		return err
	}
	if c.Cluster.Address == "" {
		c.Cluster.Address = c.Peer.Addr
	}
	c.Cluster.Mutual = c.peerTLS().Requires()
	c.Cluster.ID, err = runID(c.ServerID)
	return err
}

func readSecret(key, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// runID names this run of the server: two that were given one name, or one that
// was started again, are not taken for each other.
func runID(server string) (string, error) {
	b := make([]byte, 8)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	if len(server) > 100 {
		server = server[:100]
	}
	return server + "/" + hex.EncodeToString(b), nil
}

// validateCluster checks what only the shared store needs.
func (c *Config) validateCluster() error {
	switch c.Store {
	case backendBolt:
		if c.Peer.Addr != "" {
			return fmt.Errorf("peer-addr: servers can only be peers on a shared store; set store to %s", backendMySQL)
		}
		return nil
	case backendMySQL:
	default:
		return fmt.Errorf("store: %q is neither %s nor %s", c.Store, backendBolt, backendMySQL)
	}
	for _, v := range []interface{ Validate() error }{c.MySQL, c.Cluster, c.Follow} {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// maintenance is the duty of the one server that cleans up for all; Polaris
// calls it so, too.
const maintenance = "MaintainJob"

// buildCluster makes what a server on a shared store has besides.
func (a *app) buildCluster() (err error) {
	a.cluster, err = cluster.New(a.cfg.Cluster, cluster.Deps{
		Members: &a.store, Dial: a.peerCreds(), Beat: a.beatHere, Moved: a.moved, Hinted: a.follower.Hint,
		Hold: func(hold bool, why string) {
			a.leases.Hold(hold)
			a.reports.Hold(hold)
			if hold {
				a.log.Warn("no lease expires on this server for now", zap.String("why", why))
			} else {
				a.log.Info("leases expire on this server again")
			}
		},
		Visible: func() naming.Revision { return a.registry.World().Revision() }, Metrics: a.metrics, Log: a.log.Named("cluster"),
	})
	if err != nil {
		return err
	}
	if err = a.metrics.Register(hostCollector{&a.store}); err != nil {
		return err
	}
	standing := leader.Default()
	standing.ID, standing.Duty = a.cfg.Cluster.ID, maintenance
	if a.leader, err = leader.New(standing, &a.store, a.metrics, a.log.Named("leader")); err != nil || a.cfg.Peer.Addr == "" {
		return err
	}
	if a.peer, err = grpcserver.New(a.cfg.Peer, a.metrics, a.log, a.creds("peer")...); err != nil {
		return err
	}
	peerpb.RegisterPeerServiceServer(a.peer.GRPC(), a.cluster.Server())
	return nil
}

// clusterParts run on a shared store, beside what every server has.
func (a *app) clusterParts() []lifecycle.Component {
	parts := []lifecycle.Component{
		{Name: "snapshot", Run: a.keep},
		{Name: "database connection", Run: a.reach},
		{Name: "follower", Run: a.follower.Run},
		{Name: "comparison", Run: a.follower.Compare},
		{Name: "leader", Run: a.leader.Run},
	}
	if a.peer != nil {
		parts = append(parts, lifecycle.Component{Name: "peer door", Start: a.peer.Listen, Run: a.peer.Serve})
	}
	return append(parts, lifecycle.Component{Name: "cluster", Run: a.cluster.Run})
}

// moved makes the leases of this server those that it owns now. Whose lease
// comes here gets its full time.
func (a *app) moved() {
	a.auth.Refresh()
	a.movedClients()
	for st := range a.registry.World().Services("") {
		for _, i := range st.Instances {
			_, tracked := a.leases.State(i.ID)
			switch owned := i.TTL > 0 && a.owns(i.ID); {
			case owned && !tracked:
				a.leases.TrackIn(i.ID, i.Service, i.TTL, i.Own().Healthy)
			case !owned && tracked:
				a.leases.Forget(i.ID)
			}
		}
	}
}

// reloaded makes the leases those of a world that was loaded anew: what went
// or changed meanwhile was not told one by one. No commit is applied meanwhile.
func (a *app) reloaded() {
	w := a.registry.World()
	a.leases.Retain(func(id string) bool { return w.Instance(id) != nil })
	a.reports.Retain(func(id string) bool { return w.Client(id) != nil })
	for st := range w.Services("") {
		for _, i := range st.Instances {
			lease, tracked := a.leases.State(i.ID)
			switch own := i.Own().Healthy; {
			case !tracked: // moved does it
			case lease.TTL != time.Duration(i.TTL)*time.Second:
				a.leases.TrackIn(i.ID, i.Service, i.TTL, own)
			case lease.Healthy != own:
				a.leases.Stored(i.ID, own)
			}
		}
	}
	a.moved()
}

// owns reports whether this server watches over the lease of an instance.
func (a *app) owns(id string) bool { return a.cluster == nil || a.cluster.Owns(id) }

// beats is where heartbeats go.
func (a *app) beats() naming.Beats {
	if a.cluster != nil {
		return a.cluster
	}
	return beatFunc(a.beatHere)
}

// fresh makes what other servers committed visible, before something is called
// unknown.
func (a *app) fresh(ctx context.Context) {
	if a.cluster != nil {
		a.follower.Fresh(ctx)
	}
}

// compared is what readiness says of the last comparison with the database.
func (a *app) compared() string {
	c := a.follower.Compared()
	switch {
	case a.cfg.Follow.Compare == 0:
		return "memory is not compared with the database (cluster.compare is 0)"
	case c == nil:
		return "memory was not compared with the database yet"
	}
	text := fmt.Sprintf("revision %d was compared with the database at %s: %d objects, ", c.Revision, c.At.UTC().Format(time.RFC3339), c.Objects)
	switch {
	case c.Differences == 0:
		return text + "all the same"
	case c.Kept != "":
		return fmt.Sprintf("%s%d differ, as %s; this server keeps what it has: %s", text, c.Differences, c.Named[0], c.Kept)
	default:
		return fmt.Sprintf("%s%d differed, as %s; the world was loaded anew", text, c.Differences, c.Named[0])
	}
}

// leads is what readiness says of who cleans up for the whole cluster.
func (a *app) leads() string {
	l, self := a.leader.Last()
	who := l.ID
	if self {
		who = "this server"
	}
	switch {
	case l.Duty == "":
		return "who cleans up for all servers is not known"
	case l.ID == "":
		return "nobody cleans up for all servers at the moment"
	default:
		return fmt.Sprintf("%s cleans up for all servers since %s (epoch %d)", who, time.UnixMicro(int64(l.Since)).UTC().Format(time.RFC3339), l.Epoch)
	}
}

// defaultCluster is what a server on a shared store starts with.
func defaultCluster() (mysql.Config, cluster.Config, follow.Config, grpcserver.Config) {
	return mysql.Default(), cluster.Default(), follow.Default(), grpcserver.Default("peer", "")
}
