package naming_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// settingCase is one key: values that are taken and what they mean, and values
// that are not.
type settingCase struct {
	key  string
	with given
	good map[string]settingsSetter
	bad  map[string]string // value → words that the error must say
}

// given is what a key needs beside it.
type given struct {
	pairs map[string]string
	means settingsSetter // nil: nothing by itself
}

type settingsSetter = func(*naming.Settings)

var (
	none    given
	hashing = given{map[string]string{"hash-header": "x-user"}, func(s *naming.Settings) { s.HashHeader = "x-user" }}
	hashed  = given{map[string]string{"lb-policy": "maglev"}, func(s *naming.Settings) { s.LBPolicy = naming.Maglev }}

	retrying = given{map[string]string{"retries": "2"}, func(s *naming.Settings) {
		s.Retries, s.RetryOn = 2, []string{"connect-failure", "refused-stream", "unavailable"}
	}}
	ejecting  = given{map[string]string{"outlier-consecutive-5xx": "5"}, func(s *naming.Settings) { s.Outlier.Consecutive5xx = 5 }}
	encrypted = given{map[string]string{"tls": "tls", "tls-ca": "/ca.pem"}, func(s *naming.Settings) {
		s.TLS.Mode, s.TLS.CA = naming.TLSServer, "/ca.pem"
	}}
	mutual = given{map[string]string{"tls": "mtls", "tls-ca": "/ca.pem", "tls-cert": "/cert.pem", "tls-key": "/key.pem"}, func(s *naming.Settings) {
		s.TLS = naming.TLS{Mode: naming.TLSMutual, CA: "/ca.pem", Cert: "/cert.pem", Key: "/key.pem"}
	}}
	provided = given{map[string]string{"tls": "mtls", "tls-ca": "/ca.pem", "tls-cert": "/c", "tls-key": "/k", "tls-ca-provider": "p"}, func(s *naming.Settings) {
		s.TLS = naming.TLS{Mode: naming.TLSMutual, CA: "/ca.pem", Cert: "/c", Key: "/k", CAProvider: "p"}
	}}
	near = given{map[string]string{"nearby": "campus"}, func(s *naming.Settings) { s.Nearby = naming.NearCampus }}
)

func only(key, value string) given { return given{map[string]string{key: value}, nil} }

