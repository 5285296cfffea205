package polaris_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"polestar/naming"
)

// change makes a registration right or wrong in one respect.
type change func(*service_manage.Instance)

// bound is one limit of a registration.
type bound struct {
	name    string
	inside  []change
	outside change
	code    uint32
	says    string // field and bound
}

// bounds are all limits of a registration, in the order in which Polaris
// checks them. Lengths count characters: ü is one, and two bytes.
func bounds() []bound {
	type in = service_manage.Instance
	ascii, wide := func(n int) string { return strings.Repeat("x", n) }, func(n int) string { return strings.Repeat("ü", n) }
	pairs := func(n int) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[strconv.Itoa(i)] = ""
		}
		return out
	}
	label := func(n int) string { return strings.Repeat("a", n) }
	pair := func(k, v string) change { return func(i *in) { i.Metadata = map[string]string{k: v} } }
	host := func(h string) change { return func(i *in) { i.Host = str(h) } }
	several := func(f func(string) change, values ...string) (out []change) {
		for _, v := range values {
			out = append(out, f(v))
		}
		return out
	}
	service := func(s string) change { return func(i *in) { i.Service = str(s) } }
	namespace := func(s string) change { return func(i *in) { i.Namespace = str(s) } }
	const set = "AZaz09-./:_"
	return []bound{
		{"metadata pairs", []change{func(i *in) { i.Metadata = pairs(64) }}, func(i *in) { i.Metadata = pairs(65) }, 400150, "metadata: 65 pairs, at most 64"},
		{"service length", several(service, ascii(128)), service(ascii(129)), 400120, "service: 129 characters, at most 128"},
		{"namespace length", several(namespace, ascii(64)), namespace(ascii(65)), 400110, "namespace: 65 characters, at most 64"},
		{"host length", several(host, label(63)+"."+label(62)+".a"), host(label(63) + "." + label(62) + ".ab"), 400131, "host: 129 characters, at most 128"},
		{"protocol", []change{func(i *in) { i.Protocol = str(wide(32)) }}, func(i *in) { i.Protocol = str(wide(33)) }, 400136, "protocol: 33 characters, at most 32"},
		{"version", []change{func(i *in) { i.Version = str(wide(32)) }}, func(i *in) { i.Version = str(wide(33)) }, 400137, "version: 33 characters, at most 32"},
		{"logic set", []change{func(i *in) { i.LogicSet = str(wide(128)) }}, func(i *in) { i.LogicSet = str(wide(129)) }, 400138, "logic_set: 129 characters, at most 128"},
		{"metadata key", []change{pair(wide(128), ""), pair(" ", "")}, pair(wide(129), ""), 400150, "metadata: a key has 129 characters, at most 128"},
		{"metadata value", []change{pair("k", wide(4096)), pair("k", "a\t\r\nb")}, pair("k", wide(4097)), 400150, `metadata: the value of "k" has 4097 characters, at most 4096`},
		{"port above", []change{func(i *in) { i.Port = num(65535) }}, func(i *in) { i.Port = num(65536) }, 400132, "port: 65536 is above 65535"},
		{"weight", []change{func(i *in) { i.Weight = num(65535) }, func(i *in) { i.Weight = num(0) }, func(i *in) { i.Weight = num(32768) }}, func(i *in) { i.Weight = num(65536) }, 400103, "weight: 65536 is above 65535"},
		{"service characters", several(service, set, "a"), service("a b"), 400120, "service: ' ' is not allowed; use letters, digits and - . / : _"},
		{"namespace characters", several(namespace, set, "a"), namespace("ü"), 400110, "namespace: 'ü' is not allowed; use letters, digits and - . / : _"},
		{"host syntax", several(
			host, " 10.0.0.1 ", "::1", "2001:db8::1", "::ffff:10.0.0.1", "2001:0db8:0000:0000:0000:0000:0000:0001",
			"localhost", "a_b.c-d.example.", "xn--bcher-kva.example", "7f.a", label(63),
		), host("a/b"), 400131, `host: "a/b" is neither an IP address nor a DNS name`},
		{"port 0", []change{func(i *in) { i.Port = num(1) }}, func(i *in) { i.Port = num(0) }, 400132, "port: must be between 1 and 65535"},
		{"TTL", []change{func(i *in) { checked(i, 3600) }, func(i *in) { checked(i, 0) }, func(i *in) { checked(i, 61) }}, func(i *in) { checked(i, 3601) }, 400103, "health_check.heartbeat.ttl: 3601 s is above 3600 s"},
		{"vpc", []change{func(i *in) { i.VpcId = str(wide(64)) }}, func(i *in) { i.VpcId = str(wide(65)) }, 400103, "vpc_id: 65 characters, at most 64"},
		{"additional addresses", several(
			func(s string) change { return pair("polestar/additional-addresses", s) }, "10.0.0.2", "10.0.0.2:81, [::1]:82,::2,10.0.0.3",
		), pair("polestar/additional-addresses", "10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6"), 400150, "more than 4 addresses"},
		{"region", []change{func(i *in) { i.Location = location(wide(128), "", "") }}, func(i *in) { i.Location = location(wide(129), "", "") }, 400103, "location.region: 129 characters, at most 128"},
		{"zone", []change{func(i *in) { i.Location = location("", wide(128), "") }}, func(i *in) { i.Location = location("", wide(129), "") }, 400103, "location.zone: 129 characters, at most 128"},
		{"campus", []change{func(i *in) { i.Location = location("", "", wide(128)) }}, func(i *in) { i.Location = location("", "", wide(129)) }, 400103, "location.campus: 129 characters, at most 128"},
		{"id", []change{func(i *in) { i.Id = str(wide(128)) }}, func(i *in) { i.Id = str(wide(129)) }, 400130, "id: 129 characters, at most 128"},
		{"priority", []change{func(i *in) { i.Priority = num(1<<32 - 1) }, func(i *in) { i.Priority = num(128) }}, nil, 0, ""},
	}
}

