package mysql

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"polestar/naming"
	"polestar/store/codec"
)

// view is the world inside a transaction that holds the lock of the head. What
// the writes need is read in one request; anything else when it is asked for.
type view struct {
	ctx  context.Context //nolint:containedctx // a view lives as long as one call
	conn *sql.Conn

	head     naming.Revision
	newest   naming.Record // that of the head
	logBytes uint64
	oldest   []logRow // of the change log

	namespaces map[string]*naming.Namespace
	services   map[naming.ServiceKey]*naming.Service
	instances  map[string]*naming.Instance
	clients    map[string]*naming.Client
	contracts  map[string]*naming.Contract // by naming.ContractKey
	overrides  map[string]*naming.Override
	epochs     map[string]uint64            // of duties
	ids        map[naming.ServiceKey]string // of services whose instances were read
	access     []naming.Object              // all of them, once they were read
	accessible bool
}

// logRow is what is known of one old record of the change log.
type logRow struct {
	revision naming.Revision
	bytes    uint64
	time     naming.Micros
}

// wanted are keys without duplicates.
type wanted struct {
	namespaces, instances, clients map[string]bool
	services                       map[naming.ServiceKey]bool
	contracts                      map[string]*naming.Contract
	duties                         map[string]bool
	access                         bool
}

func gather(writes []naming.Write) (wanted, error) {
	w := wanted{
		map[string]bool{}, map[string]bool{}, map[string]bool{}, map[naming.ServiceKey]bool{}, map[string]*naming.Contract{}, map[string]bool{}, false,
	}
	for _, wr := range writes {
		n, err := naming.NeedsOf(wr)
		if err != nil {
			return w, err
		}
		for _, k := range n.Namespaces {
			w.namespaces[k] = true
		}
		for _, k := range n.Services {
			w.services[k] = true
		}
		for _, k := range n.Instances {
			w.instances[k] = true
		}
		for _, k := range n.Clients {
			w.clients[k] = true
		}
		for _, d := range n.Duties {
			w.duties[d] = true
		}
		for _, c := range n.Contracts {
			w.contracts[c.ObjectKey()] = c
		}
		w.access = w.access || n.Access
	}
	return w, nil
}

// begin starts a transaction, takes the lock and reads what the writes need.
func begin(ctx context.Context, conn *sql.Conn, writes []naming.Write) (*view, error) {
	v := &view{
		ctx: ctx, conn: conn,
		namespaces: map[string]*naming.Namespace{}, services: map[naming.ServiceKey]*naming.Service{},
		instances: map[string]*naming.Instance{}, clients: map[string]*naming.Client{},
		contracts: map[string]*naming.Contract{}, overrides: map[string]*naming.Override{}, epochs: map[string]uint64{}, ids: map[naming.ServiceKey]string{},
	}
	var r reading
	r.add("START TRANSACTION", nil)
	r.add("SELECT revision, log_bytes FROM polestar_head WHERE id = 1 FOR UPDATE", func(rows *sql.Rows) error {
		return rows.Scan(&v.head, &v.logBytes)
	})
	r.add("SELECT l.writer, l.seq FROM polestar_head h JOIN polestar_log l ON l.revision = h.revision WHERE h.id = 1", func(rows *sql.Rows) error {
		return rows.Scan(&v.newest.Writer, &v.newest.Seq)
	})
	r.add("SELECT revision, LENGTH(record), time FROM polestar_log ORDER BY revision LIMIT ?", func(rows *sql.Rows) error {
		var l logRow
		err := rows.Scan(&l.revision, &l.bytes, &l.time)
		v.oldest = append(v.oldest, l)
		return err
	}, trimPerCommit)
	needed, err := gather(writes)
	if err != nil {
		return v, err
	}
	v.want(&r, needed)
	return v, r.run(ctx, conn)
}

