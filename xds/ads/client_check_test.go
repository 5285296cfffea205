package ads

import (
	"fmt"
	"strings"

	"polestar/xds/resource"
)

// owe notes that the endpoints of a cluster must follow it.
func (c *client) owe(r *Response, news []form) {
	eds := &c.types[resource.Endpoints]
	switch r.typ {
	case resource.Cluster:
		for _, f := range news {
			if c.w.watched[resource.Ref{Type: resource.Endpoints, Name: f.name}] && eds.names[f.name] {
				eds.clusters[f.name] = true
				c.note("owed: endpoints %s", f.name)
			}
		}
	case resource.Endpoints:
		for _, res := range r.Resources {
			delete(eds.clusters, res.Name)
		}
		for _, name := range r.Removed {
			delete(eds.clusters, name)
		}
	case resource.LbEndpoint, resource.Listener, resource.Route:
	}
}

func (c *client) apply(r *Response, full bool) {
	ct := &c.types[r.typ]
	before := ct.have
	if full {
		ct.have, ct.unsure = map[string]string{}, false
	}
	for _, res := range r.Resources {
		switch {
		case !ct.names[res.Name] && !ct.wildcard:
		case !c.refuses(res.Name, res.Version):
			ct.have[res.Name] = res.Version
		case full && before[res.Name] != "":
			ct.have[res.Name] = before[res.Name]
		}
	}
	for _, name := range r.Removed {
		delete(ct.have, name)
	}
}

// settle runs until nothing is left to do.
func (c *client) settle() {
	for range 100_000 {
		if !c.stepUp() && !c.stepServer() && !c.stepDown() {
			return
		}
	}
	c.fail("does not come to rest")
}

// check compares what the client has with what exists.
func (c *client) check() {
	for t := range c.types {
		typ, ct := resource.Type(t), &c.types[t]
		if !ct.started {
			continue
		}
		for ref, r := range c.w.resources {
			if ref.Type != typ || !ct.names[ref.Name] && !ct.wildcard {
				continue
			}
			if got := ct.have[ref.Name]; got != r.Version && !c.refuses(ref.Name, r.Version) {
				c.fail("%s %s: has %q, exists in %q", typ, ref.Name, got, r.Version)
			}
		}
		for name, version := range ct.have {
			_, exists := c.w.resources[resource.Ref{Type: typ, Name: name}]
			if !exists && !ct.unsure && (c.delta || typ.FullState()) {
				c.fail("%s %s: has %q, which is gone", typ, name, version)
			}
		}
		for name := range ct.clusters {
			r, exists := c.w.resources[resource.Ref{Type: resource.Endpoints, Name: name}]
			if exists && !c.refuses(name, r.Version) {
				c.fail("endpoints %s did not follow their cluster", name)
			}
		}
	}
}

func (c *client) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *client) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}
