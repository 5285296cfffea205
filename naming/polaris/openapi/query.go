package openapi

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
)

// maxPage is the size of a page, asked for or not. Larger ones are cut, as
// Polaris does it.
const maxPage = 100

// query are the filters of a GET.
type query struct {
	values        map[string]string // none of them empty
	offset, limit int
}

// query reads the filters that a route knows besides offset and limit. Others
// are an error: a misspelt one would show everything.
func (c *call) query(known ...string) (*query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, invalid("query: " + err.Error())
	}
	q := &query{values: map[string]string{}, limit: maxPage}
	for _, name := range slices.Sorted(keysOf(values)) { // the same query gets the same answer
		v := values[name]
		switch {
		case name == "lang": // of texts, which are in one language here
		case len(v) > 1:
			err = invalid(fmt.Sprintf("%.32q: given more than once", name))
		case v[0] == "":
			err = invalid(fmt.Sprintf("%.32q: is empty", name))
		case name == "offset":
			q.offset, err = number(name, v[0], 1<<31-1)
		case name == "limit":
			q.limit, err = number(name, v[0], 1<<31-1)
			q.limit = min(q.limit, maxPage)
		case !slices.Contains(known, name):
			err = invalid(fmt.Sprintf("%.32q: unknown filter; known here: limit, offset, %s", name, strings.Join(known, ", ")))
		default:
			q.values[name] = v[0]
		}
		if err != nil {
			return nil, err
		}
	}
	return q, nil
}

func keysOf(values url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range values {
			if !yield(name) {
				return
			}
		}
	}
}

func number(name, value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return 0, invalid(fmt.Sprintf("%s: %.32q is not a number between 0 and %d", name, value, most))
	}
	return n, nil
}

// text reports whether a value passes a filter: it is equal, or begins with
// what stands before a last *, or contains what stands between two.
func (q *query) text(filter, value string) bool {
	pattern, given := q.values[filter]
	if !given {
		return true
	}
	before, open := strings.CutSuffix(pattern, "*")
	if !open {
		return pattern == value
	}
	if inner, both := strings.CutPrefix(before, "*"); both {
		return strings.Contains(value, inner)
	}
	return strings.HasPrefix(value, before)
}

// exact is the service that the filters name without a wildcard.
func (q *query) exact(namespace, name string) (naming.ServiceKey, bool) {
	key := naming.ServiceKey{Namespace: q.values[namespace], Name: q.values[name]}
	return key, key.Namespace != "" && key.Name != "" && !strings.HasSuffix(key.Namespace, "*") && !strings.HasSuffix(key.Name, "*")
}

// pairs are filters by metadata.
type pairs struct{ keys, values []string }

// pairs reads two filters that hold as many texts, with commas between them.
func (q *query) pairs(keys, values string) (p pairs, err error) {
	if q.values[keys] == "" && q.values[values] == "" {
		return p, nil
	}
	p = pairs{strings.Split(q.values[keys], ","), strings.Split(q.values[values], ",")}
	if q.values[keys] == "" || len(p.keys) != len(p.values) {
		return p, invalid(fmt.Sprintf("%s, %s: there must be as many of both", keys, values))
	}
	return p, nil
}

// in reports whether the metadata has all the pairs.
func (p pairs) in(m naming.Metadata) bool {
	for n, key := range p.keys {
		if v, there := m.Get(key); !there || v != p.values[n] {
			return false
		}
	}
	return true
}

// flag reads a filter that is true or false; nil: it is not there.
func (q *query) flag(name string) (*bool, error) {
	text, given := q.values[name]
	if !given {
		return nil, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return nil, invalid(fmt.Sprintf("%s: %.32q is neither true nor false", name, text))
	}
	return &b, nil
}

// count reads a filter that is a number; nil: it is not there.
func (q *query) count(name string) (*int, error) {
	text, given := q.values[name]
	if !given {
		return nil, nil
	}
	n, err := number(name, text, 1<<31-1)
	return &n, err
}

// page collects those items of a list that are asked for.
type page[T any] struct {
	q     *query
	total int
	items []T
}

func (p *page[T]) add(item T) {
	if p.total >= p.q.offset && len(p.items) < p.q.limit {
		p.items = append(p.items, item)
	}
	p.total++
}

// answer is the answer to a query, without its items.
func (p *page[T]) answer() *service_manage.BatchQueryResponse {
	ok := answer(nil)
	return &service_manage.BatchQueryResponse{
		Code: ok.GetCode(), Info: ok.GetInfo(), Amount: wrapperspb.UInt32(uint32(p.total)), Size: wrapperspb.UInt32(uint32(len(p.items))),
	}
}

// read makes the answer of a GET out of a query.
func read(filters []string, find func(*call, *query) (*service_manage.BatchQueryResponse, error)) func(context.Context, *call) reply {
	return func(_ context.Context, c *call) reply {
		q, err := c.query(filters...)
		if err != nil {
			return c.failed(err)
		}
		out, err := find(c, q)
		if err != nil {
			return c.failed(err)
		}
		return out
	}
}

// counted is the number of the items alone.
func counted(find func(*call, *query) (*service_manage.BatchQueryResponse, error)) func(*call, *query) (*service_manage.BatchQueryResponse, error) {
	return func(c *call, q *query) (*service_manage.BatchQueryResponse, error) {
		q.limit = 0
		return find(c, q)
	}
}
