package node

import (
	"fmt"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"polestar/xds/resource"
)

// KeyLEDS asks for the endpoints of big services one by one: true, or the
// number of endpoints from which a service is big. It counts for an Envoy on an
// incremental, aggregated stream.
const KeyLEDS = "leds"

// MaxLEDS is the largest number that [KeyLEDS] takes.
const MaxLEDS = 1_000_000

// ledsSince is the first version of Envoy, major and minor, that does not crash
// when a load assignment changes whose endpoints it has one by one
// (envoyproxy/envoy#43667).
var ledsSince = [2]uint32{1, 38}

// leds reads the node's wish. Taken for none it would be a setting that has no
// effect and nobody knows why.
func (v *View) leds(n *corev3.Node) error {
	text, err := looseTextOf(n, KeyLEDS)
	if err != nil || text == "" || text == "false" || v.Client == resource.GRPC {
		return err
	}
	field := "node.metadata." + KeyLEDS
	if text == "true" {
		v.LEDS = resource.DefaultCollected
	} else {
		least, err := strconv.ParseUint(text, 10, 32)
		if err != nil || least == 0 || least > MaxLEDS {
			return fmt.Errorf("%s: %.64q is neither true nor false nor a number from 1 to %d", field, text, MaxLEDS)
		}
		v.LEDS = uint32(least)
	}
	if b := n.GetUserAgentBuildVersion().GetVersion(); b != nil {
		if major, minor := b.GetMajorNumber(), b.GetMinorNumber(); major < ledsSince[0] || major == ledsSince[0] && minor < ledsSince[1] {
			return fmt.Errorf("%s: needs Envoy %d.%d, and this is %d.%d, which can crash", field, ledsSince[0], ledsSince[1], major, minor)
		}
	}
	return nil
}
