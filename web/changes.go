package web

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"polestar/naming"
)

// The JSON forms of what the change log says.
type (
	// Change is one object's transition.
	Change struct {
		Revision  uint64       `json:"revision"`
		Index     int          `json:"index"` // among the changes of its revision; of an [Event] among its events
		Time      string       `json:"time"`
		Action    string       `json:"action"` // created, updated or deleted
		Kind      string       `json:"kind"`
		Namespace string       `json:"namespace,omitempty"`
		Service   string       `json:"service,omitempty"`
		ID        string       `json:"id,omitempty"` // of an instance, client, contract or token; the name of a user, group or policy
		Host      string       `json:"host,omitempty"`
		Port      uint32       `json:"port,omitempty"`
		Actor     Actor        `json:"actor"`
		Cause     string       `json:"cause"`
		Reason    string       `json:"reason,omitempty"`
		Fields    []Difference `json:"fields"` // only those that differ
	}
	// Actor is who asked; the server itself has neither name nor address.
	Actor struct {
		Principal string `json:"principal,omitempty"`
		Address   string `json:"address,omitempty"`
		Agent     string `json:"agent,omitempty"`
	}
	// Difference is one field before and after; null is what was not there.
	Difference struct {
		Field  string `json:"field"`
		Before any    `json:"before"`
		After  any    `json:"after"`
	}
	// Event is one thing that happened, and the change that it tells of.
	Event struct {
		Type string `json:"type"`
		Change
	}
)

// changeOf makes the JSON form of a change.
func changeOf(rev naming.Revision, index int, at naming.Micros, c *naming.Change) Change {
	about := naming.SubjectOf(c.Object())
	out := Change{
		Revision: uint64(rev), Index: index, Time: micros(at), Action: action(c), Kind: about.Kind,
		Namespace: about.Service.Namespace, Service: about.Service.Name, ID: about.ID, Host: about.Host, Port: about.Port,
		Actor: Actor{Principal: c.Actor.Principal, Address: c.Actor.Address, Agent: c.Actor.Agent}, Cause: string(c.Cause), Reason: c.Reason, Fields: []Difference{},
	}
	for _, d := range naming.Differences(c) {
		out.Fields = append(out.Fields, Difference(d))
	}
	return out
}

func action(c *naming.Change) string {
	switch {
	case c.Before == nil:
		return "created"
	case c.After == nil:
		return "deleted"
	default:
		return "updated"
	}
}

// size is about how many bytes a change takes as JSON.
func (c *Change) size() int {
	n := 512 + len(c.Reason)
	for _, d := range c.Fields {
		before, _ := d.Before.(string)
		after, _ := d.After.(string)
		n += 64 + len(d.Field) + len(before) + len(after)
	}
	return n
}

// about chooses changes by what they are about and who made them; empty parts
// choose all.
type about struct {
	kind, namespace, service, instance, actor string
	cause                                     naming.Cause
	sees                                      func(naming.ServiceKey) bool // what the reader may read; nil: everything
}

// subject is what all that is chosen belongs to: a service, a namespace with
// what of it the reader may read, or the server as a whole.
func (a *about) subject() naming.ServiceKey {
	if a.namespace == "" {
		return naming.ServiceKey{}
	}
	return naming.ServiceKey{Namespace: a.namespace, Name: a.service}
}

// aboutFilters are the parameters of [about].
func aboutFilters(more ...string) []string {
	return append([]string{"kind", "namespace", "service", "instance", "actor", "cause"}, more...)
}

// subjectKinds are the values of kind.
var subjectKinds = []string{
	"namespace", "service", "alias", "instance", "override", "contract", "client", "user", "group", "token", "policy", "refusal",
}

func readAbout(q query) (about, *refusal) {
	a := about{
		kind: q.text["kind"], namespace: q.text["namespace"], service: q.text["service"], instance: q.text["instance"], actor: q.text["actor"],
	}
	if a.kind != "" && !slices.Contains(subjectKinds, a.kind) {
		return a, bad("kind", fmt.Sprintf("kind: %.64q is none of %s", a.kind, strings.Join(subjectKinds, ", ")))
	}
	if text := q.text["cause"]; text != "" {
		var known []string
		for _, c := range naming.Causes() {
			word := strings.ReplaceAll(string(c), " ", "-")
			known = append(known, word)
			if text == word || text == string(c) {
				a.cause = c
			}
		}
		if a.cause == "" {
			return a, bad("cause", fmt.Sprintf("cause: %.64q is none of %s", text, strings.Join(known, ", ")))
		}
	}
	return a, nil
}

func (a *about) matches(c *naming.Change) bool {
	if a.cause != "" && c.Cause != a.cause || a.actor != "" && c.Actor.Principal != a.actor && c.Actor.Address != a.actor {
		return false
	}
	s := naming.SubjectOf(c.Object())
	if a.sees != nil && s.Service.Namespace != "" && !a.sees(s.Service) {
		return false
	}
	return (a.kind == "" || a.kind == s.Kind) && (a.namespace == "" || a.namespace == s.Service.Namespace) &&
		(a.service == "" || a.service == s.Service.Name) && (a.instance == "" || a.instance == s.ID)
}

// place is where a change or event stands in the log.
type place struct {
	revision naming.Revision
	index    int
}

// whole is the index of a place after all of its revision.
const whole = math.MaxInt

func (p place) String() string {
	if p.index == whole {
		return strconv.FormatUint(uint64(p.revision), 10)
	}
	return fmt.Sprintf("%d:%d", p.revision, p.index)
}

// parsePlace reads revision:index, or a revision alone, whose index is then
// alone.
func parsePlace(name, text string, alone int) (place, *refusal) {
	rev, index, both := strings.Cut(text, ":")
	n, err := strconv.ParseUint(rev, 10, 64)
	p := place{naming.Revision(n), alone}
	if err == nil && both {
		p.index, err = strconv.Atoi(index)
	}
	if err != nil || p.index < 0 {
		return p, bad(name, fmt.Sprintf("%s: %.64q is neither a revision nor revision:index", name, text))
	}
	return p, nil
}

// revisionIn reads a parameter that is a revision; false when it is not there.
func revisionIn(q query, name string) (naming.Revision, bool, *refusal) {
	text := q.text[name]
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, &refusal{http.StatusBadRequest, name, fmt.Sprintf("%s: %.64q is not a revision", name, text)}
	}
	return naming.Revision(n), true, nil
}
