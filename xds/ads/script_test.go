package ads

import (
	"strings"
	"testing"
	"time"

	"polestar/xds/resource"
)

// The first words of a script.
const (
	sotwEnvoy  = "sotw envoy"
	sotwGRPC   = "sotw grpc"
	deltaEnvoy = "delta envoy"
	deltaGRPC  = "delta grpc"
)

// play runs a script against one machine. Its lines are
//
//	put cds a v1           a resource appears or changes
//	del cds a              it disappears
//	> cds #1 a b           a request: the nonce that it answers, and names
//	> cds #1 refused a     a refusal
//	> cds +a -b a=v1       a delta request: subscribe, unsubscribe, initial version
//	< cds #1 @3 a=v1 -b ?c the next response: nonce, version, resources, removed, missing
//	< nothing              nothing is to be sent
//	wait 5s                time passes
//
// and anything after // is a comment.
func play(t *testing.T, kind, script string) {
	t.Helper()
	w := newWorld()
	m := NewSotW(w, strings.HasSuffix(kind, "envoy"))
	if strings.HasPrefix(kind, "delta") {
		m = NewDelta(w, strings.HasSuffix(kind, "envoy"))
	}
	now := time.Unix(0, 0)
	for i, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "put":
			w.put(typeNamed(t, words[1]), words[2], words[3])
		case "del":
			w.put(typeNamed(t, words[1]), words[2], "")
		case ">":
			if _, err := m.Request(now, parseRequest(t, words[1:])); err != nil {
				t.Fatalf("line %d: %s: %v", i+1, line, err)
			}
		case "<":
			m.Changed(w.take())
			if got, want := describe(m.Next(now)), strings.Join(words[1:], " "); got != want {
				t.Fatalf("line %d:\n got %s\nwant %s", i+1, got, want)
			}
		case "wait":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
		default:
			t.Fatalf("line %d: %s", i+1, line)
		}
	}
	m.Changed(w.take())
	if r := m.Next(now); r != nil {
		t.Errorf("at the end there is more: %s", describe(r))
	}
}

func typeNamed(t *testing.T, name string) resource.Type {
	t.Helper()
	for _, typ := range resource.Types() {
		if typ.String() == name {
			return typ
		}
	}
	t.Fatalf("no type %q", name)
	return 0
}

func parseRequest(t *testing.T, words []string) Request {
	t.Helper()
	r := Request{URL: words[0]}
	if !strings.Contains(r.URL, ".") {
		r.URL = typeNamed(t, words[0]).URL()
	}
	for _, word := range words[1:] {
		name, version, initial := strings.Cut(word, "=")
		switch {
		case word == "refused":
			r.Refused, r.Reason = true, "refused by the script"
		case word[0] == '#':
			r.Nonce = word[1:]
		case word[0] == '+':
			r.Subscribe = append(r.Subscribe, word[1:])
		case word[0] == '-':
			r.Unsubscribe = append(r.Unsubscribe, word[1:])
		case initial:
			if r.Initial == nil {
				r.Initial = map[string]string{}
			}
			r.Initial[name] = version
		default:
			r.Subscribe = append(r.Subscribe, word)
		}
	}
	return r
}

func describe(r *Response) string {
	if r == nil {
		return "nothing"
	}
	words := []string{r.URL, "#" + r.Nonce, "@" + r.Version}
	if r.known {
		words[0] = r.typ.String()
	}
	words = append(words, forms(r.Resources)...)
	for _, name := range r.Removed {
		words = append(words, "-"+name)
	}
	for _, name := range r.Missing {
		words = append(words, "?"+name)
	}
	return strings.Join(words, " ")
}
