package naming_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"polestar/naming"
)

// bound is one rule: good is the last value that passes, bad the first that
// does not; the error must name the field and say all of words.
type bound struct {
	name      string
	field     string
	words     []string
	good, bad func(*naming.Registration)
}

func set(f func(*naming.Registration, string), v string) func(*naming.Registration) {
	return func(r *naming.Registration) { f(r, v) }
}

// text makes the bound of the length of a text, counted in characters.
func text(field string, most int, f func(*naming.Registration, string)) bound {
	return bound{
		name: fmt.Sprintf("%s has at most %d characters", field, most), field: field,
		words: []string{strconv.Itoa(most), strconv.Itoa(most + 1)},
		good:  set(f, strings.Repeat("ü", most)), bad: set(f, strings.Repeat("ü", most+1)),
	}
}

// clean makes the bound that a text holds no control characters.
func clean(field string, f func(*naming.Registration, string)) bound {
	return bound{
		name: field + " holds no control characters", field: field, words: []string{"control", "U+0085"},
		good: set(f, "a b"), bad: set(f, "a\u0085b"),
	}
}

// utf makes the bound that a text is valid UTF-8.
func utf(field string, f func(*naming.Registration, string)) bound {
	return bound{
		name: field + " is UTF-8", field: field, words: []string{"UTF-8"},
		good: set(f, "\uFFFD"), bad: set(f, "a\xff"),
	}
}

var (
	setID       = func(r *naming.Registration, v string) { r.ID = v }
	setNS       = func(r *naming.Registration, v string) { r.Service.Namespace = v }
	setService  = func(r *naming.Registration, v string) { r.Service.Name = v }
	setHost     = func(r *naming.Registration, v string) { r.Host = v }
	setVpc      = func(r *naming.Registration, v string) { r.VpcID = v }
	setProtocol = func(r *naming.Registration, v string) { r.Protocol = v }
	setVersion  = func(r *naming.Registration, v string) { r.Version = v }
	setLogicSet = func(r *naming.Registration, v string) { r.LogicSet = v }
	setRegion   = func(r *naming.Registration, v string) { r.Location.Region = v }
	setZone     = func(r *naming.Registration, v string) { r.Location.Zone = v }
	setCampus   = func(r *naming.Registration, v string) { r.Location.Campus = v }
	setKey      = func(r *naming.Registration, v string) { r.Metadata = map[string]string{v: "v"} }
	setValue    = func(r *naming.Registration, v string) { r.Metadata = map[string]string{"k": v} }
)

func pairs(n int) func(*naming.Registration) {
	return func(r *naming.Registration) {
		r.Metadata = map[string]string{}
		for i := range n {
			r.Metadata[strconv.Itoa(i)] = ""
		}
	}
}

func number(f func(*naming.Registration, uint32), v uint32) func(*naming.Registration) {
	return func(r *naming.Registration) { f(r, v) }
}

