package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"polestar/auth"
	"polestar/batch"
	"polestar/internal/grpcserver"
	"polestar/naming/cleanup"
	"polestar/naming/cluster"
	"polestar/naming/follow"
	"polestar/naming/health"
	"polestar/store"
	"polestar/store/mysql"
	"polestar/xds/cache"
)

// envPrefix begins every environment variable of ours: POLESTAR_XDS_ADDR is
// --xds-addr.
const envPrefix = "POLESTAR_"

// Config of `polestar server`. Each room brings its own part and defaults.
type Config struct {
	DataDir        string
	HTTPAddr       string
	LogLevel       zapcore.Level
	LogFormat      string
	ServerID       string
	DrainTimeout   time.Duration
	AutoCreate     bool
	ClientTTL      time.Duration // between two reports of a client
	CmdbFile       string        // empty: where an address is is not known
	Polaris, XDS   grpcserver.Config
	MaxAbsentNames int // that xDS streams ask for
	Batch          batch.Config
	Lease          health.Config
	Log            store.LogBounds
	Cleanup        cleanup.Config
	Rates          rates
	HTTPConns      httpConns

	// What only a store that several servers share needs.
	Store             string
	MySQL             mysql.Config
	MySQLPasswordFile string
	Cluster           cluster.Config
	ClusterSecretFile string
	Follow            follow.Config
	Peer              grpcserver.Config

	Auth          auth.Config
	OpenMetrics   string // when /metrics needs no token
	AllowOpenBind bool   // doors that check nobody may be reachable from other machines

	Heartbeat          grpcserver.Config // no address: no such door
	HeartbeatTokenFile string            // holds the secret of that door

	TLS            tlsConfig
	PeerIdentities []string // names in the certificates of other servers
	AllowPlaintext bool     // doors without TLS may be reachable from other machines
}

func defaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "polestar"
	}
	c := Config{
		Store: backendBolt, DataDir: "data", HTTPAddr: "127.0.0.1:8090", LogLevel: zapcore.InfoLevel, LogFormat: "json", ServerID: host,
		DrainTimeout: 5 * time.Second, AutoCreate: true, ClientTTL: 2 * time.Minute,
		Polaris: grpcserver.Default("polaris", "127.0.0.1:8091"),
		XDS:     xdsDoor(), MaxAbsentNames: cache.DefaultMaxAbsent, Heartbeat: grpcserver.Default("heartbeat", ""),
		Batch: defaultBatch(), Lease: health.Default(), Log: store.DefaultLogBounds(), Cleanup: cleanup.Default(), HTTPConns: httpConns{20_000, 20_000}, TLS: defaultTLS(),
		Auth: auth.Default(), OpenMetrics: metricsLoopback,
	}
	c.MySQL, c.Cluster, c.Follow, c.Peer = defaultCluster()
	return c
}

// xdsDoor takes larger messages than other doors: an Envoy that reconnects lists
// what it has, endpoints that it gets one by one in some 150 bytes each.
func xdsDoor() grpcserver.Config {
	door := grpcserver.Default("xds", "127.0.0.1:15010")
	door.MaxRecvBytes = 16 << 20
	return door
}

// setting is one key: the flag --key, the variable POLESTAR_KEY and the path
// in the YAML file are spelled from it.
type setting struct {
	key  string
	help string
	get  func(c *Config) string
	set  func(c *Config, text string) error
}