// want adds the reading of objects; those that are not found are known to be
// missing.
func (v *view) want(r *reading, w wanted) {
	if names := slices.Sorted(maps.Keys(w.namespaces)); len(names) > 0 {
		known(v.namespaces, names)
		r.each(selectNamespace+" AND name IN (??)", names, func(rows *sql.Rows) error {
			n, err := scanNamespace(rows, nil)
			if err == nil {
				v.namespaces[n.Name] = n
			}
			return err
		})
	}
	if keys := slices.SortedFunc(maps.Keys(w.services), naming.ServiceKey.Compare); len(keys) > 0 {
		v.wantServices(r, keys)
	}
	if ids := slices.Sorted(maps.Keys(w.instances)); len(ids) > 0 {
		v.wantInstances(r, ids)
	}
	if ids := slices.Sorted(maps.Keys(w.clients)); len(ids) > 0 {
		v.wantClients(r, ids)
	}
	for _, duty := range slices.Sorted(maps.Keys(w.duties)) {
		v.wantEpoch(r, duty)
	}
	if w.access && !v.accessible {
		v.accessible = true
		r.add(selectAccess, func(rows *sql.Rows) error {
			o, err := scanAccess(rows)
			if err == nil {
				v.access = append(v.access, o)
			}
			return err
		})
	}
	for key, c := range w.contracts {
		v.contracts[key] = nil
		r.add(selectContract+" WHERE namespace = ? AND service = ? AND id = ?", v.addContract, c.Service.Namespace, c.Service.Name, c.ID())
	}
}

func known[K comparable, V any](m map[K]*V, keys []K) {
	for _, k := range keys {
		m[k] = nil
	}
}

func (v *view) addContract(rows *sql.Rows) error {
	c, err := scanContract(rows, nil)
	if err == nil {
		v.contracts[c.ObjectKey()] = c
	}
	return err
}

func (v *view) wantServices(r *reading, keys []naming.ServiceKey) {
	known(v.services, keys)
	byID := map[string]*naming.Service{}
	r.add(selectService+" AND "+placed(len(keys)), func(rows *sql.Rows) error {
		s, _, err := scanService(rows, nil)
		if err == nil {
			v.services[s.Key], byID[s.ID] = s, s
		}
		return err
	}, placedArgs(keys)...)
	r.add("SELECT m.id, m.mkey, m.mvalue FROM service_metadata m JOIN service s ON s.id = m.id WHERE s.flag = 0 AND "+
		placed(len(keys))+" ORDER BY m.id, m.mkey", func(rows *sql.Rows) error {
		id, p, err := scanPair(rows, nil)
		if s := byID[id]; s != nil {
			s.Metadata = sortPairs(append(s.Metadata, p))
		}
		return err
	}, placedArgs(keys)...)
}

func (v *view) wantInstances(r *reading, ids []string) {
	known(v.instances, ids)
	known(v.overrides, ids)
	r.each(selectInstance+" AND i.id IN (??)", ids, func(rows *sql.Rows) error {
		i, service, err := scanInstance(rows, nil)
		if err == nil {
			v.instances[i.ID], v.ids[i.Service] = i, service
		}
		return err
	})
	r.each("SELECT id, mkey, mvalue FROM instance_metadata WHERE id IN (??) ORDER BY id, mkey", ids, func(rows *sql.Rows) error {
		id, p, err := scanPair(rows, nil)
		if i := v.instances[id]; i != nil { // of a deleted one there is metadata, too
			i.Metadata = append(i.Metadata, p)
		}
		return err
	})
	r.each(selectOverride+" WHERE instance_id IN (??)", ids, func(rows *sql.Rows) error {
		o, err := scanOverride(rows)
		if err == nil {
			v.overrides[o.InstanceID] = o
		}
		return err
	})
	r.then(func() {
		for _, i := range v.instances {
			if i != nil {
				i.Metadata = sortPairs(i.Metadata)
			}
		}
	})
}

func (v *view) wantClients(r *reading, ids []string) {
	known(v.clients, ids)
	r.each(selectClient+" AND id IN (??)", ids, func(rows *sql.Rows) error {
		c, err := scanClient(rows, nil)
		if err == nil {
			v.clients[c.ID] = c
		}
		return err
	})
	r.each(selectStat+" WHERE client_id IN (??) ORDER BY client_id, polestar_place", ids, func(rows *sql.Rows) error {
		id, s, err := scanStat(rows, nil)
		if c := v.clients[id]; c != nil {
			c.Stats = append(c.Stats, s)
		}
		return err
	})
}

