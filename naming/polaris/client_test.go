package polaris_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"polestar/naming"
)

// reported is the stored client with an id, nil when there is none.
func (d *door) reported(id string) *naming.Client {
	for c := range d.backend.World().Clients() {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func TestReportClient(t *testing.T) {
	d := open(t)
	stat := []*service_manage.StatInfo{
		{Target: str("prometheus"), Port: num(28080), Path: str("/metrics"), Protocol: str("http")}, {Target: str("empty")},
	}
	for _, c := range []struct {
		name string
		in   *service_manage.Client
		zone string
	}{
		{"with everything", &service_manage.Client{Id: str("c"), Host: str("10.0.0.77"), Type: service_manage.Client_SDK, Version: str("1"), Stat: stat}, "z77"},
		{"agent", &service_manage.Client{Id: str("a"), Host: str("10.0.0.1"), Type: service_manage.Client_AGENT}, ""},
		{"a type of tomorrow", &service_manage.Client{Id: str("t"), Type: 7}, ""},
		{"without an id", &service_manage.Client{Host: str("10.0.0.77")}, "z77"},
		{"location of its own", &service_manage.Client{Host: str("10.0.0.1"), Location: location("r", "own", "c")}, "own"},
		{"a location known better", &service_manage.Client{Host: str("10.0.0.77"), Location: location("r", "own", "c")}, "z77"},
		{"empty", &service_manage.Client{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := d.ReportClient(t.Context(), c.in)
			wantCode(t, res, err, 200000)
			got := res.GetClient()
			if got.GetLocation() == nil || got.GetLocation().GetZone().GetValue() != c.zone {
				t.Errorf("location %v, want zone %q", got.GetLocation(), c.zone)
			}
			if diff := cmp.Diff(c.in, got, protocmp.Transform(), protocmp.IgnoreFields(got, "location", "ctime", "mtime")); diff != "" {
				t.Errorf("the client is not repeated whole (-want +got):\n%s", diff)
			}
			stored := d.reported(c.in.GetId().GetValue())
			if (stored != nil) != (c.in.GetId() != nil) || (got.GetMtime() != nil) != (stored != nil) {
				t.Fatalf("stored %+v, answered %v", stored, got)
			}
			if stored != nil && stored.Type != c.in.GetType().String() {
				t.Errorf("stored as type %q", stored.Type)
			}
		})
	}
	want := []naming.ClientStat{{Target: "prometheus", Port: 28080, Path: "/metrics", Protocol: "http"}, {Target: "empty"}}
	if diff := cmp.Diff(want, d.reported("c").Stats); diff != "" {
		t.Errorf("stored stats (-want +got):\n%s", diff)
	}
}

func TestClientWithoutAHostIsLocatedByItsAddress(t *testing.T) {
	d := open(t, func(s *setup) { s.peer = tcp("10.0.0.77") })
	res, err := d.ReportClient(t.Context(), &service_manage.Client{Id: str("c")})
	wantCode(t, res, err, 200000)
	if got := res.GetClient().GetLocation().GetZone().GetValue(); got != "z77" {
		t.Errorf("zone %q", got)
	}
}

func TestBoundsOfAClient(t *testing.T) {
	d := open(t)
	long := func(n int) string { return strings.Repeat("ü", n) }
	stat := func(s ...*service_manage.StatInfo) *service_manage.Client { return &service_manage.Client{Stat: s} }
	many := func(n int) *service_manage.Client {
		c := &service_manage.Client{}
		for range n {
			c.Stat = append(c.Stat, &service_manage.StatInfo{})
		}
		return c
	}
	for _, c := range []struct {
		field           string
		inside, outside *service_manage.Client
		code            uint32
		bound           string
	}{
		{"host", &service_manage.Client{Host: str(long(128))}, &service_manage.Client{Host: str(long(129))}, 400131, "128"},
		{"id", &service_manage.Client{Id: str(long(128))}, &service_manage.Client{Id: str(long(129))}, 400130, "128"},
		{"version", &service_manage.Client{Version: str(long(32))}, &service_manage.Client{Version: str(long(33))}, 400137, "32"},
		{"location.zone", &service_manage.Client{Location: location("", long(128), "")}, &service_manage.Client{Location: location("", long(129), "")}, 400103, "128"},
		{"stat", many(16), many(17), 400103, "16"},
		{"stat.port", stat(&service_manage.StatInfo{Port: num(65535)}), stat(&service_manage.StatInfo{Port: num(65536)}), 400103, "65535"},
		{"stat.target", stat(&service_manage.StatInfo{Target: str(long(256))}), stat(&service_manage.StatInfo{Target: str(long(257))}), 400103, "256"},
		{"stat.path", stat(&service_manage.StatInfo{Path: str(long(256))}), stat(&service_manage.StatInfo{Path: str(long(257))}), 400103, "256"},
		{"stat.protocol", stat(&service_manage.StatInfo{Protocol: str(long(256))}), stat(&service_manage.StatInfo{Protocol: str("a\x00")}), 400103, "U+0000"},
	} {
		res, err := d.ReportClient(t.Context(), c.inside)
		wantCode(t, res, err, 200000)
		res, err = d.ReportClient(t.Context(), c.outside)
		wantCode(t, res, err, c.code)
		if info := res.GetInfo().GetValue(); !strings.Contains(info, c.field) || !strings.Contains(info, c.bound) {
			t.Errorf("%q does not name %s and %s", info, c.field, c.bound)
		}
		want := proto.CloneOf(c.outside)
		want.Location = nil
		if diff := cmp.Diff(want, res.GetClient(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: a refused client is repeated, but not located (-want +got):\n%s", c.field, diff)
		}
	}
}

// Fields that this program does not know yet come back too.
func TestClientFieldsOfTomorrowAreRepeated(t *testing.T) {
	d := open(t)
	in := &service_manage.Client{Id: str("c")}
	in.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // field 100, a varint
	for _, deny := range []error{nil, errors.New("no")} {
		d.guard.refuse(deny)
		res, err := d.ReportClient(t.Context(), in)
		if err != nil || string(res.GetClient().ProtoReflect().GetUnknown()) != string(in.ProtoReflect().GetUnknown()) {
			t.Errorf("%v, %v", res, err)
		}
	}
}