// settings lists every key in the order of help.
func settings() []setting {
	return slices.Concat([]setting{
		text("data-dir", "directory of the store file", func(c *Config) *string { return &c.DataDir }),
		text("polaris-addr", "address of the Polaris gRPC door", func(c *Config) *string { return &c.Polaris.Addr }),
		text("xds-addr", "address of the xDS door", func(c *Config) *string { return &c.XDS.Addr }),
		text("http-addr", "address of the HTTP door", func(c *Config) *string { return &c.HTTPAddr }),
		{
			"log-level", "debug, info, warn or error",
			func(c *Config) string { return c.LogLevel.String() },
			func(c *Config, s string) (err error) { c.LogLevel, err = zapcore.ParseLevel(s); return err },
		},
		text("log-format", "json or console", func(c *Config) *string { return &c.LogFormat }),
		text("server-id", "name of this server towards xDS clients", func(c *Config) *string { return &c.ServerID }),
		span("drain-timeout", "time for running calls at a stop", func(c *Config) *time.Duration { return &c.DrainTimeout }),
		text("cmdb-file", "YAML or CSV file that says where addresses are", func(c *Config) *string { return &c.CmdbFile }),
		toggle("naming.auto-create", "a registration creates its service and namespace", func(c *Config) *bool { return &c.AutoCreate }),
		number("lease.factor", "TTLs without a beat until an instance is unhealthy", func(c *Config) *int { return &c.Lease.Factor }),
		number("lease.guard-share", "percent of the leases of a service, or of all, that may expire within one TTL; 100: no guard", func(c *Config) *int { return &c.Lease.GuardShare }),
		number("lease.guard-min", "leases that may always expire within one TTL", func(c *Config) *int { return &c.Lease.GuardMin }),
		span("lease.guard-hold", "time that the guard holds what is silent", func(c *Config) *time.Duration { return &c.Lease.GuardHold }),
		span("client.ttl", "time between two reports of a client; its record goes after three", func(c *Config) *time.Duration { return &c.ClientTTL }),
		number("store.log-max-revisions", "records that the change log keeps", func(c *Config) *uint64 { return &c.Log.MaxRevisions }),
		span("store.log-max-age", "age of what the change log keeps; 0: any", func(c *Config) *time.Duration { return &c.Log.MaxAge }),
		number("store.log-max-bytes", "bytes that the change log keeps", func(c *Config) *uint64 { return &c.Log.MaxBytes }),
	}, authSettings(), cleanupSettings(), clusterSettings(), batchSettings(), heartbeatSettings(), tlsSettings(), rateSettings(), doorSettings("polaris", func(c *Config) *grpcserver.Config { return &c.Polaris }),
		doorSettings("xds", func(c *Config) *grpcserver.Config { return &c.XDS }), xdsSettings())
}

func doorSettings(door string, of func(*Config) *grpcserver.Config) []setting {
	return []setting{
		number(door+".max-connections", "open connections", func(c *Config) *int { return &of(c).MaxConnections }),
		number(door+".max-connections-per-ip", "open connections from one address", func(c *Config) *int { return &of(c).MaxConnectionsPerIP }),
		number(door+".max-concurrent-streams", "streams on one connection", func(c *Config) *uint32 { return &of(c).MaxConcurrentStreams }),
		number(door+".max-message-bytes", "size of one message from a client", func(c *Config) *int { return &of(c).MaxRecvBytes }),
	}
}

func text(key, help string, at func(*Config) *string) setting {
	return setting{key, help, func(c *Config) string { return *at(c) }, func(c *Config, s string) error { *at(c) = s; return nil }}
}

func toggle(key, help string, at func(*Config) *bool) setting {
	return setting{
		key, help, func(c *Config) string { return strconv.FormatBool(*at(c)) },
		func(c *Config, s string) error {
			on, err := strconv.ParseBool(s)
			if err != nil {
				return fmt.Errorf("%q is neither true nor false", s)
			}
			*at(c) = on
			return nil
		},
	}
}

func span(key, help string, at func(*Config) *time.Duration) setting {
	return setting{
		key, help, func(c *Config) string { return at(c).String() },
		func(c *Config, s string) error {
			d, err := time.ParseDuration(s)
			if err != nil {
				return fmt.Errorf("%q is not a time such as 5s", s)
			}
			*at(c) = d
			return nil
		},
	}
}

func number[N int | uint32 | uint64](key, help string, at func(*Config) *N) setting {
	return setting{
		key, help, func(c *Config) string { return strconv.FormatUint(uint64(*at(c)), 10) },
		func(c *Config, s string) error {
			n, err := strconv.ParseUint(s, 10, 63)
			if err != nil || uint64(N(n)) != n {
				return fmt.Errorf("%q is not a whole number in range", s)
			}
			*at(c) = N(n)
			return nil
		},
	}
}

func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(s.key))
}

// addFlags gives every setting its flag.
func addFlags(fs *pflag.FlagSet) {
	def := defaultConfig()
	for _, s := range settings() {
		fs.String(s.key, s.get(&def), s.help+" (env "+s.env()+")")
	}
	fs.String("config", "", "YAML file with the same keys (env "+envPrefix+"CONFIG)")
}

