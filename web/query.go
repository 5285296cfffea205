package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"polestar/naming"
)

// The bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
	maxOffset   = 1 << 31
)

// query is what a list may be asked for.
type query struct {
	limit, offset int
	text          map[string]string // the other parameters; empty ones are not there
}

// key is the service that the query names; parts may be empty.
func (q query) key() naming.ServiceKey {
	return naming.ServiceKey{Namespace: q.text["namespace"], Name: q.text["service"]}
}

// textBounds are in characters; a parameter that is not here may have 128.
var textBounds = map[string]int{
	"namespace": naming.MaxNamespace, "service": naming.MaxService, "reason": naming.MaxReason, "client": 256,
}

// paging are the parameters that every list takes.
func paging(filters ...string) []string { return append([]string{"limit", "offset"}, filters...) }

// parse reads the known parameters. What a route does not take is an error: a
// misspelt filter would show everything.
func parse(r *http.Request, known ...string) (query, *refusal) {
	q := query{limit: defaultPage, text: map[string]string{}}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, bad("query", "query: "+err.Error())
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the same query gives the same answer
	for _, name := range names {
		switch v := values[name]; {
		case !slices.Contains(known, name):
			return q, bad(name, fmt.Sprintf("%.32q: unknown parameter; known here: %s", name, strings.Join(known, ", ")))
		case len(v) > 1:
			return q, bad(name, name+": given more than once")
		case v[0] != "":
			if wrong := q.set(name, v[0]); wrong != "" {
				return q, bad(name, name+": "+wrong)
			}
		}
	}
	return q, nil
}

// set takes one value; it returns what is wrong with it.
func (q *query) set(name, value string) string {
	switch name {
	case "limit":
		return number(value, maxPage, &q.limit)
	case "offset":
		return number(value, maxOffset, &q.offset)
	}
	most := textBounds[name]
	if most == 0 {
		most = 128
	}
	if n := utf8.RuneCountInString(value); n > most {
		return fmt.Sprintf("%d characters are more than %d", n, most)
	}
	q.text[name] = value
	return ""
}

func number(value string, most int, into *int) string {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return fmt.Sprintf("%.32q is not a number between 0 and %d", value, most)
	}
	*into = n
	return ""
}