func bounds() []bound {
	port := func(r *naming.Registration, v uint32) { r.Port = &v }
	weight := func(r *naming.Registration, v uint32) { r.Weight = &v }
	ttl := func(r *naming.Registration, v uint32) { r.HealthCheck, r.TTL = true, v }
	all := []bound{
		{"namespace length", "namespace", []string{"64"}, set(setNS, strings.Repeat("n", 64)), set(setNS, strings.Repeat("n", 65))},
		{"namespace empty", "namespace", []string{"empty"}, set(setNS, "n"), set(setNS, "")},
		{"namespace characters", "namespace", []string{`'#'`}, set(setNS, "azAZ09-./:_"), set(setNS, "a#b")},
		{"namespace letters are latin", "namespace", []string{`'ü'`}, set(setNS, "u"), set(setNS, "ü")},
		{"service length", "service", []string{"128"}, set(setService, strings.Repeat("s", 128)), set(setService, strings.Repeat("s", 129))},
		{"service empty", "service", []string{"empty"}, set(setService, "s"), set(setService, "")},
		{"service characters", "service", []string{`' '`}, set(setService, "azAZ09-./:_"), set(setService, "a b")},
		{"service key separator", "service", []string{"U+0000"}, set(setService, "a"), set(setService, "a\x00b")},
		{
			"host length", "host",
			[]string{"128"},
			set(setHost, strings.Repeat(strings.Repeat("h", 63)+".", 2)), set(setHost, strings.Repeat(strings.Repeat("h", 63)+".", 2)+"h"),
		},
		{"port above", "port", []string{"65535", "65536"}, number(port, 65535), number(port, 65536)},
		{"port below", "port", []string{"1", "65535"}, number(port, 1), number(port, 0)},
		{
			"port missing", "port",
			[]string{"1", "65535"},
			func(*naming.Registration) {}, func(r *naming.Registration) { r.Port = nil },
		},
		{"weight", "weight", []string{"65535", "65536"}, number(weight, 65535), number(weight, 65536)},
		{"ttl", "health_check.heartbeat.ttl", []string{"3600", "3601"}, number(ttl, 3600), number(ttl, 3601)},
		{"metadata pairs", "metadata", []string{"64", "65"}, pairs(64), pairs(65)},
		{"metadata key empty", "metadata", []string{"empty"}, set(setKey, "k"), set(setKey, "")},
		{"metadata value may have lines", "metadata", []string{"U+0000"}, set(setValue, "a\r\n\tb"), set(setValue, "a\x00b")},
		{"metadata key has no lines", "metadata", []string{"U+000A"}, set(setKey, "k"), set(setKey, "k\n")},
		text("metadata", 128, setKey), text("metadata", 4096, setValue), utf("metadata", setKey), utf("metadata", setValue),
	}
	for _, f := range []struct {
		field string
		most  int
		set   func(*naming.Registration, string)
	}{
		{"id", 128, setID},
		{"vpc_id", 64, setVpc},
		{"protocol", 32, setProtocol},
		{"version", 32, setVersion},
		{"logic_set", 128, setLogicSet},
		{"location.region", 128, setRegion},
		{"location.zone", 128, setZone},
		{"location.campus", 128, setCampus},
	} {
		all = append(all, text(f.field, f.most, f.set), clean(f.field, f.set), utf(f.field, f.set))
	}
	return all
}

func TestEveryBoundOfARegistration(t *testing.T) {
	for _, b := range bounds() {
		t.Run(b.name, func(t *testing.T) {
			r, s, _ := registrar(t)
			in := registration()
			b.good(&in)
			if _, err := r.Register(t.Context(), in); err != nil {
				t.Errorf("just inside the bound: %v", err)
			}
			in = registration()
			in.Port = new(uint32(8081))
			b.bad(&in)
			was := s.head
			_, err := r.Register(t.Context(), in)
			wantInvalid(t, err, b.field, b.words...)
			if s.head != was {
				t.Error("a refused registration was written")
			}
		})
	}
}