// loadConfig puts defaults, file, environment and flags over each other, in
// this order, and tells where each value came from. Errors name the key.
func loadConfig(fs *pflag.FlagSet, environ []string) (Config, map[string]string, error) {
	cfg, origin := defaultConfig(), map[string]string{}
	env, err := readEnv(environ)
	if err != nil {
		return cfg, nil, err
	}
	path := env["config"]
	if f := fs.Lookup("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	inFile, err := readFile(path)
	if err != nil {
		return cfg, nil, err
	}
	for _, s := range settings() {
		value, from := "", ""
		if v, ok := inFile[s.key]; ok {
			value, from = v, "file "+path
		}
		if v, ok := env[s.key]; ok {
			value, from = v, "env "+s.env()
		}
		if f := fs.Lookup(s.key); f != nil && f.Changed {
			value, from = f.Value.String(), "flag --"+s.key
		}
		origin[s.key] = "default"
		if from == "" {
			continue
		}
		origin[s.key] = from
		if err := s.set(&cfg, value); err != nil {
			return cfg, nil, fmt.Errorf("%s (%s): %w", s.key, from, err)
		}
	}
	for _, door := range []*grpcserver.Config{&cfg.Polaris, &cfg.XDS, &cfg.Peer, &cfg.Heartbeat} {
		door.DrainTimeout = cfg.DrainTimeout
	}
	if err := cfg.readSecrets(); err != nil {
		return cfg, nil, err
	}
	return cfg, origin, cfg.Validate()
}

// Validate returns an error that names the key and its bound.
func (c *Config) Validate() error {
	var errs []error
	for _, a := range []struct{ key, addr string }{{"polaris-addr", c.Polaris.Addr}, {"xds-addr", c.XDS.Addr}, {"http-addr", c.HTTPAddr}} {
		if _, port, err := net.SplitHostPort(a.addr); err != nil || !isPort(port) {
			errs = append(errs, fmt.Errorf("%s: %q is not host:port", a.key, a.addr))
		}
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("data-dir: must not be empty"))
	}
	if c.LogFormat != "json" && c.LogFormat != "console" {
		errs = append(errs, fmt.Errorf("log-format: %q is neither json nor console", c.LogFormat))
	}
	if c.DrainTimeout <= 0 || c.DrainTimeout > 10*time.Minute {
		errs = append(errs, fmt.Errorf("drain-timeout: %s is not between 1ns and 10m", c.DrainTimeout))
	}
	return errors.Join(append(errs, c.validateCluster(), c.validateAuth(), c.validateHeartbeat(), c.validateClients(), c.Rates.validate(), c.HTTPConns.validate(), c.validateTLS(), c.validateXDS(), c.validateExposure(), c.Polaris.Validate(), c.XDS.Validate(), c.Batch.Validate(), c.Lease.Validate(), c.Log.Validate(), c.Cleanup.Validate())...)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}

// readEnv returns the settings in the environment. A variable with our prefix
// that is no setting is an error: a misspelt one would be ignored in silence.
func readEnv(environ []string) (map[string]string, error) {
	known := map[string]string{envPrefix + "CONFIG": "config"}
	ofCommands := []string{ // a shell may have them for others than the server
		tokenEnv, tokenFileEnv, envClientTLS, envClientCA, envClientCert, envClientKey, envServerName,
	}
	for _, s := range settings() {
		known[s.env()] = s.key
	}
	out := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envPrefix+"E2E_") || slices.Contains(ofCommands, name) {
			continue // POLESTAR_E2E_* steer the end-to-end tests
		}
		key, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("unknown environment variable %s%s", name, suggest(name, mapKeys(known)))
		}
		out[key] = value
	}
	return out, nil
}

// readFile returns the settings in a YAML file; no path means none.
func readFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	var known []string
	for _, s := range settings() {
		known = append(known, s.key)
	}
	out := map[string]string{}
	for key, value := range k.All() {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("config file %s: unknown key %q%s", path, key, suggest(key, known))
		}
		switch value.(type) {
		case map[string]any, []any, nil:
			return nil, fmt.Errorf("config file %s: %s: a single value is expected", path, key)
		}
		out[key] = fmt.Sprint(value)
	}
	return out, nil
}

func mapKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// suggest names the known word that is nearest to a misspelt one, if any is near.
func suggest(word string, known []string) string {
	best, at := "", len(word)/3+1
	for _, k := range known {
		if d := distance(word, k); d < at {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}
