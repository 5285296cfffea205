package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"polestar/naming"
)

// fields are the members that a body may have: their names, and pointers to
// where their values go.
type fields map[string]any

// decode reads a body strictly: one object, no unknown or repeated members, no
// nulls, valid UTF-8. It names the member that is wrong, and returns the names
// of those that were there.
func decode(r *http.Request, into fields) (given []string, wrong *refusal) {
	text, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "body", fmt.Sprintf("body: more than %d bytes", tooLarge.Limit)}
	}
	if err != nil {
		return nil, bad("body", "body: it ended before it was complete")
	}
	if !utf8.Valid(text) {
		return nil, bad("body", "body: is not valid UTF-8")
	}
	wrong = members("body", text, func(name string, value json.RawMessage) *refusal {
		at, known := into[name]
		if !known {
			return bad(name, fmt.Sprintf("%.64q: unknown field; known here: %s", name, strings.Join(slices.Sorted(maps.Keys(into)), ", ")))
		}
		given = append(given, name)
		return member(name, value, at)
	})
	return given, wrong
}

// members visits the members of a JSON object, which is all of text.
func members(what string, text []byte, visit func(name string, value json.RawMessage) *refusal) *refusal {
	dec := json.NewDecoder(bytes.NewReader(text))
	syntax := func(err error) *refusal { return bad(what, fmt.Sprintf("%s: is no JSON: %v", what, err)) }
	open, err := dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return bad(what, what+": is empty; a JSON object is expected")
	case err != nil:
		return syntax(err)
	case open != json.Delim('{'):
		return bad(what, what+": a JSON object is expected")
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return syntax(err)
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return syntax(err)
		}
		if seen[name] {
			return bad(name, fmt.Sprintf("%.64q: is there twice", name))
		}
		seen[name] = true
		if wrong := visit(name, value); wrong != nil {
			return wrong
		}
	}
	if _, err := dec.Token(); err != nil {
		return syntax(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad(what, what+": there is more after the JSON object")
	}
	return nil
}

// member puts one value where it belongs.
func member(name string, value json.RawMessage, at any) *refusal {
	if string(value) == "null" {
		return bad(name, name+": null is no value; leave it out")
	}
	if patch, ok := at.(*naming.Patch); ok {
		return pairs(name, value, patch)
	}
	if json.Unmarshal(value, at) != nil {
		return bad(name, name+": "+expected(at)+" is expected")
	}
	return nil
}

// pairs reads the changes of metadata; null removes a key.
func pairs(name string, value json.RawMessage, into *naming.Patch) *refusal {
	*into = naming.Patch{}
	return members(name, value, func(key string, value json.RawMessage) *refusal {
		var text *string
		if json.Unmarshal(value, &text) != nil {
			return bad(name+"."+key, fmt.Sprintf("%s.%.128s: a text or null is expected", name, key))
		}
		(*into)[key] = text
		return nil
	})
}

func expected(at any) string {
	switch at.(type) {
	case **uint32, *uint32:
		return "a whole number between 0 and 4294967295"
	case **bool, *bool:
		return "true or false"
	case **string, *string:
		return "a text"
	case **selectors:
		return `a list of objects with the members "namespace", "service" and "created"`
	default:
		return "a list of texts"
	}
}
