package naming

import (
	"net/netip"
	"strconv"
	"strings"
)

// KeyAdditionalAddresses is the key of an instance's metadata that lists
// further addresses of the same process, as of a host with IPv4 and IPv6:
// ip, ip:port or [ip]:port with commas between them, in the order in which
// clients try them after the host itself.
const KeyAdditionalAddresses = SettingPrefix + "additional-addresses"

// MaxAdditionalAddresses bounds the additional addresses of one instance.
const MaxAdditionalAddresses = 4

// AdditionalAddresses reads an instance's additional addresses; one without a
// port has the instance's. The error is an *[Error] of kind Invalid whose Field
// is "metadata." and the key.
func AdditionalAddresses(i *Instance) ([]netip.AddrPort, error) {
	value, ok := i.Metadata.Get(KeyAdditionalAddresses)
	if !ok {
		return nil, nil
	}
	refuse := func(format string, args ...any) ([]netip.AddrPort, error) {
		return nil, settingError("additional-addresses", format, args...)
	}
	host, err := netip.ParseAddr(i.Host)
	if err != nil {
		return refuse("the host %.64q is a name; only an IP address can have additional ones", i.Host)
	}
	seen := map[netip.AddrPort]bool{netip.AddrPortFrom(host.Unmap(), uint16(i.Port)): true}
	var out []netip.AddrPort
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		addr, err := netip.ParseAddrPort(item)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(item); err == nil {
				addr = netip.AddrPortFrom(ip, uint16(i.Port))
			}
		}
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		switch {
		case err != nil || addr.Addr().Zone() != "" || addr.Port() == 0:
			return refuse("%.64q is not ip, ip:port or [ip]:port", item)
		case seen[addr]:
			return refuse("%s is there twice; the host itself counts", addr)
		case len(out) == MaxAdditionalAddresses:
			return refuse("more than %s addresses", strconv.Itoa(MaxAdditionalAddresses))
		}
		seen[addr] = true
		out = append(out, addr)
	}
	return out, nil
}