func settingCases() []settingCase {
	long := strings.Repeat("a", 129)
	return []settingCase{
		{"lb-policy", hashing, map[string]settingsSetter{
			"ring_hash": func(s *naming.Settings) { s.LBPolicy = naming.RingHash },
			"maglev":    func(s *naming.Settings) { s.LBPolicy = naming.Maglev },
		}, map[string]string{"": "round_robin, least_request", "ROUND_ROBIN": "one of"}},
		{"lb-policy", none, map[string]settingsSetter{
			"round_robin":          func(*naming.Settings) {},
			"least_request":        func(s *naming.Settings) { s.LBPolicy = naming.LeastRequest },
			"random":               func(s *naming.Settings) { s.LBPolicy = naming.Random },
			"weighted_round_robin": func(s *naming.Settings) { s.LBPolicy = naming.WeightedRoundRobin },
		}, map[string]string{"ring_hash": "needs polestar/hash-header", "maglev": "needs polestar/hash-header"}},
		{"hash-header", hashed, map[string]settingsSetter{
			"X-User": func(s *naming.Settings) { s.HashHeader = "x-user" },
		}, map[string]string{"": "header", "a b": "header", "trace-bin": "-bin", long: "128"}},
		{"hash-header", none, nil, map[string]string{"x-user": "no effect unless polestar/lb-policy is ring_hash or maglev"}},
		{"slow-start", none, map[string]settingsSetter{
			"1s": func(s *naming.Settings) { s.SlowStart = time.Second },
			"1h": func(s *naming.Settings) { s.SlowStart = time.Hour },
		}, map[string]string{"999ms": "between 1s and 1h0m0s", "1h1s": "between", "5": "as in 250ms", "-1s": "between", "": "duration"}},
		{"slow-start", only("lb-policy", "random"), nil, map[string]string{"1s": "round_robin or least_request"}},
		{"panic-threshold", none, map[string]settingsSetter{
			"0":   func(s *naming.Settings) { s.PanicThreshold = 0 },
			"100": func(s *naming.Settings) { s.PanicThreshold = 100 },
		}, map[string]string{"101": "between 0 and 100", "-1": "whole number", "50%": "whole number", "": "whole number"}},
		{"locality-lb", none, map[string]settingsSetter{
			"off":        func(*naming.Settings) {},
			"weighted":   func(s *naming.Settings) { s.LocalityLB = naming.LocalityWeighted },
			"zone_aware": func(s *naming.Settings) { s.LocalityLB = naming.LocalityZoneAware },
		}, map[string]string{"zone-aware": "off, weighted, zone_aware"}},
		{"locality-lb", given{map[string]string{"lb-policy": "ring_hash", "hash-header": "h"}, nil}, nil, map[string]string{"zone_aware": "polestar/lb-policy ring_hash"}},
		{"locality-lb", near, nil, map[string]string{"zone_aware": "polestar/nearby"}},
		{"locality-lb", only("subset-keys", "version"), nil, map[string]string{"zone_aware": "polestar/subset-keys"}},
		{"locality-lb", only("lb-policy", "weighted_round_robin"), nil, map[string]string{"weighted": "weighted_round_robin"}},
		{"connect-timeout", none, map[string]settingsSetter{
			"1ms": func(s *naming.Settings) { s.ConnectTimeout = time.Millisecond },
			"5m":  func(s *naming.Settings) { s.ConnectTimeout = 5 * time.Minute },
		}, map[string]string{"0": "between 1ms and 5m0s", "5m1ms": "between"}},
		{"request-timeout", none, map[string]settingsSetter{
			"1ms": func(s *naming.Settings) { s.RequestTimeout = time.Millisecond },
			"24h": func(s *naming.Settings) { s.RequestTimeout = 24 * time.Hour },
		}, map[string]string{"0": "between 1ms and 24h0m0s", "24h1ms": "between"}},
		{"retries", none, map[string]settingsSetter{
			"0": func(*naming.Settings) {},
			"10": func(s *naming.Settings) {
				s.Retries, s.RetryOn = 10, []string{"connect-failure", "refused-stream", "unavailable"}
			},
		}, map[string]string{"11": "between 0 and 10"}},
		{"retry-on", retrying, map[string]settingsSetter{
			"5xx, unavailable": func(s *naming.Settings) { s.RetryOn = []string{"5xx", "unavailable"} },
		}, map[string]string{"": "some of 5xx", "5xx,": "some of", "retriable-headers": "some of", "5xx,5xx": `"5xx" once`}},
		{"retry-on", none, nil, map[string]string{"5xx": "no effect without polestar/retries"}},
		{"per-try-timeout", retrying, map[string]settingsSetter{
			"1s": func(s *naming.Settings) { s.PerTryTimeout = time.Second },
		}, map[string]string{"0s": "between"}},
		{"per-try-timeout", none, nil, map[string]string{"1s": "no effect without polestar/retries"}},
		{"per-try-timeout", given{map[string]string{"retries": "1", "request-timeout": "2s"}, nil}, nil, map[string]string{"3s": "longer than polestar/request-timeout, 2s"}},
		{"max-connections", none, map[string]settingsSetter{
			"1":          func(s *naming.Settings) { s.MaxConnections = 1 },
			"4294967295": func(*naming.Settings) {},
		}, map[string]string{"0": "between 1 and 4294967295", "4294967296": "between"}},
		{"max-pending-requests", none, map[string]settingsSetter{
			"1": func(s *naming.Settings) { s.MaxPendingRequests = 1 },
		}, map[string]string{"0": "between 1 and"}},
		{"max-requests", none, map[string]settingsSetter{
			"1": func(s *naming.Settings) { s.MaxRequests = 1 },
		}, map[string]string{"0": "between 1 and"}},
		{"max-retries", none, map[string]settingsSetter{
			"0": func(s *naming.Settings) { s.MaxRetries = 0 },
		}, map[string]string{"none": "between 0 and 4294967295"}},
		{"outlier-consecutive-5xx", none, map[string]settingsSetter{
			"1":    func(s *naming.Settings) { s.Outlier.Consecutive5xx = 1 },
			"1000": func(s *naming.Settings) { s.Outlier.Consecutive5xx = 1000 },
		}, map[string]string{"0": "between 1 and 1000", "1001": "between"}},
		{"outlier-success-rate", none, map[string]settingsSetter{
			"1.9":   func(s *naming.Settings) { s.Outlier.SuccessRateStdev = 1900 },
			"0.001": func(s *naming.Settings) { s.Outlier.SuccessRateStdev = 1 },
			"10":    func(s *naming.Settings) { s.Outlier.SuccessRateStdev = 10000 },
		}, map[string]string{"0": "above 0, up to 10", "10.001": "up to 10", "1.0001": "three decimals", "-1": "number", "1e1": "number"}},
		{"outlier-failure-percentage", none, map[string]settingsSetter{
			"100": func(s *naming.Settings) { s.Outlier.FailurePercentage = 100 },
		}, map[string]string{"0": "between 1 and 100", "101": "between"}},
		{"outlier-interval", ejecting, map[string]settingsSetter{
			"100ms": func(s *naming.Settings) { s.Outlier.Interval = 100 * time.Millisecond },
		}, map[string]string{"99ms": "between 100ms and 1h0m0s"}},
		{"outlier-base-ejection", ejecting, map[string]settingsSetter{
			"1h": func(s *naming.Settings) { s.Outlier.BaseEjection = time.Hour },
		}, map[string]string{"61m": "between 100ms and 1h0m0s"}},
		{"outlier-max-ejection", ejecting, map[string]settingsSetter{
			"50": func(s *naming.Settings) { s.Outlier.MaxEjection = 50 },
		}, map[string]string{"0": "between 1 and 100", "101": "between"}},
		{"outlier-min-hosts", ejecting, map[string]settingsSetter{
			"2": func(s *naming.Settings) { s.Outlier.MinHosts = 2 },
		}, map[string]string{"0": "between 1 and 10000"}},
		{"outlier-request-volume", ejecting, map[string]settingsSetter{
			"1000000": func(s *naming.Settings) { s.Outlier.RequestVolume = 1000000 },
		}, map[string]string{"1000001": "between 1 and 1000000"}},
		{"outlier-interval", none, nil, map[string]string{"1s": "no effect without polestar/outlier-consecutive-5xx"}},
		{"tls", none, map[string]settingsSetter{"off": func(*naming.Settings) {}}, map[string]string{"on": "off, tls, mtls", "tls": "polestar/tls-ca: must be set"}},
		{"tls", only("tls-ca", "/ca.pem"), map[string]settingsSetter{
			"tls": func(s *naming.Settings) { s.TLS.Mode, s.TLS.CA = naming.TLSServer, "/ca.pem" },
		}, map[string]string{"mtls": "polestar/tls-cert: must be set"}},
		{"tls", mutual, map[string]settingsSetter{"mtls": func(s *naming.Settings) { s.TLS.Mode = naming.TLSMutual }}, nil},
		{"tls-sni", encrypted, map[string]settingsSetter{
			"cart.internal": func(s *naming.Settings) { s.TLS.SNI = "cart.internal" },
		}, map[string]string{"": "DNS name", "10.0.0.1:1": "DNS name", "a b": "DNS name"}},
		{"tls-sni", none, nil, map[string]string{"a.b": "no effect without polestar/tls"}},
		{"tls-san", encrypted, map[string]settingsSetter{
			"a.b, spiffe://td/ns/x": func(s *naming.Settings) { s.TLS.SANs = []string{"a.b", "spiffe://td/ns/x"} },
		}, map[string]string{"a.b,": "DNS names or URIs", "a.b,a.b": "once"}},
		{"tls-ca", only("tls", "tls"), map[string]settingsSetter{
			"/etc/ca.pem": func(s *naming.Settings) { s.TLS.Mode, s.TLS.CA = naming.TLSServer, "/etc/ca.pem" },
		}, map[string]string{"ca.pem": "absolute path", "": "absolute path", "/a\tb": "absolute path", "/" + strings.Repeat("a", 1024): "1024"}},
		{"tls-cert", mutual, map[string]settingsSetter{"/c": func(s *naming.Settings) { s.TLS.Cert = "/c" }}, map[string]string{"c": "absolute path"}},
		{"tls-key", mutual, map[string]settingsSetter{"/k": func(s *naming.Settings) { s.TLS.Key = "/k" }}, map[string]string{"k": "absolute path"}},
		{"tls-cert", encrypted, nil, map[string]string{"/c": "no effect without polestar/tls mtls"}},
		{"tls-ca-provider", encrypted, map[string]settingsSetter{
			"default": func(s *naming.Settings) { s.TLS.CAProvider = "default" },
		}, map[string]string{"": "certificate provider", "a b": "certificate provider", long: "128"}},
		{"tls-ca-provider", mutual, nil, map[string]string{"default": "polestar/tls-cert-provider: must be set"}},
		{"tls-cert-provider", provided, map[string]settingsSetter{
			"own": func(s *naming.Settings) { s.TLS.CertProvider = "own" },
		}, map[string]string{"ö": "certificate provider"}},
		{"tls-cert-provider", mutual, nil, map[string]string{"own": "no effect without polestar/tls-ca-provider"}},
		{"subset-keys", none, map[string]settingsSetter{
			"version":                func(s *naming.Settings) { s.SubsetKeys = [][]string{{"version"}} },
			"version , env; env; z ": func(s *naming.Settings) { s.SubsetKeys = [][]string{{"env"}, {"env", "version"}, {"z"}} },
		}, map[string]string{"": "metadata keys", ";": "metadata keys", "a,,b": "metadata keys", "a,b;b,a": `"a,b" once`, "a,a": "once", strings.Repeat("k;", 17): "once"}},
		{"subset-keys", only("lb-policy", "weighted_round_robin"), nil, map[string]string{"v": "weighted_round_robin"}},
		{"subset-fallback", only("subset-keys", "v"), map[string]settingsSetter{
			"any":  func(s *naming.Settings) { s.SubsetKeys = [][]string{{"v"}} },
			"none": func(s *naming.Settings) { s.SubsetKeys, s.SubsetFallback = [][]string{{"v"}}, naming.SubsetNone },
		}, map[string]string{"default": "any, none"}},
		{"subset-fallback", none, nil, map[string]string{"none": "no effect without polestar/subset-keys"}},
		{"nearby", none, map[string]settingsSetter{
			"off":    func(*naming.Settings) {},
			"region": func(s *naming.Settings) { s.Nearby = naming.NearRegion },
			"zone":   func(s *naming.Settings) { s.Nearby = naming.NearZone },
			"campus": func(s *naming.Settings) { s.Nearby = naming.NearCampus },
		}, map[string]string{"on": "off, region, zone, campus"}},
		{"nearby-limit", only("nearby", "zone"), map[string]settingsSetter{
			"off":    func(s *naming.Settings) { s.Nearby = naming.NearZone },
			"region": func(s *naming.Settings) { s.Nearby, s.NearbyLimit = naming.NearZone, naming.NearRegion },
			"zone":   func(s *naming.Settings) { s.Nearby, s.NearbyLimit = naming.NearZone, naming.NearZone },
		}, map[string]string{"campus": "nearer than polestar/nearby, zone", "all": "off, region"}},
		{"nearby-limit", none, nil, map[string]string{"zone": "no effect without polestar/nearby"}},
		{"nearby-overflow", near, map[string]settingsSetter{
			"1":   func(s *naming.Settings) { s.NearbyOverflow = 1 },
			"100": func(s *naming.Settings) { s.NearbyOverflow = 100 },
		}, map[string]string{"0": "between 1 and 100", "101": "between"}},
	}
}

