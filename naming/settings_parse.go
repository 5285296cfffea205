package naming

import (
	"slices"
	"strings"
)

// ParseSettings reads the settings in a service's metadata. The error is that
// of the first wrong key: an *[Error] of kind Invalid whose Field is
// "metadata." and the key, and whose text names the key and what is allowed.
// Whoever writes a service's metadata refuses it with this error.
func ParseSettings(m Metadata) (Settings, error) {
	s, wrong := StoredSettings(m)
	if len(wrong) > 0 {
		return s, wrong[0]
	}
	return s, nil
}

// StoredSettings reads settings that are stored already, where a wrong one (it
// was imported, or written by another version) must not stop the others: it
// counts as its default, and has an error as of [ParseSettings]. Only TLS never
// falls back to plain text: see [TLS.Broken].
func StoredSettings(m Metadata) (Settings, []*Error) {
	s := DefaultSettings()
	from, _ := slices.BinarySearchFunc(m, SettingPrefix, func(p Pair, prefix string) int { return strings.Compare(p.Key, prefix) })
	if from == len(m) || !strings.HasPrefix(m[from].Key, SettingPrefix) {
		return s, nil // as most
	}
	given := map[string]bool{}
	var wrong []*Error
	for _, p := range m[from:] { // sorted by key
		name, ours := strings.CutPrefix(p.Key, SettingPrefix)
		if !ours {
			break
		}
		at := slices.IndexFunc(settings, func(known setting) bool { return known.name == name })
		if at < 0 {
			wrong = append(wrong, settingError(name, "is not known; did you mean %s%s?", SettingPrefix, nearest(name)))
			continue
		}
		if expected := settings[at].set(&s, p.Value); expected != "" {
			wrong = append(wrong, settingError(name, "%.64q is not %s", p.Value, expected))
			s.TLS.Broken = s.TLS.Broken || strings.HasPrefix(name, "tls")
			continue
		}
		given[name] = true
	}
	return s, append(wrong, s.fit(given)...)
}

func settingError(name, format string, args ...any) *Error {
	e := Errorf(Invalid, FieldMetadata+"."+SettingPrefix+name, format, args...)
	e.Msg = SettingPrefix + name + ": " + e.Msg
	return e
}

// fit resets what does not go together with the rest, or has no effect
// without it, and says so.
func (s *Settings) fit(given map[string]bool) (wrong []*Error) {
	def := DefaultSettings()
	refuse := func(name, format string, args ...any) { wrong = append(wrong, settingError(name, format, args...)) }
	// needless refuses tuning of something that is off.
	needless := func(off bool, needs string, names ...string) {
		for _, name := range names {
			if off && given[name] {
				refuse(name, "has no effect without %s%s", SettingPrefix, needs)
			}
		}
	}
	s.fitBalancing(def, given, refuse)

	needless(s.Retries == 0, "retries", "retry-on", "per-try-timeout")
	switch {
	case s.Retries == 0:
		s.RetryOn, s.PerTryTimeout = nil, 0
	case s.RetryOn == nil:
		s.RetryOn = []string{"connect-failure", "refused-stream", "unavailable"}
	}
	if s.RequestTimeout > 0 && s.PerTryTimeout > s.RequestTimeout {
		refuse("per-try-timeout", "%s is longer than %srequest-timeout, %s", s.PerTryTimeout, SettingPrefix, s.RequestTimeout)
		s.PerTryTimeout = 0
	}
	if !s.Outlier.On() {
		needless(true, "outlier-consecutive-5xx, -success-rate or -failure-percentage",
			"outlier-interval", "outlier-base-ejection", "outlier-max-ejection", "outlier-min-hosts", "outlier-request-volume")
		s.Outlier = def.Outlier
	}
	needless(s.SubsetKeys == nil, "subset-keys", "subset-fallback")
	if s.SubsetKeys == nil {
		s.SubsetFallback = def.SubsetFallback
	}
	needless(s.Nearby == NearAny, "nearby", "nearby-limit", "nearby-overflow")
	switch {
	case s.Nearby == NearAny:
		s.NearbyLimit, s.NearbyOverflow = def.NearbyLimit, def.NearbyOverflow
	case s.NearbyLimit > s.Nearby:
		refuse("nearby-limit", "%s is nearer than %snearby, %s", s.NearbyLimit, SettingPrefix, s.Nearby)
		s.NearbyLimit = NearAny
	}
	s.TLS.fit(given, refuse, needless)
	return wrong
}