func TestBoundsOfARegistration(t *testing.T) {
	for n, b := range bounds() {
		t.Run(b.name, func(t *testing.T) {
			d := open(t)
			for _, f := range b.inside {
				in := message("n", "a", uint32(1000+n))
				f(in)
				d.register(t, in)
				shown := d.discover(t).instances(t, in.GetNamespace().GetValue(), in.GetService().GetValue(), "").GetInstances()
				if len(shown) != 1 || shown[0].GetHost().GetValue() != strings.TrimSpace(in.GetHost().GetValue()) {
					t.Errorf("%v is shown as %v", in, shown)
				}
				res, err := d.DeregisterInstance(t.Context(), in)
				wantCode(t, res, err, 200000)
			}
			if b.outside != nil {
				refused(t, d, b.code, b.says, b.outside)
			}
		})
	}
}

// refused registers with changes, and wants this code and text, the request
// repeated, and nothing written.
func refused(t *testing.T, d *door, code uint32, says string, changes ...change) {
	t.Helper()
	in := message("n", "a", 80)
	for _, f := range changes {
		f(in)
	}
	was := d.backend.World().Revision()
	res, err := d.RegisterInstance(t.Context(), in)
	wantCode(t, res, err, code)
	if info := res.GetInfo().GetValue(); !strings.Contains(info, says) {
		t.Errorf("the text %q does not say %q", info, says)
	}
	want := &service_manage.Instance{Id: in.Id, Namespace: in.Namespace, Service: in.Service, VpcId: in.VpcId, Host: in.Host, Port: in.Port}
	if diff := cmp.Diff(want, res.GetInstance(), protocmp.Transform()); diff != "" {
		t.Errorf("the request is not repeated (-want +got):\n%s", diff)
	}
	if now := d.backend.World().Revision(); now != was {
		t.Errorf("something was written: revision %d", now)
	}
}