// wantInvalid fails unless err names the field and says all of words.
func wantInvalid(t *testing.T, err error, field string, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*naming.Error](err)
	if !ok || e.Kind != naming.Invalid {
		t.Fatalf("error %v, want one of kind Invalid", err)
	}
	if e.Field != field {
		t.Errorf("Field = %q, want %q", e.Field, field)
	}
	for _, w := range append(words, field) {
		if !strings.Contains(e.Msg, w) {
			t.Errorf("the text %q does not say %q", e.Msg, w)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, good := range []string{
		"10.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "localhost", "a.b-c.example.", "with_underscore.svc", "1e100.net",
		"4.example", strings.Repeat("a", 63) + ".b", " 10.0.0.1\t",
	} {
		r, s, _ := registrar(t)
		in := registration()
		in.Host = good
		res, err := r.Register(t.Context(), in)
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		if want := strings.TrimSpace(good); s.instances[res.Instance.ID].Host != want {
			t.Errorf("%q is stored as %q", good, s.instances[res.Instance.ID].Host)
		}
	}
	for _, bad := range []string{
		"", " ", ".", "..", "a..b", ".a", "-a", "a-.b", "a b", "a/b", "a:b", "[::1]", "fe80::1%eth0", "10.0.0.1:80", "ü.example",
		"http://a", "10.0.0.0/8", strings.Repeat("a", 64) + ".b",
		// These would become names, and a proxy that takes addresses only would
		// refuse the whole cluster.
		"10.0.0.256", "127.1", "010.0.0.1", "1.2.3.4.5", "2130706433", "10.0.0.1.",
	} {
		r, _, _ := registrar(t)
		in := registration()
		in.Host = bad
		_, err := r.Register(t.Context(), in)
		wantInvalid(t, err, "host")
	}
}

// Clients show the first violation to people: it must not change from call to
// call, and it follows the order of the reference.
func TestFirstViolationDecides(t *testing.T) {
	in := registration()
	in.Service = naming.ServiceKey{}
	in.Host, in.Port = "", nil
	in.ID = strings.Repeat("i", 129)
	in.Location = naming.Location{Region: "\x01", Zone: "\x01", Campus: "\x01"}
	in.VpcID, in.HealthCheck, in.TTL, in.Weight = "\x01", true, 3601, new(uint32(65536))
	in.Protocol, in.Version, in.LogicSet = "\x01", "\x01", "\x01"
	in.Metadata = map[string]string{"": "", "\x01": "", "b": "\x01"}
	for _, step := range []struct {
		field string
		heal  func()
	}{
		{"protocol", func() { in.Protocol = "" }},
		{"version", func() { in.Version = "" }},
		{"logic_set", func() { in.LogicSet = "" }},
		{"metadata", func() { delete(in.Metadata, "") }},
		{"metadata", func() { delete(in.Metadata, "\x01") }},
		{"metadata", func() { in.Metadata = nil }},
		{"weight", func() { in.Weight = nil }},
		{"service", func() { in.Service.Name = "s" }},
		{"namespace", func() { in.Service.Namespace = "n" }},
		{"host", func() { in.Host = "h" }},
		{"port", func() { in.Port = new(uint32(1)) }},
		{"health_check.heartbeat.ttl", func() { in.TTL = 0 }},
		{"vpc_id", func() { in.VpcID = "" }},
		{"location.region", func() { in.Location.Region = "" }},
		{"location.zone", func() { in.Location.Zone = "" }},
		{"location.campus", func() { in.Location.Campus = "" }},
		{"id", func() { in.ID = "" }},
	} {
		var first string
		for range 20 { // maps are walked in random order
			r, _, _ := registrar(t)
			_, err := r.Register(t.Context(), in)
			wantInvalid(t, err, step.field)
			if first == "" {
				first = err.Error()
			}
			if err.Error() != first {
				t.Fatalf("%s: two texts for one request: %q and %q", step.field, first, err)
			}
		}
		step.heal()
	}
	r, _, _ := registrar(t)
	if _, err := r.Register(t.Context(), in); err != nil {
		t.Errorf("all healed: %v", err)
	}
}

func TestBoundsOfOtherRequests(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	r, _, _ := registrar(t)
	in := registration()
	in.ID = "i"
	if _, err := r.Register(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	ref := func(id string) error {
		_, err := r.Deregister(t.Context(), naming.Ref{ID: &id}, naming.Actor{})
		return err
	}
	client := func(c naming.Client) error {
		_, err := r.ReportClient(t.Context(), c, naming.Actor{})
		return err
	}
	modify := func(m naming.Modify) error {
		m.ID += "i"
		_, err := r.Modify(t.Context(), m)
		return err
	}
	for _, c := range []struct {
		name, field string
		word        string
		good, bad   error
	}{
		{"id of a reference", "id", "128", ref(long(128)), ref(long(129))},
		{"empty id of a reference", "id", "empty", ref("x"), ref("")},
		{"control character in a reference", "id", "U+0001", ref("x"), ref("\x01")},
		{"client id", "id", "128", client(naming.Client{ID: long(128)}), client(naming.Client{ID: long(129)})},
		{"client host", "host", "128", client(naming.Client{Host: long(128)}), client(naming.Client{Host: long(129)})},
		{"client version", "version", "32", client(naming.Client{Version: long(32)}), client(naming.Client{Version: long(33)})},
		{
			"client zone", "location.zone", "128",
			client(naming.Client{Location: naming.Location{Zone: long(128)}}), client(naming.Client{Location: naming.Location{Zone: long(129)}}),
		},
		{"operator's weight", "weight", "65535", modify(naming.Modify{Set: naming.Setting{Weight: new(uint32(65535))}}), modify(naming.Modify{Set: naming.Setting{Weight: new(uint32(65536))}})},
		{"operator's reason", "reason", "512", modify(naming.Modify{Reason: long(512)}), modify(naming.Modify{Reason: long(513)})},
		{"operator's reason is text", "reason", "UTF-8", modify(naming.Modify{Reason: "why"}), modify(naming.Modify{Reason: "\xff"})},
		{"id to modify", "id", "128", nil, modify(naming.Modify{ID: long(128)})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.good != nil {
				t.Errorf("just inside the bound: %v", c.good)
			}
			wantInvalid(t, c.bad, c.field, c.word)
		})
	}
}
