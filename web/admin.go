package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"polestar/naming"
)

// Admin are the use cases of an operator; *naming.Registrar fits.
type Admin interface {
	PutNamespace(ctx context.Context, w naming.PutNamespace) (naming.Result, error)
	DeleteNamespace(ctx context.Context, w naming.DeleteNamespace) (naming.Result, error)
	PutService(ctx context.Context, w naming.PutService) (naming.Result, error)
	PutAlias(ctx context.Context, w naming.PutAlias) (naming.Result, error)
	DeleteService(ctx context.Context, w naming.DeleteService) (naming.Result, error)
	Modify(ctx context.Context, w naming.Modify) (naming.Result, error)
	ModifyHost(ctx context.Context, at naming.Place, w naming.ModifyAll) (naming.Result, error)
	Remove(ctx context.Context, w naming.Deregister) (naming.Result, error)
	DropOverride(ctx context.Context, w naming.DropOverride) (naming.Result, error)
}

// outcomes in words.
var outcomes = map[naming.Outcome]string{
	naming.Unchanged: "unchanged", naming.Created: "created", naming.Updated: "updated", naming.Deleted: "deleted", naming.Absent: "absent",
}

// actor tells who asks.
func actor(r *http.Request) naming.Actor {
	by, a := callerOf(r).principal, visitor(r)
	a.Principal, a.ID = by.Name, by.ID
	return a
}

// visitor is an actor whom nobody asked for a name.
func visitor(r *http.Request) naming.Actor {
	a := naming.Actor{Agent: plain(r.UserAgent())}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		a.Address = host
	}
	return a
}

// plain makes a header fit for records: bounded, UTF-8, no control characters.
func plain(s string) string {
	const most = 128 // bytes
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// segment is a part of the path. Names may hold slashes, which come as %2F;
// the router then works on the escaped path.
func segment(r *http.Request, name string) (string, *refusal) {
	text := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return text, nil
	}
	out, err := url.PathUnescape(text)
	if err != nil {
		return "", bad(name, fmt.Sprintf("%s: %.64q is not escaped as a part of a URL", name, text))
	}
	return out, nil
}

// serviceIn is the service or alias that the path names.
func serviceIn(r *http.Request) (key naming.ServiceKey, wrong *refusal) {
	if key.Namespace, wrong = segment(r, "namespace"); wrong != nil {
		return key, wrong
	}
	key.Name, wrong = segment(r, "name")
	return key, wrong
}

// revision is what If-Match demands; 0 when it demands nothing.
func revision(r *http.Request) (naming.Revision, *refusal) {
	text := r.Header.Get("If-Match")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 64)
	if err != nil || n == 0 {
		return 0, bad("If-Match", fmt.Sprintf("If-Match: %.64q is not a revision such as \"12\"", text))
	}
	return naming.Revision(n), nil
}

// reasonIn is why something is deleted: the only parameter of a DELETE.
func reasonIn(r *http.Request) (string, *refusal) {
	q, wrong := parse(r, "reason")
	return q.text["reason"], wrong
}

// tagged marks the answer with the revision that If-Match compares.
func tagged(w http.ResponseWriter, rev naming.Revision) {
	w.Header().Set("ETag", `"`+strconv.FormatUint(uint64(rev), 10)+`"`)
}

// written answers what a write did. at is where the object is found.
func written(w http.ResponseWriter, res naming.Result, m Mutation, at string) {
	m.Outcome, m.Revision = outcomes[res.Outcome], uint64(res.Revision)
	status := http.StatusOK
	switch res.Outcome {
	case naming.Absent:
		problem(w, http.StatusNotFound, "", "there is nothing to delete at "+at)
		return
	case naming.Created:
		status = http.StatusCreated
		w.Header().Set("Location", at)
	case naming.Unchanged, naming.Updated, naming.Deleted: // 200
	}
	answer(w, status, m)
}

// escaped makes the path of an object out of names that may hold slashes.
func escaped(kind string, names ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1/" + kind)
	for _, n := range names {
		b.WriteString("/" + url.PathEscape(n))
	}
	return b.String()
}

// given reports whether a body's member was there, as a pointer for a use case
// in which nil means "stays". whole is for PUT: what is not there is empty.
func given[T any](p *T, whole bool) *T {
	if p == nil && whole {
		return new(T)
	}
	return p
}