// fitBalancing holds what depends on how instances are chosen.
func (s *Settings) fitBalancing(def Settings, given map[string]bool, refuse func(name, format string, args ...any)) {
	switch {
	case s.LBPolicy.Hashes() && s.HashHeader == "":
		refuse("lb-policy", "%s needs %shash-header: the header whose value is hashed", s.LBPolicy, SettingPrefix)
		s.LBPolicy = def.LBPolicy
	case !s.LBPolicy.Hashes() && s.HashHeader != "":
		refuse("hash-header", "has no effect unless %slb-policy is %s or %s", SettingPrefix, RingHash, Maglev)
		s.HashHeader = ""
	}
	if s.SlowStart > 0 && s.LBPolicy != RoundRobin && s.LBPolicy != LeastRequest {
		refuse("slow-start", "has no effect unless %slb-policy is %s or %s", SettingPrefix, RoundRobin, LeastRequest)
		s.SlowStart = 0
	}
	if s.LBPolicy == WeightedRoundRobin && s.SubsetKeys != nil {
		refuse("subset-keys", "do not go together with %slb-policy %s", SettingPrefix, WeightedRoundRobin)
		s.SubsetKeys = nil
		delete(given, "subset-fallback")
	}
	zoneAware := s.LocalityLB == LocalityZoneAware
	switch {
	case s.LocalityLB != LocalityOff && s.LBPolicy == WeightedRoundRobin:
		refuse("locality-lb", "%s does not go together with %slb-policy %s", s.LocalityLB, SettingPrefix, WeightedRoundRobin)
	case zoneAware && s.LBPolicy.Hashes():
		refuse("locality-lb", "%s does not go together with %slb-policy %s", s.LocalityLB, SettingPrefix, s.LBPolicy)
	case zoneAware && s.Nearby != NearAny:
		refuse("locality-lb", "%s does not go together with %snearby", s.LocalityLB, SettingPrefix)
	case zoneAware && s.SubsetKeys != nil:
		refuse("locality-lb", "%s does not go together with %ssubset-keys", s.LocalityLB, SettingPrefix)
	default:
		return
	}
	s.LocalityLB = def.LocalityLB
}

// fit refuses an incomplete TLS, which must not be taken for a smaller one.
func (t *TLS) fit(given map[string]bool, refuse func(string, string, ...any), needless func(bool, string, ...string)) {
	if t.Broken {
		return
	}
	needless(t.Mode == TLSOff, "tls", "tls-sni", "tls-san", "tls-ca", "tls-cert", "tls-key", "tls-ca-provider", "tls-cert-provider")
	needless(t.Mode == TLSServer, "tls mtls", "tls-cert", "tls-key", "tls-cert-provider")
	needs := func(name, why string) {
		if !given[name] {
			refuse(name, "must be set when %stls is %s: %s", SettingPrefix, t.Mode, why)
			t.Broken = true
		}
	}
	if t.Mode != TLSOff {
		needs("tls-ca", "Envoys verify the instances with it")
	}
	if t.Mode == TLSMutual {
		needs("tls-cert", "Envoys show it")
		needs("tls-key", "Envoys need it for the certificate that they show")
		if t.CAProvider != "" {
			needs("tls-cert-provider", "gRPC clients show its certificate")
		}
	}
	switch t.Mode {
	case TLSOff:
		*t = TLS{Mode: TLSOff, Broken: t.Broken}
	case TLSServer:
		t.Cert, t.Key, t.CertProvider = "", "", ""
	case TLSMutual:
		if t.CAProvider == "" && t.CertProvider != "" {
			refuse("tls-cert-provider", "has no effect without %stls-ca-provider", SettingPrefix)
			t.CertProvider = ""
		}
	}
}

// nearest is the known name with the smallest edit distance.
func nearest(name string) string {
	best, least := "", 0
	for _, s := range settings {
		if d := distance(name, s.name); best == "" || d < least {
			best, least = s.name, d
		}
	}
	return best
}

// distance counts the single-byte edits between two words. It is called for
// words that are wrong, and those are short.
func distance(a, b string) int {
	if len(a) > MaxMetadataKey {
		a = a[:MaxMetadataKey]
	}
	row := make([]int, len(b)+1)
	for n := range row {
		row[n] = n
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
