package web

import (
	"fmt"
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
	limit, offset      int
	namespace, service string // empty: all
}

// badParameter tells which part of a query is wrong, and its bound.
type badParameter struct{ parameter, detail string }

// parse reads limit, offset and those of the filters that a list takes. What
// it does not take is an error: a misspelt filter would show everything.
func parse(raw string, filters []string) (query, *badParameter) {
	q := query{limit: defaultPage}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, &badParameter{"query", "query: " + err.Error()}
	}
	known := append([]string{"limit", "offset"}, filters...)
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the same query gives the same answer
	for _, name := range names {
		switch v := values[name]; {
		case !slices.Contains(known, name):
			return q, &badParameter{name, fmt.Sprintf("%.32q: unknown parameter; known here: %s", name, strings.Join(known, ", "))}
		case len(v) > 1:
			return q, &badParameter{name, name + ": given more than once"}
		case v[0] != "":
			if bad := q.set(name, v[0]); bad != "" {
				return q, &badParameter{name, name + ": " + bad}
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
	case "namespace":
		return text(value, naming.MaxNamespace, &q.namespace)
	default:
		return text(value, naming.MaxService, &q.service)
	}
}

func number(value string, most int, into *int) string {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return fmt.Sprintf("%.32q is not a number between 0 and %d", value, most)
	}
	*into = n
	return ""
}

func text(value string, most int, into *string) string {
	if n := utf8.RuneCountInString(value); n > most {
		return fmt.Sprintf("%d characters are more than %d", n, most)
	}
	*into = value
	return ""
}