// metadataOf puts settings among the owner's own pairs.
func metadataOf(settings map[string]string) naming.Metadata {
	all := map[string]string{"polestar": "x", "polestar0": "y", "env": "prod", "zone": "z"}
	for k, v := range settings {
		all[naming.SettingPrefix+k] = v
	}
	return naming.NewMetadata(all)
}

func TestSettings(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range settingCases() {
		all := maps.Clone(c.with.pairs)
		if all == nil {
			all = map[string]string{}
		}
		for value, change := range c.good {
			all[c.key] = value
			want := naming.DefaultSettings()
			if c.with.means != nil {
				c.with.means(&want)
			}
			change(&want)
			got, err := naming.ParseSettings(metadataOf(all))
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s = %q: %v (-want +got):\n%s", c.key, value, err, diff)
			}
			tested[naming.SettingPrefix+c.key] = true
		}
		for value, words := range c.bad {
			all[c.key] = value
			got, err := naming.ParseSettings(metadataOf(all))
			e, ok := errors.AsType[*naming.Error](err)
			if !ok || e.Kind != naming.Invalid || !strings.HasPrefix(e.Field, "metadata.polestar/") || !strings.Contains(e.Msg, words) {
				t.Errorf("%s = %q: %v, want words %q", c.key, value, err, words)
				continue
			}
			if key := strings.TrimPrefix(e.Field, "metadata."); !strings.HasPrefix(e.Msg, key+": ") {
				t.Errorf("%s = %q: the text %q does not begin with %q", c.key, value, e.Msg, key)
			}
			if len(all) > 1 || strings.HasPrefix(c.key, "tls") {
				continue
			}
			if diff := cmp.Diff(naming.DefaultSettings(), got); diff != "" {
				t.Errorf("%s = %q must count as its default: %s", c.key, value, diff)
			}
		}
	}
	for _, key := range naming.SettingKeys() {
		if !tested[key] {
			t.Errorf("no good value of %s is tested", key)
		}
	}
}

