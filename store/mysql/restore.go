package mysql

import (
	"context"
	"database/sql"

	"polestar/naming"
	"polestar/store"
)

// restoreRows is how many objects are written with one request.
const restoreRows = 500

// Restore implements store.Restorer, in one transaction.
func (s *Store) Restore(ctx context.Context, load store.LoadFunc) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return notDone(err)
	}
	defer func() { _ = conn.Close() }()
	defer func() {
		if err != nil {
			abandon(ctx, conn)
		}
	}()
	v, err := begin(ctx, conn, nil)
	if err != nil {
		return notDone(err)
	}
	if v.head != 0 {
		return naming.Errorf(naming.Conflict, "store", "the store is not empty, it has revision %d; nothing was done", v.head)
	}
	r := restoring{ctx: ctx, conn: conn, v: v, ids: map[naming.ServiceKey]string{}}
	head, err := load(ctx, r.object, r.touched)
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return notDone(err)
	}
	var end script
	for key, rev := range r.marks {
		end.add("UPDATE service SET polestar_touched = ? WHERE name = ? AND namespace = ?", uint64(rev), key.Name, key.Namespace)
	}
	end.add("UPDATE polestar_head SET revision = ?, log_bytes = 0, log_from = ? WHERE id = 1", uint64(head), uint64(head))
	last, err := end.run(ctx, conn, "COMMIT")
	switch {
	case err == nil:
		return nil
	case last && !undone(err):
		return unknown(err)
	default:
		return notDone(err)
	}
}

// restoring writes objects in groups, as one commit would.
type restoring struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	conn    *sql.Conn
	v       *view
	ids     map[naming.ServiceKey]string
	aliases []*naming.Service
	group   []naming.Change
	marks   map[naming.ServiceKey]naming.Revision
}

func (r *restoring) touched(t naming.Touched) error {
	if r.marks == nil {
		r.marks = map[naming.ServiceKey]naming.Revision{}
	}
	r.marks[t.Service] = t.Revision
	return nil
}

func (r *restoring) object(o naming.Object) error {
	if s, ok := o.(*naming.Service); ok {
		r.ids[s.Key] = s.ID
		if s.IsAlias() { // what it stands for may come later
			r.aliases = append(r.aliases, s)
			return nil
		}
	}
	r.group = append(r.group, naming.Change{After: o})
	if len(r.group) >= restoreRows {
		return r.write()
	}
	return nil
}

// flush writes what is left.
func (r *restoring) flush() error {
	for _, s := range r.aliases {
		r.group = append(r.group, naming.Change{After: s})
	}
	return r.write()
}

func (r *restoring) write() error {
	w := writing{v: r.v, commit: naming.Commit{Changes: r.group}, ids: r.ids, gone: map[naming.ServiceKey]bool{}, touched: map[string]bool{}}
	for _, f := range finals(w.commit) {
		if err := w.object(f); err != nil {
			return err
		}
	}
	r.group = nil
	var out script
	w.mainRows(&out)
	w.details(&out)
	_, err := out.run(r.ctx, r.conn, "DO 0")
	return err
}
