package main

import (
	"context"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"polestar/auth"
	"polestar/auth/audit"
	"polestar/batch"
	"polestar/internal/buildinfo"
	"polestar/internal/grpcserver"
	"polestar/internal/lifecycle"
	"polestar/internal/tlsfiles"
	"polestar/naming"
	"polestar/naming/cleanup"
	"polestar/naming/cluster"
	"polestar/naming/cmdb"
	"polestar/naming/follow"
	"polestar/naming/health"
	"polestar/naming/leader"
	"polestar/naming/polaris"
	"polestar/naming/polaris/openapi"
	"polestar/naming/registry"
	"polestar/web"
	"polestar/xds"
	"polestar/xds/access"
	"polestar/xds/ads"
	"polestar/xds/csds"
	"polestar/xds/node"
	"polestar/xds/receipt"
)

// app is every part of a server, built by hand in the order of the data flow.
type app struct {
	cfg     Config
	log     *zap.Logger
	metrics *prometheus.Registry
	loaded  atomic.Bool // the registry holds the whole stored world
	ready   atomic.Bool // everything runs

	store    late        // empty before it is opened
	stale    atomic.Bool // the database was away at the start and still is
	registry *registry.Registry
	auth     *auth.Engine
	audit    *audit.Recorder
	leases   *health.Leases // of instances
	reports  *health.Leases // of client records
	guard    massGuard
	cleaner  *cleanup.Cleaner
	follower *follow.Follower
	naming   *naming.Registrar
	rates    buckets
	cmdb     *cmdb.Inventory    // nil without a file
	cluster  *cluster.Cluster   // nil on a store of this server alone
	leader   *leader.Leader     // nil on a store of this server alone
	peer     *grpcserver.Server // nil without peers
	batch    *batch.Batcher[naming.Write, naming.Result]
	pipeline *xds.Pipeline
	access   *access.Control // of the xDS door
	ads      *ads.Server
	csds     *csds.Server
	receipts *receipt.Desk
	polaris  *grpcserver.Server
	xds      *grpcserver.Server
	beatDoor *grpcserver.Server // nil: this server has no door for beats in groups
	web      *web.Server
	tls      *tlsfiles.Watcher
	tlsOf    map[string]*tlsfiles.Door // by the name of the door; none: plain text
}

// runServer runs a whole server until ctx ends.
func runServer(ctx context.Context, cfg Config, log *zap.Logger) error {
	a, err := newApp(cfg, log)
	if err != nil {
		return err
	}
	log.Info("starting", zap.String("version", buildinfo.Version()), zap.String("data_dir", cfg.DataDir))
	return lifecycle.Run(ctx, log, cfg.DrainTimeout+stopMargin, a.parts())
}

// newApp builds the parts; it opens and starts nothing.
func newApp(cfg Config, log *zap.Logger) (*app, error) {
	a := &app{cfg: cfg, log: log, metrics: prometheus.NewRegistry(), registry: registry.New()}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), worldCollector{a.registry})
	var err error
	if err = a.buildTLS(); err != nil {
		return nil, err
	}
	if err = a.buildAuth(); err != nil {
		return nil, err
	}
	if err = a.buildLeases(); err != nil {
		return nil, err
	}
	a.follower, err = follow.New(cfg.Follow, follow.Deps{
		Feed: &a.store, Registry: a.registry, Applied: a.applied, Loaded: a.reloaded, Metrics: a.metrics, Log: log.Named("follower"),
	})
	if err != nil {
		return nil, err
	}
	if cfg.Store == backendMySQL {
		if err = a.buildCluster(); err != nil {
			return nil, err
		}
	}
	a.batch, err = batch.New(cfg.Batch, batch.Deps[naming.Write, naming.Result]{
		Commit: a.commit, Splittable: splittable, Parallel: writers, Key: keyOf, Metrics: a.metrics, Log: log.Named("batch"),
	})
	if err != nil {
		return nil, err
	}
	if a.pipeline, err = xds.New(xds.Deps{Registry: a.registry, Metrics: a.metrics, Log: log.Named("xds")}); err != nil {
		return nil, err
	}
	if err := a.buildDoors(); err != nil {
		return nil, err
	}
	return a, nil
}

