package web

import (
	"fmt"
	"net/http"
	"slices"

	"polestar/auth"
	"polestar/naming"
)

func (s *Server) instance(w http.ResponseWriter, r *http.Request) {
	id, wrong := segment(r, "id")
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.known(w, r) {
		return
	}
	i := s.world(r).Instance(id)
	if i == nil {
		problem(w, http.StatusNotFound, "id", fmt.Sprintf("instance %q is not registered", id))
		return
	}
	tagged(w, i.Revision)
	answer(w, http.StatusOK, instance(i))
}

// change is the body of a PATCH of instances.
type change struct {
	set    naming.Setting
	clear  []string
	reason string
}

// read takes a change from a request; nothing to change is an error.
func (c *change) read(r *http.Request) (naming.Clear, *refusal) {
	there, wrong := decode(r, fields{
		"weight": &c.set.Weight, "healthy": &c.set.Healthy, "isolated": &c.set.Isolated, "protocol": &c.set.Protocol, "version": &c.set.Version,
		"logic_set": &c.set.LogicSet, "priority": &c.set.Priority, "ttl_seconds": &c.set.TTL, "region": &c.set.Region, "zone": &c.set.Zone,
		"campus": &c.set.Campus, "metadata": &c.set.Patch, "clear": &c.clear, "reason": &c.reason,
	})
	if wrong != nil {
		return naming.Clear{}, wrong
	}
	if !slices.ContainsFunc(there, func(name string) bool { return name != "reason" }) {
		return naming.Clear{}, bad("body", "body: nothing to set and nothing to clear")
	}
	var out naming.Clear
	for _, name := range c.clear {
		switch name {
		case "weight":
			out.Weight = true
		case "healthy":
			out.Healthy = true
		case "isolated":
			out.Isolated = true
		default:
			return out, bad("clear", fmt.Sprintf("clear: %.64q is none of weight, healthy, isolated", name))
		}
		if slices.Contains(there, name) {
			return out, bad("clear", fmt.Sprintf("clear: %s is also set", name))
		}
	}
	return out, nil
}

// patchInstance changes one instance on behalf of an operator, or clears what
// is kept of one that is not registered.
func (s *Server) patchInstance(w http.ResponseWriter, r *http.Request) {
	var c change
	mod := naming.Modify{Actor: actor(r)}
	var wrong *refusal
	if mod.ID, wrong = segment(r, "id"); wrong == nil {
		mod.If, wrong = revision(r)
	}
	if wrong == nil {
		mod.Clear, wrong = c.read(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	var ok bool
	if mod.Service, ok = s.mayOperate(w, r, mod.ID); !ok {
		return
	}
	mod.Set, mod.Reason = c.set, c.reason
	res, err := s.deps.Admin.Modify(r.Context(), mod)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	var m Mutation
	if res.Instance != nil {
		m.Instance = new(instance(res.Instance))
		tagged(w, res.Instance.Revision)
	}
	written(w, res, m, escaped("instances", mod.ID))
}

// mayOperate reports whether the caller may operate the instance of an id, and
// whose it is; else it has answered. What nobody knows may be operated by those
// who may operate everything: it may be on its way here from another server.
// Nobody is told whether there is an instance that he may not read.
func (s *Server) mayOperate(w http.ResponseWriter, r *http.Request, id string) (naming.ServiceKey, bool) {
	world, key := s.deps.World(), naming.ServiceKey{}
	if i := world.Instance(id); i != nil {
		key = i.Service
	} else {
		for o := range world.Overrides() {
			if o.InstanceID == id {
				key = o.Service
			}
		}
	}
	if c := callerOf(r); c.err == nil {
		on := auth.ResourceOf(world, key)
		if s.deps.Auth.Allow(r.Context(), c.api, c.principal, auth.Operate, on) == nil {
			return key, true
		}
		if key == (naming.ServiceKey{}) || !s.sees(r)(key) {
			s.turnDown(w, r, auth.Operate, on, &auth.Error{Reason: auth.Forbidden, Msg: fmt.Sprintf("%s may not operate instance %.128q, if there is one", c.principal.Name, id)})
			return key, false
		}
	}
	return key, s.may(w, r, auth.Operate, key)
}

// patchInstances changes all instances of a service on a host, in one revision.
func (s *Server) patchInstances(w http.ResponseWriter, r *http.Request) {
	q, wrong := parse(r, "namespace", "service", "host", "port")
	place := naming.Place{Service: q.key(), Host: q.text["host"]}
	if text := q.text["port"]; wrong == nil && text != "" {
		var port int
		if what := number(text, naming.MaxPort, &port); what != "" {
			wrong = bad("port", "port: "+what)
		}
		place.Port = uint32(port)
	}
	var c change
	all := naming.ModifyAll{Actor: actor(r)}
	if wrong == nil {
		all.Clear, wrong = c.read(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if !s.may(w, r, auth.Operate, place.Service) {
		return
	}
	all.Set, all.Reason = c.set, c.reason
	res, err := s.deps.Admin.ModifyHost(r.Context(), place, all)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	m := Mutation{Instances: []Instance{}}
	for _, i := range res.Instances {
		m.Instances = append(m.Instances, instance(i))
	}
	written(w, res, m, "")
}

func (s *Server) deleteInstance(w http.ResponseWriter, r *http.Request) {
	del := naming.Deregister{Actor: actor(r), Cause: naming.CauseOperator}
	var wrong *refusal
	if del.ID, wrong = segment(r, "id"); wrong == nil {
		del.If, del.Reason, wrong = deletion(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	var ok bool
	if del.Service, ok = s.mayOperate(w, r, del.ID); !ok {
		return
	}
	res, err := s.deps.Admin.Remove(r.Context(), del)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	var m Mutation
	if res.Instance != nil {
		m.Instance = new(instance(res.Instance))
	}
	written(w, res, m, escaped("instances", del.ID))
}

func (s *Server) deleteOverride(w http.ResponseWriter, r *http.Request) {
	del := naming.DropOverride{Actor: actor(r), Cause: naming.CauseOperator}
	var wrong *refusal
	if del.ID, wrong = segment(r, "id"); wrong == nil {
		del.If, del.Reason, wrong = deletion(r)
	}
	if wrong != nil {
		wrong.write(w)
		return
	}
	if _, ok := s.mayOperate(w, r, del.ID); !ok {
		return
	}
	res, err := s.deps.Admin.DropOverride(r.Context(), del)
	if err != nil {
		s.failed(w, err, nil)
		return
	}
	written(w, res, Mutation{}, escaped("overrides", del.ID))
}