// A wrong TLS must not be taken for none: its instances would be called in
// plain text.
func TestBrokenTLSIsNotPlainText(t *testing.T) {
	for name, c := range map[string]struct {
		pairs  map[string]string
		broken bool
	}{
		"a mode that is none":  {map[string]string{"tls": "on"}, true},
		"nothing to verify by": {map[string]string{"tls": "tls"}, true},
		"no own certificate":   {map[string]string{"tls": "mtls", "tls-ca": "/ca"}, true},
		"no key":               {map[string]string{"tls": "mtls", "tls-ca": "/ca", "tls-cert": "/c"}, true},
		"a relative path":      {map[string]string{"tls": "tls", "tls-ca": "ca"}, true},
		"a wrong name":         {map[string]string{"tls": "tls", "tls-ca": "/ca", "tls-san": "a b"}, true},
		"parts without a mode": {map[string]string{"tls-ca": "/ca"}, false},
		"an unknown part":      {map[string]string{"tls": "tls", "tls-ca": "/ca", "tls-cipher": "x"}, false},
		"all is well":          {encrypted.pairs, false},
		"something else":       {map[string]string{"tls": "tls", "tls-ca": "/ca", "lb-policy": "?"}, false},
	} {
		got, _ := naming.StoredSettings(metadataOf(c.pairs))
		if got.TLS.Broken != c.broken {
			t.Errorf("%s: %+v", name, got.TLS)
		}
	}
}

