package ads

import (
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
	if len(r.Initial) > MaxNames {
		return status.Errorf(codes.ResourceExhausted,
			"initial_resource_versions: %d entries, at most %d are allowed", len(r.Initial), MaxNames)
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

func tooManyNames(t resource.Type) error {
	return status.Errorf(codes.ResourceExhausted,
		"resource_names: more than %d names of type %s on one stream", MaxNames, t.URL())
}
