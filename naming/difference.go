package naming

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Difference is one field of an object that a change made otherwise. The
// values are texts, numbers (uint32) or bools; nil stands for what is not
// there: the object, a key of metadata, or an operator's setting.
type Difference struct {
	Field         string
	Before, After any
}

// Differences lists what a change made otherwise, in a steady order. Of an object
// that came or went it lists every field that is not empty. What identifies
// the object (see [Subject]), times and revisions are left out.
func Differences(c *Change) []Difference {
	var d differ
	switch x := c.Object().(type) {
	case *Namespace:
		compare(&d, c, x, namespaceFields)
	case *Service:
		compare(&d, c, x, serviceFields)
	case *Instance:
		compare(&d, c, x, instanceFields)
	case *Override:
		compare(&d, c, x, func(o *Override, f func(string, any)) { o.Operator.fields(f) })
	case *Client:
		compare(&d, c, x, clientFields)
	case *Contract:
		compare(&d, c, x, contractFields)
	case *User:
		compare(&d, c, x, userFields)
	case *Group:
		compare(&d, c, x, func(g *Group, f func(string, any)) {
			f("comment", g.Comment)
			f("members", strings.Join(g.Members, ","))
		})
	case *Token:
		compare(&d, c, x, tokenFields)
	case *Policy:
		compare(&d, c, x, policyFields)
	case *Refusal:
		compare(&d, c, x, refusalFields)
	}
	return d.differences(c)
}

// differ gathers the fields of both sides.
type differ struct {
	order         []string
	before, after map[string]any
}

// compare reads the fields of both sides of a change; the third argument only
// says of which type they are.
func compare[T Object](d *differ, c *Change, _ T, fields func(T, func(string, any))) {
	d.before, d.after = map[string]any{}, map[string]any{}
	read := func(o Object, into map[string]any) {
		x, ok := o.(T)
		if !ok {
			return
		}
		fields(x, func(name string, value any) {
			if _, seen := d.before[name]; !seen {
				d.order = append(d.order, name)
			}
			into[name] = value
		})
	}
	read(c.Before, d.before)
	read(c.After, d.after)
}

func (d *differ) differences(c *Change) (out []Difference) {
	for _, name := range d.order {
		x := Difference{Field: name, Before: d.before[name], After: d.after[name]}
		whole, equal := c.Before == nil || c.After == nil, x.Before == x.After
		x.Before, x.After = masked(x.Before), masked(x.After)
		if equal || whole && empty(x.Before) && empty(x.After) {
			continue
		}
		if of, own := strings.CutPrefix(name, ownPrefix); own && d.before[setPrefix+of] == nil && d.after[setPrefix+of] == nil {
			continue // it is in force, and so told already
		}
		out = append(out, x)
	}
	return out
}

func empty(v any) bool { return v == nil || v == "" || v == uint32(0) || v == false }

// The names of what an operator set and of what the client says beside that.
const (
	setPrefix = "set."
	ownPrefix = "own."
)

func (m Metadata) fields(f func(string, any)) {
	for _, p := range m {
		f("metadata."+p.Key, p.Value)
	}
}

func (l Location) fields(f func(string, any)) {
	f("region", l.Region)
	f("zone", l.Zone)
	f("campus", l.Campus)
}

// fields of what an operator set; what is not set is nil.
func (o *Operator) fields(f func(string, any)) {
	if o == nil {
		return
	}
	pointed(f, setPrefix+"weight", o.Weight)
	pointed(f, setPrefix+"healthy", o.Healthy)
	pointed(f, setPrefix+"isolated", o.Isolated)
}

func pointed[T any](f func(string, any), name string, p *T) {
	if p != nil {
		f(name, *p)
	}
}

func namespaceFields(n *Namespace, f func(string, any)) {
	f("comment", n.Comment)
	f("owner", n.Owner)
	f("service_export_to", strings.Join(n.ServiceExportTo, ","))
}

func serviceFields(s *Service, f func(string, any)) {
	if s.IsAlias() {
		f("for", s.AliasFor.String())
	}
	f("ports", s.Ports)
	f("business", s.Business)
	f("department", s.Department)
	f("comment", s.Comment)
	f("owner", s.Owner)
	for n, text := range s.Cmdb {
		f(fmt.Sprint(FieldCmdb, n+1), text)
	}
	f("export_to", strings.Join(s.ExportTo, ","))
	f("auto_created", s.Auto)
	s.Metadata.fields(f)
}

func instanceFields(i *Instance, f func(string, any)) {
	f("weight", i.Weight)
	f("healthy", i.Healthy)
	f("isolated", i.Isolated)
	i.Operator.fields(f)
	own := i.Own()
	f(ownPrefix+"weight", own.Weight)
	f(ownPrefix+"healthy", own.Healthy)
	f(ownPrefix+"isolated", own.Isolated)
	f("vpc_id", i.VpcID)
	f("protocol", i.Protocol)
	f("version", i.Version)
	f("logic_set", i.LogicSet)
	f("priority", i.Priority)
	f("ttl_seconds", i.TTL)
	i.Location.fields(f)
	i.Metadata.fields(f)
}

func clientFields(c *Client, f func(string, any)) {
	f("host", c.Host)
	f("type", c.Type)
	f("version", c.Version)
	c.Location.fields(f)
	stats := make([]string, len(c.Stats))
	for n, s := range c.Stats {
		stats[n] = fmt.Sprintf("%s:%d%s %s", s.Target, s.Port, s.Path, s.Protocol)
	}
	f("stat", strings.Join(stats, ","))
}

func contractFields(c *Contract, f func(string, any)) {
	f("type", c.Type)
	f("protocol", c.Protocol)
	f("version", c.Version)
	f("body", fmt.Sprintf("%d bytes, SHA-256 %.8x", len(c.Body), sha256.Sum256(c.Body)))
}

// secret is shown as set or as nothing, never as what it is. That another one
// was set is a difference all the same.
type secret string

func masked(v any) any {
	s, ok := v.(secret)
	switch {
	case !ok:
		return v
	case s == "":
		return ""
	default:
		return "set"
	}
}

func userFields(u *User, f func(string, any)) {
	f("id", u.ID)
	f("comment", u.Comment)
	f("main", u.Main)
	f("password", secret(u.Password))
	f("identities", strings.Join(u.Identities, ","))
	f("disabled", u.Disabled)
}

func tokenFields(t *Token, f func(string, any)) {
	f("owner", t.Owner)
	f("hash", secret(t.Hash))
	f("comment", t.Comment)
	f("disabled", t.Disabled)
	f("expires", timeText(t.Expires))
}

func policyFields(p *Policy, f func(string, any)) {
	f("id", p.ID)
	f("comment", p.Comment)
	f("deny", p.Deny)
	f("default", p.Default)
	f("users", strings.Join(p.Users, ","))
	f("groups", strings.Join(p.Groups, ","))
	f("actions", strings.Join(p.Actions, ","))
	all := make([]string, len(p.Resources))
	for n, s := range p.Resources {
		if all[n] = s.Namespace + "/" + s.Service; s.Created {
			all[n] = "created"
		}
	}
	f("resources", strings.Join(all, ","))
}

func refusalFields(r *Refusal, f func(string, any)) {
	f("principal", r.Principal)
	f("address", r.Address)
	f("action", r.Action)
	f("method", r.Method)
	f("count", strconv.FormatUint(r.Count, 10))
	f("first", timeText(r.First))
	f("last", timeText(r.Last))
}

func timeText(m Micros) string {
	if m == 0 {
		return ""
	}
	return time.UnixMicro(int64(m)).UTC().Format(time.RFC3339Nano)
}