func TestNoSettings(t *testing.T) {
	got, err := naming.ParseSettings(metadataOf(nil))
	if err != nil || !cmp.Equal(got, naming.DefaultSettings()) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = naming.ParseSettings(nil); err != nil || !cmp.Equal(got, naming.DefaultSettings()) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnknownSettingNamesTheNearest(t *testing.T) {
	for wrong, want := range map[string]string{
		"lbpolicy": "lb-policy", "LB-policy": "lb-policy", "retry": "retries", "conect-timeout": "connect-timeout",
		"outlier-consecutive_5xx": "outlier-consecutive-5xx", "tls-sans": "tls-san", "near-by": "nearby", "subset-key": "subset-keys",
	} {
		_, err := naming.ParseSettings(metadataOf(map[string]string{wrong: "x"}))
		e, ok := errors.AsType[*naming.Error](err)
		if !ok || e.Field != "metadata.polestar/"+wrong || !strings.HasSuffix(e.Msg, "did you mean polestar/"+want+"?") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, err := naming.ParseSettings(naming.NewMetadata(map[string]string{"polestar/": "", "polestar/" + strings.Repeat("y", 4000): ""})); err == nil {
		t.Error("an empty name is taken")
	}
}

// What is stored and wrong counts as its default, and the rest still holds.
func TestStoredSettingsKeepWhatIsRight(t *testing.T) {
	got, wrong := naming.StoredSettings(metadataOf(map[string]string{
		"lb-policy": "best", "retries": "3", "slow-start": "soon", "future": "x", "max-requests": "7",
	}))
	var fields []string
	for _, e := range wrong {
		fields = append(fields, e.Field)
	}
	if want := []string{"metadata.polestar/future", "metadata.polestar/lb-policy", "metadata.polestar/slow-start"}; !slices.Equal(fields, want) {
		t.Errorf("wrong: %q", fields)
	}
	if got.LBPolicy != naming.RoundRobin || got.Retries != 3 || got.SlowStart != 0 || got.MaxRequests != 7 {
		t.Errorf("%+v", got)
	}
}

func TestNearness(t *testing.T) {
	at := func(r, z, c string) naming.Location { return naming.Location{Region: r, Zone: z, Campus: c} }
	for _, c := range []struct {
		a, b naming.Location
		want naming.Nearness
	}{
		{at("r", "z", "c"), at("r", "z", "c"), naming.NearCampus},
		{at("r", "z", "c"), at("r", "z", "d"), naming.NearZone},
		{at("r", "z", "c"), at("r", "y", "c"), naming.NearRegion},
		{at("r", "z", "c"), at("q", "z", "c"), naming.NearAny},
		{at("r", "z", ""), at("r", "z", ""), naming.NearZone},
		{at("r", "", "c"), at("r", "", "c"), naming.NearRegion},
		{at("", "z", "c"), at("", "z", "c"), naming.NearAny},
		{at("", "", ""), at("", "", ""), naming.NearAny},
	} {
		if got := naming.NearnessOf(c.a, c.b); got != c.want || naming.NearnessOf(c.b, c.a) != c.want {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
		for n := naming.NearAny; n <= naming.NearCampus; n++ {
			if got := min(n, naming.NearnessOf(c.a.Reduce(n), c.b)); got != min(n, c.want) {
				t.Errorf("%v reduced to %v is to %v %v, want %v", c.a, n, c.b, got, min(n, c.want))
			}
		}
	}
}
