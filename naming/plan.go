package naming

// View reads the stored world inside a transaction. A missing object is nil
// without an error. Returned objects are never modified.
type View interface {
	Namespace(name string) (*Namespace, error)
	Service(key ServiceKey) (*Service, error)
	Instance(id string) (*Instance, error)
	Client(id string) (*Client, error)
}

// Plan decides a group of writes in arrival order, each on the world as the
// ones before it leave it. It is pure: the store calls it inside its
// transaction, writes the changes, and commits them as revision next.
//
// One result per write. A refused write has its Err set and changes nothing;
// its neighbours go on. When no write changes anything, the commit has no
// changes and revision 0, and nothing must be written: results then carry the
// revision before. An error means that the view failed.
func Plan(next Revision, now Micros, v View, writes []Write) (Commit, []Result, error) {
	o := &overlay{
		view: v, revision: next, now: now,
		namespaces: map[string]*Namespace{}, services: map[ServiceKey]*Service{},
		instances: map[string]*Instance{}, clients: map[string]*Client{},
	}
	results := make([]Result, len(writes))
	for n, w := range writes {
		r, err := w.decide(o)
		if err != nil {
			return Commit{}, nil, err
		}
		results[n] = r
	}
	head := next - 1
	commit := Commit{Time: now, Changes: o.changes}
	if len(o.changes) > 0 {
		commit.Revision = next
	}
	for n := range results {
		if results[n].Revision == 0 && results[n].Err == nil {
			results[n].Revision = head
			if results[n].madeBy(next) {
				results[n].Revision = next // a neighbour in this very group made it so
			}
		}
	}
	return commit, results, nil
}

func (r *Result) madeBy(rev Revision) bool {
	return r.Instance != nil && r.Instance.Revision == rev || r.Client != nil && r.Client.Revision == rev
}

// overlay is the view plus what the group has decided so far.
type overlay struct {
	view     View
	revision Revision
	now      Micros
	changes  []Change

	// A nil value is an object that the group deleted.
	namespaces map[string]*Namespace
	services   map[ServiceKey]*Service
	instances  map[string]*Instance
	clients    map[string]*Client
}

func (o *overlay) Namespace(name string) (*Namespace, error) {
	if n, ok := o.namespaces[name]; ok {
		return n, nil
	}
	return o.view.Namespace(name)
}

func (o *overlay) Service(key ServiceKey) (*Service, error) {
	if s, ok := o.services[key]; ok {
		return s, nil
	}
	return o.view.Service(key)
}

func (o *overlay) Instance(id string) (*Instance, error) {
	if i, ok := o.instances[id]; ok {
		return i, nil
	}
	return o.view.Instance(id)
}

func (o *overlay) Client(id string) (*Client, error) {
	if c, ok := o.clients[id]; ok {
		return c, nil
	}
	return o.view.Client(id)
}

// absent is the answer for an instance that is not there.
func (o *overlay) absent(id string) Result {
	if _, here := o.instances[id]; here {
		return Result{Outcome: Absent, Revision: o.revision} // a neighbour removed it
	}
	return Result{Outcome: Absent}
}

// putInstance stores after unless it looks like before.
func (o *overlay) putInstance(before, after *Instance, c Change) Result {
	after.Created, after.Modified, after.Revision = o.now, o.now, o.revision
	if before == nil {
		o.put(nil, after, c)
		return Result{Outcome: Created, Instance: after, Revision: o.revision}
	}
	if before.SameContent(after) {
		return Result{Outcome: Unchanged, Instance: before}
	}
	after.Created = before.Created
	o.put(before, after, c)
	return Result{Outcome: Updated, Instance: after, Revision: o.revision}
}

// put records one change; before or after is nil for a creation or deletion.
func (o *overlay) put(before, after Object, c Change) {
	c.Before, c.After = before, after
	o.changes = append(o.changes, c)
	switch x := c.Object().(type) {
	case *Namespace:
		o.namespaces[x.Name] = unless(c.Deleted(), x)
	case *Service:
		o.services[x.Key] = unless(c.Deleted(), x)
	case *Instance:
		o.instances[x.ID] = unless(c.Deleted(), x)
	case *Client:
		o.clients[x.ID] = unless(c.Deleted(), x)
	}
}

func unless[T any](deleted bool, x *T) *T {
	if deleted {
		return nil
	}
	return x
}