// more reads objects that no write said it needs.
func (v *view) more(w wanted) error {
	var r reading
	v.want(&r, w)
	return r.run(v.ctx, v.conn)
}

// Namespace implements naming.View.
func (v *view) Namespace(name string) (*naming.Namespace, error) {
	return one(v, v.namespaces, name, wanted{namespaces: map[string]bool{name: true}})
}

// Service implements naming.View.
func (v *view) Service(key naming.ServiceKey) (*naming.Service, error) {
	return one(v, v.services, key, wanted{services: map[naming.ServiceKey]bool{key: true}})
}

// Instance implements naming.View.
func (v *view) Instance(id string) (*naming.Instance, error) {
	return one(v, v.instances, id, wanted{instances: map[string]bool{id: true}})
}

// Client implements naming.View.
func (v *view) Client(id string) (*naming.Client, error) {
	return one(v, v.clients, id, wanted{clients: map[string]bool{id: true}})
}

// Override implements naming.View.
func (v *view) Override(id string) (*naming.Override, error) {
	return one(v, v.overrides, id, wanted{instances: map[string]bool{id: true}})
}

// one returns an object that was read, else reads it.
func one[K comparable, V any](v *view, from map[K]*V, key K, w wanted) (*V, error) {
	if _, read := from[key]; !read {
		if err := v.more(w); err != nil {
			return nil, err
		}
	}
	return from[key], nil
}

// Contract implements naming.View.
func (v *view) Contract(key naming.ServiceKey, id string) (*naming.Contract, error) {
	at := naming.ContractKey(key, id)
	if _, read := v.contracts[at]; read {
		return v.contracts[at], nil
	}
	var r reading
	v.contracts[at] = nil
	r.add(selectContract+" WHERE namespace = ? AND service = ? AND id = ?", v.addContract, key.Namespace, key.Name, id)
	err := r.run(v.ctx, v.conn)
	return v.contracts[at], err
}

// Access implements naming.View.
func (v *view) Access(visit func(naming.Object)) error {
	if err := v.more(wanted{access: true}); err != nil {
		return err
	}
	for _, o := range v.access {
		visit(o)
	}
	return nil
}

// Usage implements naming.View.
func (v *view) Usage(key naming.ServiceKey) (u naming.Usage, err error) {
	s, err := v.Service(key)
	if s == nil {
		return u, err
	}
	var r reading
	r.add("SELECT COUNT(*) FROM instance WHERE flag = 0 AND service_id = ?", func(rows *sql.Rows) error { return rows.Scan(&u.Instances) }, s.ID)
	r.add("SELECT COUNT(*) FROM service WHERE flag = 0 AND reference = ?", func(rows *sql.Rows) error { return rows.Scan(&u.Aliases) }, s.ID)
	return u, r.run(v.ctx, v.conn)
}

// ServicesIn implements naming.View.
func (v *view) ServicesIn(namespace string, visit func(naming.ServiceKey) bool) error {
	var r reading
	going := true
	r.add("SELECT name FROM service WHERE flag = 0 AND namespace = ?", func(rows *sql.Rows) error {
		key := naming.ServiceKey{Namespace: namespace}
		err := rows.Scan(&key.Name)
		going = err == nil && going && visit(key)
		return err
	}, namespace)
	return r.run(v.ctx, v.conn)
}

// ContractsOf implements naming.View.
func (v *view) ContractsOf(key naming.ServiceKey, visit func(*naming.Contract)) error {
	var r reading
	r.add(selectContract+" WHERE namespace = ? AND service = ?", func(rows *sql.Rows) error {
		c, err := scanContract(rows, codec.Interner{})
		if err == nil {
			visit(c)
		}
		return err
	}, key.Namespace, key.Name)
	return r.run(v.ctx, v.conn)
}
