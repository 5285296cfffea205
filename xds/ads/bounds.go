package ads

import (
	"hash/maphash"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"polestar/xds/resource"
)

// Bounds of one stream.
const (
	// MaxNames is the number of names a stream may subscribe to per type.
	MaxNames = 100_000
	// MaxNameLength is the longest resource name in bytes. Nothing that is
	// served has a longer one, and names are kept for as long as their stream.
	MaxNameLength = 1024
	// MaxMembers is the number of endpoints that a client may name as those that
	// it has from an earlier stream, one by one.
	MaxMembers = 1_000_000
	// MaxNameBytes is the total length of the names that a stream may subscribe
	// to per type, in bytes.
	MaxNameBytes = 8 << 20
	// MaxRefused is the number of refused forms of resources that a stream
	// may make the server remember per type.
	MaxRefused = 100_000
	// MaxMessage is the size in bytes above which a response is split where
	// the protocol allows it; gRPC clients take 4 MiB unless told otherwise.
	MaxMessage = 3_670_016

	maxUnknownTypes = 16
	maxReasons      = 1000 // names per type whose refusal is remembered with its text
	holdLimit       = 5 * time.Second
	types           = int(resource.Route) + 1
	wildcard        = "*"
)

func checkNames(r Request) error {
	for _, list := range [][]string{r.Subscribe, r.Unsubscribe} {
		for _, name := range list {
			if err := checkName(name); err != nil {
				return err
			}
		}
	}
	for name, version := range r.Initial {
		if err := checkName(name); err != nil {
			return err
		}
		if len(version) > MaxNameLength {
			return status.Errorf(codes.InvalidArgument,
				"initial_resource_versions: a version has %d bytes, at most %d are allowed", len(version), MaxNameLength)
		}
	}
	most := MaxNames
	if r.URL == resource.LbEndpoint.URL() {
		most = MaxMembers
	}
	if len(r.Initial) > most {
		return status.Errorf(codes.ResourceExhausted,
			"initial_resource_versions: %d entries, at most %d are allowed", len(r.Initial), most)
	}
	return nil
}

func checkName(name string) error {
	if len(name) > MaxNameLength {
		return status.Errorf(codes.InvalidArgument,
			"resource_names: a name has %d bytes, at most %d are allowed", len(name), MaxNameLength)
	}
	return nil
}

// tally counts the names that a stream subscribed to. It also knows whether a
// list of as many known names is the same set: lists can repeat names, and what
// an ACK lists should cost no more than reading it.
type tally struct {
	number, bytes int
	sum           uint64 // of the names' hashes
}

var seed = maphash.MakeSeed()

func (y *tally) add(name string) {
	y.number++
	y.bytes += len(name)
	y.sum += maphash.String(seed, name)
}

func (y *tally) drop(name string) {
	y.number--
	y.bytes -= len(name)
	y.sum -= maphash.String(seed, name)
}

// check holds the names against the bounds of a stream.
func (y *tally) check(t resource.Type) error {
	switch {
	case y.number > MaxNames:
		return status.Errorf(codes.ResourceExhausted,
			"resource_names: more than %d names of type %s on one stream", MaxNames, t.URL())
	case y.bytes > MaxNameBytes:
		return status.Errorf(codes.ResourceExhausted,
			"resource_names: more than %d bytes of names of type %s on one stream", MaxNameBytes, t.URL())
	}
	return nil
}

// check holds the names of a stream against its bounds, and those that do not
// exist against that of all streams.
func (f *flow) check(y *tally) error {
	if err := y.check(f.typ); err != nil {
		return err
	}
	if f.src.Excess() {
		return status.Errorf(codes.ResourceExhausted, "resource_names: this client names more resources of type %s that do not exist than the server "+
			"can remember beside those of others (xds.max-absent-names)", f.typ.URL())
	}
	return nil
}

// lists reports whether a list names all that is counted and nothing else. With
// star, the wildcard in it does not count.
func (y *tally) lists(list []string, star bool) bool {
	n, sum := 0, uint64(0)
	for _, name := range list {
		if star && name == wildcard {
			continue
		}
		n++
		sum += maphash.String(seed, name)
	}
	return n == y.number && sum == y.sum
}
