package main

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"polestar/auth"
	"polestar/batch"
	"polestar/internal/buildinfo"
	"polestar/internal/grpcserver"
	"polestar/internal/lifecycle"
	"polestar/naming"
	"polestar/naming/health"
	"polestar/naming/polaris"
	"polestar/naming/registry"
	"polestar/store/bolt"
	"polestar/web"
	"polestar/xds"
	"polestar/xds/ads"
	"polestar/xds/node"
)

// app is every part of a server, built by hand in the order of the data flow.
type app struct {
	cfg     Config
	log     *zap.Logger
	metrics *prometheus.Registry
	loaded  atomic.Bool // the registry holds the whole stored world
	ready   atomic.Bool // everything runs

	store    *bolt.Store // nil before it is opened
	registry *registry.Registry
	leases   *health.Leases
	order    *order
	batch    *batch.Batcher[naming.Write, naming.Result]
	pipeline *xds.Pipeline
	ads      *ads.Server
	polaris  *grpcserver.Server
	xds      *grpcserver.Server
	web      *web.Server
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
	if a.leases, err = health.New(cfg.Lease, health.Deps{Flip: a.flip, Metrics: a.metrics, Log: log.Named("leases")}); err != nil {
		return nil, err
	}
	a.order = &order{
		registry: a.registry, track: a.track, patience: time.Second, log: log,
		reload: func(ctx context.Context) error { return load(ctx, a.store, a.registry) },
	}
	a.batch, err = batch.New(cfg.Batch, batch.Deps[naming.Write, naming.Result]{
		Commit: a.commit, Splittable: splittable, Parallel: bolt.Writers, Key: keyOf, Metrics: a.metrics, Log: log.Named("batch"),
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
	registrar := naming.NewRegistrar(naming.Config{AutoCreate: a.cfg.AutoCreate}, naming.Deps{
		Writer: writer{a.batch}, World: a.registry, Beats: a.leases,
	})
	if a.polaris, err = grpcserver.New(a.cfg.Polaris, a.metrics, a.log); err != nil {
		return err
	}
	polaris.New(polaris.Deps{
		Registry: registrar, World: a.registry, Auth: auth.Open{}, Log: a.log.Named("polaris"), Ready: a.loaded.Load,
	}).Register(a.polaris.GRPC())

	a.ads, err = ads.New(ads.Deps{
		Cache: a.pipeline.Cache(),
		Node:  func(n *corev3.Node) (ads.View, error) { return node.Parse(n) },
		Ready: a.loaded.Load, Revision: a.pipeline.Revision, Identifier: a.cfg.ServerID,
		Metrics: a.metrics, Log: a.log.Named("ads"),
	})
	if err != nil {
		return err
	}
	if a.xds, err = grpcserver.New(a.cfg.XDS, a.metrics, a.log, grpc.ForceServerCodecV2(ads.Codec())); err != nil {
		return err
	}
	a.ads.Register(a.xds.GRPC())

	a.web = web.New(a.cfg.HTTPAddr, web.Deps{
		World: a.registry.World, Checks: a.checks, Clients: a.clients, Problems: a.problems, Metrics: a.metrics, Log: a.log.Named("web"),
	})
	return nil
}

// parts lists the start order; stopping is the reverse. HTTP comes first, so
// that a server that loads can say so. The doors of SDKs and proxies listen
// only when the world is loaded: an empty world must never be served. Leases
// come last, because nobody could beat before, and stop first.
func (a *app) parts() []lifecycle.Component {
	serve := func(name string, s *grpcserver.Server) lifecycle.Component {
		return lifecycle.Component{Name: name, Start: s.Listen, Run: s.Serve}
	}
	return []lifecycle.Component{
		{Name: "http door", Start: a.web.Listen, Run: a.web.Serve},
		{Name: "store", Start: a.open, Stop: func(context.Context) error { return a.store.Close() }},
		{Name: "xds pipeline", Run: a.pipeline.Run},
		{Name: "batch", Run: a.batch.Run},
		serve("xds door", a.xds),
		{Name: "xds streams", Run: a.ads.Run},
		serve("polaris door", a.polaris),
		{Name: "leases", Run: a.leases.Run},
		{Name: "readiness", Start: a.announce, Stop: func(context.Context) error { a.ready.Store(false); return nil }},
	}
}

// open opens the store and loads everything.
func (a *app) open(ctx context.Context) error {
	s, err := bolt.Open(bolt.Config{Dir: a.cfg.DataDir, Log: a.cfg.Log})
	if err != nil {
		return err
	}
	if err := load(ctx, s, a.registry); err != nil {
		_ = s.Close() // the load's error says more
		return err
	}
	a.store = s
	a.loaded.Store(true)
	for st := range a.registry.World().Services("") {
		for _, i := range st.Instances {
			a.leases.TrackIn(i.ID, i.Service, i.TTL, i.Own().Healthy)
		}
	}
	namespaces, services, instances, _ := a.registry.Snapshot().Counts()
	a.log.Info("loaded", zap.Uint64("revision", uint64(a.registry.World().Revision())), zap.Int("namespaces", namespaces),
		zap.Int("services", services), zap.Int("instances", instances))
	return nil
}

func (a *app) announce(context.Context) error {
	a.ready.Store(true)
	for name, addr := range map[string]net.Addr{"polaris": a.polaris.Addr(), "xds": a.xds.Addr(), "http": a.web.Addr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			a.log.Warn("anybody who reaches this address may register and read: it is not bound to loopback, and there is no authentication",
				zap.String("door", name), zap.Stringer("address", addr))
		}
	}
	a.log.Info("ready", zap.Stringer("polaris", a.polaris.Addr()), zap.Stringer("xds", a.xds.Addr()), zap.Stringer("http", a.web.Addr()))
	return nil
}

// checks are the conditions of readiness.
func (a *app) checks() []web.Check {
	c := web.Check{Name: "registry loaded, doors open", Ready: a.ready.Load()}
	if !c.Ready {
		c.Text = "the server is starting or stopping"
	}
	return []web.Check{c}
}
