package naming_test

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"polestar/naming"
)

// Whatever a registration brings: what passes can be stored, logged and put
// into an endpoint.
func FuzzRegistration(f *testing.F) {
	f.Add("", "default", "orders", "10.0.0.1", uint32(80), uint32(100), uint32(0), "", "http", "1.0", "", "r", "k", "v")
	f.Add("id\x00", "a b", "ü", "fe80::1%e", uint32(0), uint32(65536), uint32(3601), "v\n", "\xff", strings.Repeat("9", 33), "l", "z", "", "\x7f")
	f.Add("i", "n/m", "s:t", "1.2.3.4.", uint32(65535), uint32(0), uint32(3600), "#", "", "", "", "", "\ufffd", "a\r\n")
	f.Add("i", "n", "s", "_srv.example.", uint32(65536), uint32(0), uint32(1), "", "", "", "", "", "k", strings.Repeat("v", 4097))
	f.Fuzz(func(t *testing.T, id, ns, svc, host string, port, weight, ttl uint32, vpc, protocol, version, logic, zone, key, value string) {
		s := newShelf()
		r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: s, World: s, Beats: beats{}})
		in := naming.Registration{
			ID: id, Service: naming.ServiceKey{Namespace: ns, Name: svc}, Host: host, Port: &port, Weight: &weight, HealthCheck: true, TTL: ttl,
			VpcID: vpc, Protocol: protocol, Version: version, LogicSet: logic, Location: naming.Location{Region: zone, Zone: zone, Campus: zone},
			Metadata: map[string]string{key: value},
		}
		res, err := r.Register(t.Context(), in)
		if err != nil {
			checkRefusal(t, err, s)
			return
		}
		i := s.instances[res.Instance.ID]
		if i == nil {
			t.Fatal("accepted, but not stored")
		}
		checkStorable(t, i)
		ref := naming.Ref{Service: in.Service, Host: host, Port: &port, VpcID: vpc}
		if id != "" {
			ref.ID = &id
		}
		if gone, err := r.Deregister(t.Context(), ref, naming.Actor{}); err != nil || gone.Outcome != naming.Deleted {
			t.Errorf("the same names do not find it again: %+v, %v", gone, err)
		}
	})
}

func checkRefusal(t *testing.T, err error, s *shelf) {
	t.Helper()
	if naming.KindOf(err) != naming.Invalid || !utf8.ValidString(err.Error()) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
		t.Errorf("refused with %q of kind %d", err, naming.KindOf(err))
	}
	if s.head != 0 {
		t.Error("refused, but stored")
	}
}

func checkStorable(t *testing.T, i *naming.Instance) {
	t.Helper()
	plain := func(what, v string, least, most int, allowed string) {
		if n := utf8.RuneCountInString(v); n < least || n > most {
			t.Errorf("%s has %d characters, not %d to %d", what, n, least, most)
		}
		if !utf8.ValidString(v) {
			t.Errorf("%s %q is not UTF-8", what, v)
		}
		for _, r := range v {
			if unicode.IsControl(r) && !strings.ContainsRune(allowed, r) {
				t.Errorf("%s %q holds a control character", what, v)
			}
		}
	}
	plain("id", i.ID, 1, 128, "")
	plain("namespace", i.Service.Namespace, 1, 64, "")
	plain("service", i.Service.Name, 1, 128, "")
	plain("vpc_id", i.VpcID, 0, 64, "")
	plain("protocol", i.Protocol, 0, 32, "")
	plain("version", i.Version, 0, 32, "")
	plain("logic_set", i.LogicSet, 0, 128, "")
	plain("zone", i.Location.Zone, 0, 128, "")
	for _, p := range i.Metadata {
		plain("metadata key", p.Key, 1, 128, "")
		plain("metadata value", p.Value, 0, 4096, "\t\r\n")
	}
	if i.Port < 1 || i.Port > 65535 || i.Weight > 65535 || i.TTL < 1 || i.TTL > 3600 {
		t.Errorf("port %d, weight %d, TTL %d", i.Port, i.Weight, i.TTL)
	}
	if _, err := netip.ParseAddr(i.Host); err != nil && !isDNSName(i.Host) {
		t.Errorf("host %q is neither an address nor a name", i.Host)
	}
}

// isDNSName is RFC 1123 with underscores, written independently.
func isDNSName(host string) bool {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-") {
			return false
		}
		if strings.Trim(l, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