// buildDoors makes the three doors.
func (a *app) buildDoors() (err error) {
	deps := naming.Deps{Writer: writer{a.batch}, World: a.registry, Beats: a.beats(), Clients: clientBeats{a.beats()}, Fresh: a.fresh}
	if deps.Unrecorded, err = a.unrecorded(); err != nil {
		return err
	}
	if a.cfg.CmdbFile != "" {
		if a.cmdb, err = cmdb.New(a.cfg.CmdbFile, a.metrics, a.log.Named("cmdb")); err != nil {
			return err
		}
		deps.Locator = a.cmdb
	}
	registrar := naming.NewRegistrar(naming.Config{AutoCreate: a.cfg.AutoCreate}, deps)
	a.naming = registrar
	if err = a.buildCleanup(registrar); err != nil {
		return err
	}
	if a.rates, err = a.buildRates(); err != nil {
		return err
	}
	if a.polaris, err = grpcserver.New(a.cfg.Polaris, a.metrics, a.log, append(polaris.Options(), a.creds("polaris")...)...); err != nil {
		return err
	}
	sdks := polaris.New(polaris.Deps{
		Registry: registrar, World: a.registry, Auth: a.clientGate(), Identities: grpcserver.Identities, Peers: a.rates.peer, Instances: a.rates.instance,
		Refused: a.audit.Refused, Log: a.log.Named("polaris"),
		Ready: a.loaded.Load,
	})
	sdks.Register(a.polaris.GRPC())

	if err = a.buildHeartbeats(registrar); err != nil {
		return err
	}

	a.access = access.New(access.Deps{Gate: a.auth, World: a.registry.World, Refused: a.audit.Refused})
	a.ads, err = ads.New(ads.Deps{
		Cache: a.pipeline.Cache(), Access: a.access, MaxAbsentNames: a.cfg.MaxAbsentNames,
		Node:  func(n *corev3.Node) (ads.View, error) { return node.Parse(n) },
		Ready: a.loaded.Load, Revision: a.pipeline.Revision, Identifier: a.cfg.ServerID,
		Metrics: a.metrics, Log: a.log.Named("ads"),
	})
	if err != nil {
		return err
	}
	if a.xds, err = grpcserver.New(a.cfg.XDS, a.metrics, a.log, append(a.creds("xds"), grpc.ForceServerCodecV2(ads.Codec()))...); err != nil {
		return err
	}
	a.ads.Register(a.xds.GRPC())
	a.csds = csds.New(a.ads, a.access)
	a.csds.Register(a.xds.GRPC())
	a.receipts, err = receipt.New(receipt.Deps{
		Revision: a.pipeline.Revision, Await: a.pipeline.Await, Touched: a.pipeline.Touched, Streams: a.ads, Access: a.access,
		Ready: a.loaded.Load, Metrics: a.metrics,
	})
	if err != nil {
		return err
	}
	a.receipts.Register(a.xds.GRPC())

	bound, err := a.boundHTTP()
	if err != nil {
		return err
	}
	a.web = web.New(a.cfg.HTTPAddr, web.Deps{
		World: a.registry.World, Loaded: a.loaded.Load, Admin: registrar, Checks: a.checks, Clients: a.clients,
		ChangeLog: &a.store, LogBounds: reach(a.cfg.Log), Await: a.registry.Await, Cleanup: cleanups{a.cleaner, a.leader},
		Problems: a.problems, Guard: &a.guard, Explain: a.explainer(), Receipt: a.receipts.Wait, Inspect: a.inspect, OpenMetrics: a.cfg.metricsOpen(), Auth: a.auth, Access: a.webAccess(), Refused: a.audit.Refused, Metrics: a.metrics, Log: a.log.Named("web"),
		TLS: a.httpTLS(), Pace: a.rates.paceHTTP(), Bound: bound,
		Polaris: a.openAPI(sdks), PolarisAt: openapi.Prefixes(),
	})
	return nil
}

