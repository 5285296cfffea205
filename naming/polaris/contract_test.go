package polaris_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"polestar/naming"
)

func contract() *service_manage.ServiceContract {
	return &service_manage.ServiceContract{
		Namespace: "n", Service: "a", Type: "org.example.Cart", Protocol: "dubbo", Version: "1",
		Content: "openapi: 3", Metadata: map[string]string{"a": "1", "b": "2", "c": "3"},
		Interfaces: []*service_manage.InterfaceDescriptor{{Method: "GET", Path: "/cart", Source: service_manage.InterfaceDescriptor_Client}},
	}
}

var filled = protocmp.IgnoreFields(&service_manage.ServiceContract{}, "id", "revision", "ctime", "mtime")

// The reference stores what its version of the protocol knows.
func TestReferenceDefectUnknownFieldsAreDropped(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	in := contract()
	in.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // a field of tomorrow
	res, err := d.ReportServiceContract(t.Context(), in)
	wantCode(t, res, err, 200000)
	reported := res.GetServiceContract()
	if reported.GetId() == "" || reported.GetRevision() == "" || reported.GetMtime() == "" || reported.GetType() != in.GetType() || reported.GetContent() != "" {
		t.Errorf("a report is answered by what names the contract, not by its content: %v", reported)
	}

	ask := &service_manage.ServiceContract{Namespace: "n", Service: "a", Type: in.GetType(), Protocol: "dubbo", Version: "1"}
	res, err = d.GetServiceContract(t.Context(), ask)
	wantCode(t, res, err, 200000)
	got := res.GetServiceContract()
	if diff := cmp.Diff(in, got, protocmp.Transform(), filled); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.GetId() != reported.GetId() || got.GetRevision() != reported.GetRevision() || got.GetCtime() == "" || got.GetMtime() == "" {
		t.Errorf("filled as %v, reported as %v", got, reported)
	}

	ask.Revision = got.GetRevision()
	res, err = d.GetServiceContract(t.Context(), ask)
	wantCode(t, res, err, 200001)
	if same := res.GetServiceContract(); same.GetRevision() != ask.GetRevision() || same.GetContent() != "" || same.GetService() != "a" {
		t.Errorf("unchanged: %v", same)
	}
}

func TestTheSameContractAgainChangesNothing(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	revision := ""
	for _, round := range []string{"first", "again", "with what the server filled"} {
		in := contract() // a map has another order each time
		if round != "first" && round != "again" {
			in.Id, in.Revision, in.Ctime, in.Mtime = "x", "y", "z", "0"
		}
		res, err := d.ReportServiceContract(t.Context(), in)
		wantCode(t, res, err, 200000)
		if got := d.backend.World().Revision(); got != 2 {
			t.Errorf("%s: revision %d", round, got)
		}
		if got := res.GetServiceContract().GetRevision(); revision != "" && got != revision {
			t.Errorf("%s: equal content has revisions %s and %s", round, revision, got)
		}
		revision = res.GetServiceContract().GetRevision()
	}
	changed := contract()
	changed.Interfaces[0].Method = "POST"
	res, err := d.ReportServiceContract(t.Context(), changed)
	wantCode(t, res, err, 200000)
	if got := d.backend.World().Revision(); got != 3 || res.GetServiceContract().GetRevision() == revision {
		t.Errorf("a changed interface: revision %d, %v", got, res)
	}
}

func TestWhatIdentifiesAContract(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	d.register(t, message("n", "b", 1))
	all := []*service_manage.ServiceContract{contract(), contract(), contract(), contract()}
	all[1].Service, all[2].Protocol, all[3].Version = "b", "http", "2"
	for n, c := range all {
		c.Content = strings.Repeat("x", n+1)
		res, err := d.ReportServiceContract(t.Context(), c)
		wantCode(t, res, err, 200000)
	}
	for _, c := range all {
		ask := proto.CloneOf(c)
		ask.Type, ask.Name, ask.Content = "", c.GetType(), "" // old SDKs send the type as name
		res, err := d.GetServiceContract(t.Context(), ask)
		wantCode(t, res, err, 200000)
		if got := res.GetServiceContract().GetContent(); got != c.GetContent() {
			t.Errorf("%v: content %q", ask, got)
		}
	}
}

func TestCodesOfContracts(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	if _, err := d.operator.PutAlias(t.Context(), naming.PutAlias{
		Key: naming.ServiceKey{Namespace: "n", Name: "alias"}, For: naming.ServiceKey{Namespace: "n", Name: "a"},
	}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", 129)
	for _, c := range []struct {
		name        string
		change      func(*service_manage.ServiceContract)
		report, get uint32
		says        string
	}{
		{"unknown service", func(c *service_manage.ServiceContract) { c.Service = "b" }, 400301, 400301, "n/b"},
		{"unknown contract", func(c *service_manage.ServiceContract) { c.Version = "9" }, 0, 400202, `version "9"`},
		{"service empty", func(c *service_manage.ServiceContract) { c.Service = "" }, 400120, 400301, "service"},
		{"namespace characters", func(c *service_manage.ServiceContract) { c.Namespace = "a b" }, 400110, 400301, "namespace"},
		{"type length", func(c *service_manage.ServiceContract) { c.Type = long }, 400103, 400202, "contract.type: 129 characters, at most 128"},
		{"protocol length", func(c *service_manage.ServiceContract) { c.Protocol = long }, 400103, 400202, "contract.protocol"},
		{"version length", func(c *service_manage.ServiceContract) { c.Version = long }, 400103, 400202, "contract.version"},
		{"size", func(c *service_manage.ServiceContract) { c.Type, c.Content = "big", strings.Repeat("x", 1<<20) }, 400103, 400202, "1048576"},
		{"to an alias", func(c *service_manage.ServiceContract) { c.Service = "alias" }, 400501, 400202, "n/a"},
	} {
		in := contract()
		c.change(in)
		if c.report != 0 {
			res, err := d.ReportServiceContract(t.Context(), in)
			wantCode(t, res, err, c.report)
			if info := res.GetInfo().GetValue(); !strings.Contains(info, c.says) {
				t.Errorf("%s: %q does not say %q", c.name, info, c.says)
			}
			if e := res.GetServiceContract(); e.GetService() != in.GetService() || e.GetType() != in.GetType() || e.GetId() != "" {
				t.Errorf("%s: the request is not repeated: %v", c.name, e)
			}
		}
		res, err := d.GetServiceContract(t.Context(), in)
		wantCode(t, res, err, c.get)
		if e := res.GetServiceContract(); e.GetService() != in.GetService() || e.GetType() != in.GetType() {
			t.Errorf("%s: the request is not repeated: %v", c.name, e)
		}
	}

	// By an alias one reads what the source has, under the name that was asked.
	res, err := d.ReportServiceContract(t.Context(), contract())
	wantCode(t, res, err, 200000)
	ask := contract()
	ask.Service = "alias"
	d.guard.take()
	res, err = d.GetServiceContract(t.Context(), ask)
	wantCode(t, res, err, 200000)
	if got := res.GetServiceContract(); got.GetService() != "alias" || got.GetContent() == "" {
		t.Errorf("by an alias: %v", got)
	}
	if diff := cmp.Diff([]question{{"discover", resource("n", "a")}}, d.guard.take()); diff != "" {
		t.Errorf("what is read is what is asked for (-want +got):\n%s", diff)
	}
}
