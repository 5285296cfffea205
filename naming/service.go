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
	Name     string
	Comment  string
	Owner    string
	Created  Micros
	Modified Micros
	Revision Revision // of its last change
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
	Created    Micros
	Modified   Micros
	Revision   Revision // of its last change; changes of its instances do not count
}

// Client is an SDK process that reported itself (ReportClient).
type Client struct {
	ID       string
	Host     string
	Type     string // SDK or AGENT
	Version  string
	Location Location
	Created  Micros
	Modified Micros
	Revision Revision
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
