package polaris_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"
	"pgregory.net/rapid"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// withToken carries a token in the header of a call, unless it is empty.
func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-polaris-token", token)
}

// The token of a message wins over that of its call, a token over a
// certificate, and the first header over others. polaris-go sends both places
// empty, which counts as nothing.
func TestWhoIsCalling(t *testing.T) {
	for name, c := range map[string]struct {
		header      []string
		body        string
		certificate []string
		want        string // who it is; empty: refused
	}{
		"nothing":                        {},
		"empty everywhere":               {header: []string{""}},
		"header":                         {header: []string{"ann-token"}, want: "ann"},
		"body":                           {body: "bob-token", want: "bob"},
		"body over header":               {header: []string{"ann-token"}, body: "bob-token", want: "bob"},
		"wrong body over right header":   {header: []string{"ann-token"}, body: "junk"},
		"empty body beside a header":     {header: []string{"ann-token"}, body: "", want: "ann"},
		"the first of several":           {header: []string{"ann-token", "bob-token"}, want: "ann"},
		"certificate":                    {certificate: []string{"other.example", "ann.example"}, want: "ann"},
		"empty header and certificate":   {header: []string{""}, certificate: []string{"ann.example"}, want: "ann"},
		"token over certificate":         {header: []string{"bob-token"}, certificate: []string{"ann.example"}, want: "bob"},
		"wrong token beside certificate": {header: []string{"junk"}, certificate: []string{"ann.example"}},
		"unknown certificate":            {certificate: []string{"x.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(s *setup) { s.identities = func(context.Context) []string { return c.certificate } })
			d.guard.admit(known(map[string][]string{"ann": {"*"}, "bob": {"*"}}))
			ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"x-polaris-token": c.header})
			in := message("n", "a", 1)
			in.ServiceToken = str(c.body)
			res, err := d.RegisterInstance(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if code := res.GetCode().GetValue(); code != 401000 && code != 401004 || d.backend.World().Revision() != 0 {
					t.Errorf("answered %v", res)
				}
				return
			}
			wantCode(t, res, nil, 200000)
			commits, err := d.backend.store.Since(t.Context(), 0, 10)
			if err != nil || len(commits) != 1 {
				t.Fatal(commits, err)
			}
			for _, change := range commits[0].Changes {
				if change.Actor.Principal != c.want {
					t.Errorf("history says that it was %+v, want %s", change.Actor, c.want)
				}
			}
		})
	}
}

// A message on a stream is judged by its own token: what one showed before is
// nothing to the next, and what is revoked is so at once.
func TestTokensAreOfOneMessage(t *testing.T) {
	d := open(t)
	d.register(t, message("n", "a", 1))
	people := known(map[string][]string{"ann": {"n"}})
	d.guard.admit(people)
	ask := func(stream discoverer, token string, want uint32) {
		t.Helper()
		req := query(typeInstance, "n", "a", "")
		req.Service.Token = str(token)
		res := stream.ask(t, req)
		wantCode(t, res, nil, want)
		checkEcho(t, req, res)
		if want != 200000 && (len(res.GetInstances()) > 0 || res.GetService().GetRevision() != nil || res.GetAliasFor() != nil) {
			t.Errorf("a refused answer has data: %v", res)
		}
	}
	plain := d.discover(t)
	ask(plain, "ann-token", 200000)
	ask(plain, "", 401000)
	ask(plain, "junk", 401004)
	ask(plain, "ann-token", 200000)
	raw, err := d.Discover(withToken(t.Context(), "ann-token"))
	if err != nil {
		t.Fatal(err)
	}
	headed := discoverer{raw}
	ask(headed, "", 200000)
	ask(headed, "junk", 401004)
	ask(headed, "", 200000)
	people[0].hold = auth.Expired
	d.guard.admit(people)
	ask(headed, "", 401004)
	d.guard.admit([]person{})
	ask(plain, "ann-token", 401004)
}

// broken is a Gate that cannot say who anybody is.
type broken struct {
	auth.Open
	who bool
}

func (b broken) Authenticate(context.Context, auth.API, auth.Credentials) (auth.Principal, error) {
	if b.who {
		return auth.Principal{}, errors.New("no idea")
	}
	return auth.Principal{}, nil
}

func (broken) Allow(context.Context, auth.API, auth.Principal, auth.Action, auth.Resource) error {
	return errors.New("no idea")
}

