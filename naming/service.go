package naming

import (
	"crypto/sha1" //nolint:gosec // Polaris fixes SHA-1 for ids; nothing secret rests on it
	"encoding/hex"
	"strings"
)

// Revision numbers the commits of a whole cluster: gap-free, strictly
// increasing, starting at 1. 0 means "nothing committed yet".
type Revision uint64

// ServiceKey names a service. Names are case-sensitive.
type ServiceKey struct {
	Namespace string
	Name      string
}

// String is the form for people: namespace/name. Both may contain a slash, so
// it is no key; use the struct itself or [ServiceKey.StoreKey].
func (k ServiceKey) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by namespace, then name.
func (k ServiceKey) Compare(o ServiceKey) int {
	if c := strings.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// Namespace groups services.
type Namespace struct {
	Name    string
	Comment string
	Owner   string
	Creator string // id of the principal that created it; empty: nobody in particular
	// ServiceExportTo is the ExportTo of those of its services that have none.
	ServiceExportTo []string
	Created         Micros
	Modified        Micros
	Revision        Revision // of its last change
}

// Service is the named thing that instances belong to.
type Service struct {
	ID         string // 32 hexadecimal digits, fixed at creation
	Key        ServiceKey
	Metadata   Metadata
	Ports      string
	Business   string
	Department string
	Comment    string
	Owner      string
	Creator    string    // id of the principal that created it; empty: nobody in particular
	Cmdb       [3]string // cmdb_mod1 to cmdb_mod3: three levels of an inventory's tree
	// ExportTo lists the other namespaces that may see the service, sorted; "*"
	// is all of them, and so is an empty list here and in its namespace.
	ExportTo []string
	// AliasFor is set on an alias: another name of that service. An alias has no
	// instances of its own.
	AliasFor ServiceKey
	// Auto is set while nobody touched what a first registration created.
	Auto     bool
	Created  Micros
	Modified Micros
	Revision Revision // of its last change; changes of its instances do not count
}

// IsAlias reports whether s is another name of a service.
func (s *Service) IsAlias() bool { return s.AliasFor != ServiceKey{} }

// Client is an SDK process that reported itself (ReportClient).
type Client struct {
	ID       string
	Host     string
	Type     string // SDK or AGENT
	Version  string
	Location Location
	Stats    []ClientStat
	Created  Micros
	Modified Micros
	Revision Revision
}

// ClientStat is a place where an SDK process shows metrics of its own.
type ClientStat struct {
	Target   string // kind of collector, as "prometheus"
	Port     uint32
	Path     string
	Protocol string
}

// Contract is what a service says of its interfaces (ReportServiceContract).
type Contract struct {
	Service  ServiceKey
	Type     string // name of the interface or kind of contract
	Protocol string
	Version  string
	// Body is the encoded v1.ServiceContract, kept whole: fields that this
	// program does not know come back too. Do not modify.
	Body     []byte
	Created  Micros
	Modified Micros
	Revision Revision
}

// ID is a digest of what identifies a contract, in hexadecimal.
func (c *Contract) ID() string {
	b := make([]byte, 0, 256)
	for _, s := range []string{c.Service.Namespace, c.Service.Name, c.Type, c.Protocol, c.Version} {
		b = append(append(b, s...), "##"...)
	}
	sum := sha1.Sum(b) //nolint:gosec // an id, not a secret
	return hex.EncodeToString(sum[:])
}

// Micros is a wall-clock time in microseconds since the Unix epoch. It is for
// people to read; nothing is ordered or expired by it.
type Micros int64

// ServiceID derives the id of an auto-created service from its key, so that
// two servers that create it at the same moment create the same one.
func ServiceID(k ServiceKey) string {
	sum := sha1.Sum([]byte("service##" + k.Namespace + "##" + k.Name)) //nolint:gosec // an id, not a secret
	return hex.EncodeToString(sum[:16])
}
