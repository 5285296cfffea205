package naming

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// setting is one key of [Settings]: its name without [SettingPrefix], and what
// puts a value into them or says what would be allowed.
type setting struct {
	name string
	set  func(s *Settings, value string) (expected string)
}

// settings lists every key; bounds stand here and nowhere else.
var settings = []setting{
	{"lb-policy", choice(func(s *Settings) *LBPolicy { return &s.LBPolicy },
		RoundRobin, LeastRequest, RingHash, Maglev, Random, WeightedRoundRobin)},
	{"hash-header", text(func(s *Settings) *string { return &s.HashHeader }, headerName)},
	{"slow-start", duration(func(s *Settings) *time.Duration { return &s.SlowStart }, time.Second, time.Hour)},
	{"panic-threshold", number(func(s *Settings) *uint32 { return &s.PanicThreshold }, 0, 100)},
	{"locality-lb", choice(func(s *Settings) *LocalityLB { return &s.LocalityLB }, LocalityOff, LocalityWeighted, LocalityZoneAware)},

	{"connect-timeout", duration(func(s *Settings) *time.Duration { return &s.ConnectTimeout }, time.Millisecond, 5*time.Minute)},
	{"request-timeout", duration(func(s *Settings) *time.Duration { return &s.RequestTimeout }, time.Millisecond, 24*time.Hour)},
	{"retries", number(func(s *Settings) *uint32 { return &s.Retries }, 0, 10)},
	{"retry-on", list(func(s *Settings) *[]string { return &s.RetryOn }, retryCondition)},
	{"per-try-timeout", duration(func(s *Settings) *time.Duration { return &s.PerTryTimeout }, time.Millisecond, 24*time.Hour)},

	{"max-connections", number(func(s *Settings) *uint32 { return &s.MaxConnections }, 1, MaxThreshold)},
	{"max-pending-requests", number(func(s *Settings) *uint32 { return &s.MaxPendingRequests }, 1, MaxThreshold)},
	{"max-requests", number(func(s *Settings) *uint32 { return &s.MaxRequests }, 1, MaxThreshold)},
	{"max-retries", number(func(s *Settings) *uint32 { return &s.MaxRetries }, 0, MaxThreshold)},

	{"outlier-consecutive-5xx", number(func(s *Settings) *uint32 { return &s.Outlier.Consecutive5xx }, 1, 1000)},
	{"outlier-success-rate", thousandths(func(s *Settings) *uint32 { return &s.Outlier.SuccessRateStdev }, 10)},
	{"outlier-failure-percentage", number(func(s *Settings) *uint32 { return &s.Outlier.FailurePercentage }, 1, 100)},
	{"outlier-interval", duration(func(s *Settings) *time.Duration { return &s.Outlier.Interval }, 100*time.Millisecond, time.Hour)},
	{"outlier-base-ejection", duration(func(s *Settings) *time.Duration { return &s.Outlier.BaseEjection }, 100*time.Millisecond, time.Hour)},
	{"outlier-max-ejection", number(func(s *Settings) *uint32 { return &s.Outlier.MaxEjection }, 1, 100)},
	{"outlier-min-hosts", number(func(s *Settings) *uint32 { return &s.Outlier.MinHosts }, 1, 10000)},
	{"outlier-request-volume", number(func(s *Settings) *uint32 { return &s.Outlier.RequestVolume }, 1, 1000000)},

	{"tls", choice(func(s *Settings) *TLSMode { return &s.TLS.Mode }, TLSOff, TLSServer, TLSMutual)},
	{"tls-sni", text(func(s *Settings) *string { return &s.TLS.SNI }, dnsName)},
	{"tls-san", list(func(s *Settings) *[]string { return &s.TLS.SANs }, subjectName)},
	{"tls-ca", text(func(s *Settings) *string { return &s.TLS.CA }, filePath)},
	{"tls-cert", text(func(s *Settings) *string { return &s.TLS.Cert }, filePath)},
	{"tls-key", text(func(s *Settings) *string { return &s.TLS.Key }, filePath)},
	{"tls-ca-provider", text(func(s *Settings) *string { return &s.TLS.CAProvider }, providerName)},
	{"tls-cert-provider", text(func(s *Settings) *string { return &s.TLS.CertProvider }, providerName)},

	{"subset-keys", subsets},
	{"subset-fallback", choice(func(s *Settings) *SubsetFallback { return &s.SubsetFallback }, SubsetAny, SubsetNone)},

	{"nearby", nearness(func(s *Settings) *Nearness { return &s.Nearby })},
	{"nearby-limit", nearness(func(s *Settings) *Nearness { return &s.NearbyLimit })},
	{"nearby-overflow", number(func(s *Settings) *uint32 { return &s.NearbyOverflow }, 1, 100)},
}

// SettingKeys lists the keys of [Settings], with their prefix.
func SettingKeys() []string {
	out := make([]string, 0, len(settings))
	for _, s := range settings {
		out = append(out, SettingPrefix+s.name)
	}
	return out
}

// maxSettingItems bounds lists of names and of combinations.
const maxSettingItems = 16

func choice[T ~string](into func(*Settings) *T, allowed ...T) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		if !slices.Contains(allowed, T(value)) {
			words := make([]string, len(allowed))
			for n, a := range allowed {
				words[n] = string(a)
			}
			return "one of " + strings.Join(words, ", ")
		}
		*into(s) = T(value)
		return ""
	}
}

