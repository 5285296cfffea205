package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/pflag"
)

// door is the value of a flag that names a door of a server: host:port. A
// scheme in front of it is what people paste from a browser; without a check it
// would be taken for the host and looked up.
type door string

// doorFlag adds a flag for a door, and those for the token to show there.
func doorFlag(fs *pflag.FlagSet, at *string, name, def, usage string) {
	*at = def
	fs.Var((*door)(at), name, usage)
	tokenFlags(fs)
}

// String implements pflag.Value.
func (d *door) String() string { return string(*d) }

// Type implements pflag.Value.
func (d *door) Type() string { return "host:port" }

// Set implements pflag.Value.
func (d *door) Set(text string) error {
	addr := strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")
	if scheme, _, found := strings.Cut(addr, "://"); found {
		return fmt.Errorf("%s is not spoken here; host:port is expected", scheme)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "0" || !isPort(port) {
		return errors.New("host:port is expected")
	}
	*d = door(addr)
	return nil
}