// What else is refused, beside a bound that is met by counting.
func TestRefusedRegistrations(t *testing.T) {
	d := open(t)
	type in = service_manage.Instance
	for _, c := range []struct {
		name   string
		code   uint32
		says   string
		change change
	}{
		{"nothing at all", 400120, "service: must not be empty", func(i *in) { proto.Reset(i) }},
		{"service missing", 400120, "service: must not be empty", func(i *in) { i.Service = nil }},
		{"namespace empty", 400110, "namespace: must not be empty", func(i *in) { i.Namespace = str("") }},
		{"host missing", 400131, "host: must not be empty", func(i *in) { i.Host = nil }},
		{"host blank", 400131, "host: must not be empty", func(i *in) { i.Host = str("  ") }},
		{"host with brackets", 400131, "host", func(i *in) { i.Host = str("[::1]") }},
		{"host with a port", 400131, "host", func(i *in) { i.Host = str("10.0.0.1:80") }},
		{"host with a zone", 400131, "IPv6 zone", func(i *in) { i.Host = str("fe80::1%eth0") }},
		{"host mistyped", 400131, "host", func(i *in) { i.Host = str("10.0.0.256") }},
		{"label of 64", 400131, "host", func(i *in) { i.Host = str(strings.Repeat("a", 64)) }},
		{"port missing", 400132, "port: must be between 1 and 65535", func(i *in) { i.Port = nil }},
		{"metadata key empty", 400150, "metadata: a key is empty", func(i *in) { i.Metadata = map[string]string{"": "v"} }},
		{"additional address of a name", 400150, "polestar/additional-addresses", func(i *in) {
			i.Host, i.Metadata = str("a.example"), map[string]string{"polestar/additional-addresses": "10.0.0.2"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, d, c.code, c.says, c.change) })
	}
	for field, c := range map[string]struct {
		code uint32
		set  func(*in, string)
	}{
		"service":         {400120, func(i *in, s string) { i.Service = str(s) }},
		"namespace":       {400110, func(i *in, s string) { i.Namespace = str(s) }},
		"host":            {400131, func(i *in, s string) { i.Host = str(s) }},
		"protocol":        {400136, func(i *in, s string) { i.Protocol = str(s) }},
		"version":         {400137, func(i *in, s string) { i.Version = str(s) }},
		"logic_set":       {400138, func(i *in, s string) { i.LogicSet = str(s) }},
		"vpc_id":          {400103, func(i *in, s string) { i.VpcId = str(s) }},
		"id":              {400130, func(i *in, s string) { i.Id = str(s) }},
		"location.region": {400103, func(i *in, s string) { i.Location = location(s, "", "") }},
		"location.zone":   {400103, func(i *in, s string) { i.Location = location("", s, "") }},
		"location.campus": {400103, func(i *in, s string) { i.Location = location("", "", s) }},
		"metadata":        {400150, func(i *in, s string) { i.Metadata = map[string]string{s: ""} }},
		"metadata value":  {400150, func(i *in, s string) { i.Metadata = map[string]string{"metadata value": s} }},
	} {
		for _, text := range []string{"a\x00b", "a\x1bb", "a\u0085b", "\x7f"} {
			t.Run(fmt.Sprintf("%s with %q", field, text), func(t *testing.T) {
				refused(t, d, c.code, strings.TrimSuffix(field, " value"), func(i *in) { c.set(i, text) })
			})
		}
	}
	none := open(t, func(s *setup) { s.noAuto = true })
	refused(t, none, 400305, `namespace "n" does not exist`)
	if _, err := none.operator.PutNamespace(t.Context(), naming.PutNamespace{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	refused(t, none, 400301, `service "n/a" does not exist`)
}

// The first violation decides, in Polaris' order: a request that breaks two
// bounds is answered for the earlier one.
func TestOrderOfChecks(t *testing.T) {
	d := open(t)
	all := bounds()
	for n, first := range all {
		for _, second := range all[n+1:] {
			if second.outside == nil || fieldOf(first) == fieldOf(second) {
				continue // both would set the same field
			}
			t.Run(first.name+" before "+second.name, func(t *testing.T) {
				refused(t, d, first.code, first.says, first.outside, second.outside)
				refused(t, d, first.code, first.says, second.outside, first.outside)
			})
		}
	}
}

// fieldOf is the field of the message that a bound is about.
func fieldOf(b bound) string {
	in := message("n", "a", 80)
	b.outside(in)
	was := message("n", "a", 80).ProtoReflect()
	var out []string
	fields := in.ProtoReflect().Descriptor().Fields()
	for n := range fields.Len() {
		if f := fields.Get(n); !in.ProtoReflect().Get(f).Equal(was.Get(f)) {
			out = append(out, string(f.Name()))
		}
	}
	return strings.Join(out, " ")
}