func nearness(into func(*Settings) *Nearness) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		at := slices.Index(nearnesses[:], value)
		if at < 0 {
			return "one of " + strings.Join(nearnesses[:], ", ")
		}
		*into(s) = Nearness(at)
		return ""
	}
}

func number(into func(*Settings) *uint32, least, most uint64) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n < least || n > most {
			return "a whole number between " + strconv.FormatUint(least, 10) + " and " + strconv.FormatUint(most, 10)
		}
		*into(s) = uint32(n)
		return ""
	}
}

// thousandths takes a decimal number above 0 with up to three decimals.
func thousandths(into func(*Settings) *uint32, most uint64) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		whole, part, _ := strings.Cut(value, ".")
		n, err := strconv.ParseUint(whole+(part + "000")[:max(3, len(part))], 10, 32)
		if err != nil || len(part) > 3 || n == 0 || n > most*1000 {
			return "a number above 0, up to " + strconv.FormatUint(most, 10) + ", with at most three decimals"
		}
		*into(s) = uint32(n)
		return ""
	}
}

func duration(into func(*Settings) *time.Duration, least, most time.Duration) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		d, err := time.ParseDuration(value)
		if err != nil || d < least || d > most {
			return "a duration between " + least.String() + " and " + most.String() + ", as in 250ms or 1.5s"
		}
		*into(s) = d
		return ""
	}
}

// text takes what a check accepts, in the form that the check gives it.
func text(into func(*Settings) *string, check func(string) (is, expected string)) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		is, expected := check(value)
		if expected == "" {
			*into(s) = is
		}
		return expected
	}
}

// list takes names with commas between them.
func list(into func(*Settings) *[]string, check func(string) (is, expected string)) func(*Settings, string) string {
	return func(s *Settings, value string) string {
		items, expected := items(value, ",", check)
		if expected == "" {
			*into(s) = items
		}
		return expected
	}
}

func items(value, separator string, check func(string) (is, expected string)) (out []string, expected string) {
	for item := range strings.SplitSeq(value, separator) {
		is, wrong := check(strings.TrimSpace(item))
		switch {
		case wrong != "":
			return nil, wrong
		case slices.Contains(out, is):
			return nil, strconv.Quote(is) + " once"
		case len(out) == maxSettingItems:
			return nil, "at most " + strconv.Itoa(maxSettingItems) + " items"
		}
		out = append(out, is)
	}
	return out, ""
}

// subsets takes combinations of metadata keys: "version" or "env,version; env".
func subsets(s *Settings, value string) string {
	var out [][]string
	combinations, expected := items(value, ";", func(item string) (string, string) {
		keys, wrong := items(item, ",", metadataKey)
		slices.Sort(keys)
		out = append(out, keys)
		return strings.Join(keys, ","), wrong
	})
	if expected == "" {
		slices.SortFunc(out, slices.Compare)
		s.SubsetKeys = out[:len(combinations):len(combinations)]
	}
	return expected
}

func metadataKey(v string) (is, expected string) {
	if v == "" || len(v) > MaxMetadataKey || strings.IndexFunc(v, unicode.IsControl) >= 0 {
		return "", "metadata keys with commas between them, combinations with semicolons between them, as in version;env,version"
	}
	return v, ""
}

// headerName takes an HTTP header that gRPC can hash, too.
func headerName(v string) (is, expected string) {
	v = strings.ToLower(v)
	ok := v != "" && len(v) <= MaxMetadataKey && !strings.HasSuffix(v, "-bin") && strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
	if !ok {
		return "", "the name of a header, up to 128 of a–z 0–9 - _ . and not ending in -bin"
	}
	return v, ""
}

// retryConditions are what Envoy takes without further settings; gRPC knows
// the last five.
var retryConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "refused-stream", "retriable-4xx",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

func retryCondition(v string) (is, expected string) {
	if !slices.Contains(retryConditions, v) {
		return "", "some of " + strings.Join(retryConditions, ", ")
	}
	return v, ""
}

func dnsName(v string) (is, expected string) {
	if len(v) > 253 || checkHost(v) != nil || strings.HasSuffix(v, ".") || strings.Contains(v, ":") {
		return "", "a DNS name"
	}
	return v, ""
}

// subjectName takes a DNS name, or a URI such as a SPIFFE id.
func subjectName(v string) (is, expected string) {
	if u, err := url.Parse(v); err == nil && u.Scheme != "" && u.Host != "" && len(v) <= 2048 {
		return v, ""
	}
	if _, wrong := dnsName(v); wrong != "" {
		return "", "DNS names or URIs with commas between them"
	}
	return v, ""
}

func filePath(v string) (is, expected string) {
	if !strings.HasPrefix(v, "/") || len(v) > 1024 || strings.IndexFunc(v, unicode.IsControl) >= 0 {
		return "", "an absolute path of up to 1024 bytes on the Envoy's machine"
	}
	return v, ""
}

func providerName(v string) (is, expected string) {
	if v == "" || len(v) > 128 || strings.IndexFunc(v, func(r rune) bool { return !isNameRune(r) }) >= 0 {
		return "", "the name of a certificate provider instance, up to 128 letters, digits and - . / : _"
	}
	return v, ""
}