// What is not a refusal is our fault, and lets nobody in all the same.
func TestWhoCannotBeJudgedIsNotLetIn(t *testing.T) {
	for _, who := range []bool{true, false} {
		b := newBackend(t, nil)
		s := polaris.New(polaris.Deps{
			Registry: naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b}),
			World:    b, Auth: broken{who: who}, Log: zap.NewNop(), Ready: func() bool { return true },
		})
		res, err := s.RegisterInstance(t.Context(), message("n", "a", 1))
		wantCode(t, res, err, 500000)
		wantCode(t, polaris.Answer(t.Context(), s, query(typeInstance, "n", "a", "")), nil, 500000)
		if b.World().Revision() != 0 {
			t.Error("something was written")
		}
	}
}

// Every refusal is told with all that is known of it.
func TestRefusalsAreTold(t *testing.T) {
	d := open(t, func(s *setup) { s.peer = tcp("10.0.0.77") })
	d.guard.admit(known(map[string][]string{"ann": {"m"}}))
	for _, token := range []string{"ann-token", "junk"} {
		in := message("n", "a", 1)
		in.ServiceToken = str(token)
		if _, err := d.RegisterInstance(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	want := []auth.Refusal{
		{
			Principal: auth.Principal{ID: "id-ann", Name: "ann"}, Address: "10.0.0.77", Method: "RegisterInstance", Action: auth.Register,
			Resource: resource("n", "a"), Reason: auth.Forbidden,
		},
		{Address: "10.0.0.77", Method: "RegisterInstance", Action: auth.Register, Reason: auth.BadToken},
	}
	if diff := cmp.Diff(want, d.guard.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What spans several services shows those that the reader may discover: lists,
// and services of one name that several namespaces export.
func TestListsShowWhatTheReaderMayDiscover(t *testing.T) {
	d := open(t)
	for _, k := range []naming.ServiceKey{key("n", "a"), key("n", "b"), key("m", "a"), key("o", "a"), key("p", "x")} {
		d.register(t, message(k.Namespace, k.Name, 1))
	}
	d.export(t, key("m", "a"), "p")
	d.export(t, key("o", "a"), "p")
	d.alias(t, key("n", "alias"), key("m", "a"))
	d.guard.admit(known(map[string][]string{"one": {"n/a"}, "all": {"*"}, "nobody": nil, "p": {"p", "m"}, "q": {"p", "o"}}))
	stream := d.discover(t)
	ask := func(name string, typ reqType, ns, service string) *service_manage.DiscoverResponse {
		t.Helper()
		req := query(typ, ns, service, "")
		req.Service.Token = str(name + "-token")
		res := stream.ask(t, req)
		checkEcho(t, req, res)
		return res
	}
	for _, c := range []struct {
		name, ns string
		want     []string
	}{
		{"one", "n", []string{"n/a"}},
		{"all", "n", []string{"n/a", "n/alias", "n/b"}},
		{"nobody", "n", nil},
		{"p", "p", []string{"p/x", "m/a"}},
		{"q", "p", []string{"p/x", "o/a"}},
		{"one", "", []string{"n/a"}},
	} {
		res := ask(c.name, typeServices, c.ns, "")
		wantCode(t, res, nil, 200000)
		if got := listed(res); !slices.Equal(got, c.want) {
			t.Errorf("%s is shown %v in %q, want %v", c.name, got, c.ns, c.want)
		}
	}
	for name, want := range map[string][]string{"one": {"n"}, "all": {"m", "n", "o", "p"}, "nobody": nil, "p": {"m", "p"}} {
		var got []string
		for _, n := range ask(name, service_manage.DiscoverRequest_NAMESPACES, "", "").GetNamespaces() {
			got = append(got, n.GetName().GetValue())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is shown the namespaces %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]string{"p": "[m/a:1]", "q": "[o/a:1]", "all": "[m/a:1 o/a:1]"} {
		if got := fmt.Sprint(places(ask(name, typeInstance, "p", "a"))); got != want {
			t.Errorf("%s is shown %s, want %s", name, got, want)
		}
	}
	d.guard.admit(known(map[string][]string{"p": {"p"}}))
	wantCode(t, ask("p", typeInstance, "p", "a"), nil, 400202)
}

// Rules are the same for every service, and SDKs ask for those of services that
// they have no rights to, and probe without a service.
func TestWhatTellsNothingNeedsNoRights(t *testing.T) {
	d := open(t)
	d.guard.admit(known(map[string][]string{"nobody": nil}))
	stream, err := d.Discover(withToken(t.Context(), "nobody-token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range ruleTypes {
		wantCode(t, discoverer{stream}.ask(t, query(typ, "n", "a", "")), nil, 200000)
	}
	wantCode(t, discoverer{stream}.ask(t, &service_manage.DiscoverRequest{}), nil, 400004)
}

// Whatever the order in which people with whatever rights ask, nobody is shown
// what he may not see, and everybody all that he may: no shared answer is
// somebody else's.
func TestSharedAnswersAreOnlyOfThoseWhoSeeTheSame(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(rt *rapid.T) {
		b, g := newBackend(t, nil), &guard{}
		op := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b})
		s := polaris.New(polaris.Deps{Registry: op, World: b, Auth: g, Log: zap.NewNop(), Ready: func() bool { return true }})
		all := []string{}
		for _, ns := range names {
			for _, name := range names {
				if ns == "a" && name == "c" {
					continue // asked for, and only there by what others export
				}
				to := []string{"*"}
				if _, err := op.PutService(t.Context(), naming.PutService{Key: key(ns, name), ExportTo: &to, AutoCreate: true}); err != nil {
					rt.Fatal(err)
				}
				port := uint32(1)
				if _, err := op.Register(t.Context(), naming.Registration{Service: key(ns, name), Host: "10.0.0.1", Port: &port}); err != nil {
					rt.Fatal(err)
				}
				all = append(all, ns+"/"+name)
			}
		}
		rights := map[string][]string{}
		for n := range 4 {
			rights[fmt.Sprint("p", n)] = append(rapid.SliceOfDistinct(rapid.SampledFrom(append(names[1:3:3], all...)), rapid.ID).Draw(rt, "rights"), "a")
		}
		g.admit(known(rights))
		for range 30 {
			who := rapid.SampledFrom([]string{"p0", "p1", "p2", "p3"}).Draw(rt, "who")
			typ := rapid.SampledFrom([]reqType{typeServices, typeInstance, service_manage.DiscoverRequest_NAMESPACES}).Draw(rt, "type")
			req := query(typ, "a", "c", "")
			if typ == typeServices {
				req = query(typ, rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "namespace"), "", "")
			}
			req.Service.Token = str(who + "-token")
			got, want := map[string]bool{}, map[string]bool{}
			res := polaris.Answer(t.Context(), s, req)
			for _, x := range res.GetServices() {
				got[x.GetNamespace().GetValue()+"/"+x.GetName().GetValue()] = true
			}
			for _, x := range res.GetInstances() {
				got[x.GetNamespace().GetValue()+"/"+x.GetService().GetValue()] = true
			}
			for _, x := range res.GetNamespaces() {
				got[x.GetName().GetValue()] = true
			}
			for _, x := range all {
				ns, name, _ := strings.Cut(x, "/")
				switch visible := may(rights[who], ns, name); {
				case typ == service_manage.DiscoverRequest_NAMESPACES:
					if visible {
						want[ns] = true
					}
				case visible && (typ == typeServices || name == "c"):
					want[x] = true
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s with %v asks for %v (-want +got):\n%s", who, rights[who], req, diff)
			}
		}
	})
}

// Who created a service and its namespace is part of what is asked: policies
// may be about one's own.
func TestCreatorsAreAskedFor(t *testing.T) {
	b, g := newBackend(t, nil), &guard{}
	l := b.Load()
	for _, o := range []naming.Object{
		&naming.Namespace{Name: "n", Creator: "ann"},
		&naming.Service{ID: "s", Key: key("n", "a"), Creator: "bob"},
		&naming.Service{ID: "t", Key: key("n", "alias"), Creator: "eve", AliasFor: key("n", "a")},
		&naming.Instance{ID: "i", Service: key("n", "a"), Host: "10.0.0.1", Port: 1, TTL: 5},
	} {
		if err := l.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Publish(1); err != nil {
		t.Fatal(err)
	}
	s := polaris.New(polaris.Deps{
		Registry: naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: b, World: b, Beats: b}),
		World:    b, Auth: g, Log: zap.NewNop(), Ready: func() bool { return true },
	})
	own := func(name, creator string) auth.Resource {
		return auth.Resource{Namespace: "n", Service: name, NamespaceCreator: "ann", ServiceCreator: creator}
	}
	lie := message("m", "b", 1)
	lie.Id = str("i")
	res, err := s.Heartbeat(t.Context(), lie)
	wantCode(t, res, err, 200000)
	polaris.Answer(t.Context(), s, query(typeInstance, "n", "alias", ""))
	polaris.Answer(t.Context(), s, query(typeInstance, "n", "new", ""))
	want := []question{
		{auth.Heartbeat, own("a", "bob")},
		{auth.Discover, own("alias", "eve")},
		{auth.Discover, own("a", "bob")},
		{auth.Discover, own("new", "")},
	}
	if diff := cmp.Diff(want, g.take()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