// openAPI makes Polaris' HTTP API, whose client part is the Polaris door.
func (a *app) openAPI(sdks *polaris.Server) *openapi.Server {
	return openapi.New(openapi.Deps{
		Client: sdks, Admin: a.naming, World: a.registry, Auth: a.auth, Refused: a.audit.Refused, Ready: a.loaded.Load,
		Checked: func(api auth.API) bool { return a.cfg.Auth.Of(api).Open }, Log: a.log.Named("openapi"),
		Login: func(ctx context.Context, by naming.Actor, method, name, password string) (*naming.User, string, error) {
			in, err := a.web.Login(ctx, by, method, name, password, 0)
			return in.Of(), in.Token, err
		},
	})
}

// parts lists the start order; stopping is the reverse. HTTP comes first, so
// that a server that loads can say so. The doors of SDKs and proxies listen
// only when the world is loaded: an empty world must never be served. Leases
// come last, because nobody could beat before, and stop first.
func (a *app) parts() []lifecycle.Component {
	serve := func(name string, s *grpcserver.Server) lifecycle.Component {
		return lifecycle.Component{Name: name, Start: s.Listen, Run: s.Serve}
	}
	parts := a.tlsParts()
	if a.cmdb != nil { // first: a mistake in the file is told at once
		parts = append(parts, lifecycle.Component{Name: "cmdb", Start: a.cmdb.Load, Run: a.cmdb.Run})
	}
	parts = append(parts, []lifecycle.Component{
		{Name: "http door", Start: a.web.Listen, Run: a.web.Serve},
		{Name: "store", Start: a.open, Stop: func(context.Context) error { return a.store.Close() }},
		{Name: "xds pipeline", Run: a.pipeline.Run},
		{Name: "batch", Run: a.batch.Run},
		serve("xds door", a.xds),
		{Name: "xds streams", Run: a.ads.Run},
		{Name: "xds status", Run: a.csds.Run},
		{Name: "receipts", Run: a.receipts.Run},
		serve("polaris door", a.polaris),
	}...)
	if a.beatDoor != nil {
		parts = append(parts, serve("heartbeat door", a.beatDoor))
	}
	if a.cluster != nil {
		parts = append(parts, a.clusterParts()...)
	}
	return append(parts,
		lifecycle.Component{Name: "leases", Run: a.leases.Run},
		lifecycle.Component{Name: "client leases", Run: a.reports.Run},
		lifecycle.Component{Name: "clean-up", Run: a.cleaner.Run},
		lifecycle.Component{Name: "auth", Start: a.firstUser, Run: a.auth.Run},
		lifecycle.Component{Name: "audit", Run: a.audit.Run},
		lifecycle.Component{Name: "readiness", Start: a.announce, Stop: func(context.Context) error { a.ready.Store(false); return nil }},
	)
}

// open opens the store and loads everything.
func (a *app) open(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	a.loaded.Store(true)
	a.moved()
	namespaces, services, instances, _ := a.registry.Snapshot().Counts()
	a.log.Info("loaded", zap.Uint64("revision", uint64(a.registry.World().Revision())), zap.Int("namespaces", namespaces),
		zap.Int("services", services), zap.Int("instances", instances))
	return nil
}

func (a *app) announce(context.Context) error {
	a.ready.Store(true)
	a.warnExposed()
	a.logCleanup()
	a.log.Info("ready", zap.Stringer("polaris", a.polaris.Addr()), zap.Stringer("xds", a.xds.Addr()), zap.Stringer("http", a.web.Addr()))
	return nil
}

// checks are the conditions of readiness.
func (a *app) checks() []web.Check {
	c := web.Check{Name: "registry loaded, doors open", Ready: a.ready.Load()}
	if !c.Ready {
		c.Text = "the server is starting or stopping"
	}
	checks := []web.Check{c, a.checkLeases(), a.checkTLS()}
	if a.cluster != nil {
		checks = append(checks, web.Check{Name: "database", Ready: true, Text: a.database()}, // reads go on without it
			web.Check{Name: "comparison", Ready: true, Text: a.compared()}, web.Check{Name: "leader", Ready: true, Text: a.leads()})
	}
	return checks
}
