package naming

import "time"

// SettingPrefix begins every key of a service's metadata that steers how
// clients send traffic to it. All other keys belong to the service's owner.
const SettingPrefix = "polestar/"

// Settings say how clients send traffic to one service. The zero value is not
// meaningful: take [DefaultSettings] or [ParseSettings]. What each client makes
// of each setting is in docs/service-settings.md.
type Settings struct {
	LBPolicy       LBPolicy
	HashHeader     string        // what ring_hash and maglev hash, in lower case; else empty
	SlowStart      time.Duration // window in which a new instance is warmed up; 0: none
	PanicThreshold uint32        // percent of healthy instances below which all are used; 0: never
	LocalityLB     LocalityLB

	ConnectTimeout time.Duration
	RequestTimeout time.Duration // 0: none
	Retries        uint32        // 0: none
	RetryOn        []string      // conditions; empty exactly when Retries is 0
	PerTryTimeout  time.Duration // 0: none

	// Circuit breaker thresholds, for each client by itself; MaxUint32: none.
	MaxConnections, MaxPendingRequests, MaxRequests, MaxRetries uint32

	Outlier Outlier
	TLS     TLS

	SubsetKeys     [][]string // combinations of metadata keys that routes may choose by; nil: none
	SubsetFallback SubsetFallback

	Nearby         Nearness // which instances are preferred
	NearbyLimit    Nearness // the farthest that are served; NearAny: all
	NearbyOverflow uint32   // percent of healthy weight below which traffic goes farther
}

// Outlier is passive health checking: instances that answer badly are ejected
// by the client itself for a while.
type Outlier struct {
	Consecutive5xx    uint32 // ejects after so many in a row; 0: off
	SuccessRateStdev  uint32 // ejects below mean − stdev × this/1000; 0: off
	FailurePercentage uint32 // ejects at this failure rate; 0: off
	Interval          time.Duration
	BaseEjection      time.Duration // grows with every ejection
	MaxEjection       uint32        // percent of instances
	MinHosts          uint32        // for the two rates
	RequestVolume     uint32        // per interval, for the two rates
}

// On reports whether anything is detected.
func (o *Outlier) On() bool {
	return o.Consecutive5xx > 0 || o.SuccessRateStdev > 0 || o.FailurePercentage > 0
}

// TLS is how clients encrypt connections to the service's instances.
type TLS struct {
	Mode TLSMode
	SNI  string
	SANs []string // one of them must be in the instance's certificate; empty: SNI, if set
	// Files on the Envoy's machine.
	CA, Cert, Key string
	// Names of certificate provider instances in a gRPC client's bootstrap;
	// empty: the channel's own credentials.
	CAProvider, CertProvider string
	// Broken: what is stored is wrong. Clients must not fall back to plain
	// text, so they are given no instances.
	Broken bool
}

// LBPolicy chooses among the instances of a locality.
type LBPolicy string

// The policies.
const (
	RoundRobin         LBPolicy = "round_robin"
	LeastRequest       LBPolicy = "least_request"
	RingHash           LBPolicy = "ring_hash"
	Maglev             LBPolicy = "maglev"
	Random             LBPolicy = "random"
	WeightedRoundRobin LBPolicy = "weighted_round_robin" // weights measured by the client
)

// Hashes reports whether equal requests go to the same instance.
func (p LBPolicy) Hashes() bool { return p == RingHash || p == Maglev }

// LocalityLB says how an Envoy chooses among localities.
type LocalityLB string

// The ways.
const (
	LocalityOff       LocalityLB = "off"
	LocalityWeighted  LocalityLB = "weighted"
	LocalityZoneAware LocalityLB = "zone_aware"
)

// TLSMode says who shows a certificate.
type TLSMode string

// The modes.
const (
	TLSOff    TLSMode = "off"
	TLSServer TLSMode = "tls"  // the instance
	TLSMutual TLSMode = "mtls" // both
)

// SubsetFallback says where a request goes whose subset is empty.
type SubsetFallback string

// The fallbacks.
const (
	SubsetAny  SubsetFallback = "any"  // to any instance
	SubsetNone SubsetFallback = "none" // nowhere: it fails
)

// Nearness is how much of their locations a client and an instance share.
type Nearness uint8

// The degrees; each includes the ones before it.
const (
	NearAny Nearness = iota
	NearRegion
	NearZone
	NearCampus
)

// String is the word used in settings.
func (n Nearness) String() string { return nearnesses[n] }

// nearnesses are the words of the degrees.
var nearnesses = [...]string{NearAny: "off", NearRegion: "region", NearZone: "zone", NearCampus: "campus"}

// NearnessOf compares two locations. An empty part is like no other.
func NearnessOf(a, b Location) Nearness {
	switch {
	case a.Region == "" || a.Region != b.Region:
		return NearAny
	case a.Zone == "" || a.Zone != b.Zone:
		return NearRegion
	case a.Campus == "" || a.Campus != b.Campus:
		return NearZone
	default:
		return NearCampus
	}
}

// Reduce keeps the parts of a location that comparing down to n reads.
func (l Location) Reduce(n Nearness) Location {
	switch {
	case n < NearRegion || l.Region == "":
		return Location{}
	case n < NearZone || l.Zone == "":
		return Location{Region: l.Region}
	case n < NearCampus:
		return Location{Region: l.Region, Zone: l.Zone}
	default:
		return l
	}
}

// MaxThreshold as a circuit breaker threshold means none.
const MaxThreshold = 1<<32 - 1

// DefaultSettings are those of a service without any.
func DefaultSettings() Settings {
	return Settings{
		LBPolicy: RoundRobin, PanicThreshold: 1, LocalityLB: LocalityOff,
		ConnectTimeout: 5 * time.Second,
		MaxConnections: MaxThreshold, MaxPendingRequests: MaxThreshold, MaxRequests: MaxThreshold, MaxRetries: MaxThreshold,
		Outlier: Outlier{
			Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 10, MinHosts: 5, RequestVolume: 100,
		},
		TLS:            TLS{Mode: TLSOff},
		SubsetFallback: SubsetAny,
		NearbyOverflow: 70,
	}
}
