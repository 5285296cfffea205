package mysql

import (
	"context"
	"database/sql"
	"time"

	"polestar/naming"
)

// Lead implements store.Elections. Each statement is a transaction of its own,
// and changes the row only if it is as it must be. Who takes a duty over waits
// for the commits that are fenced by the epoch before: they hold the row. Other
// nodes of a Galera cluster do not know of that, so the head is changed as well:
// those commits are then refused.
func (s *Store) Lead(ctx context.Context, duty, server string, term time.Duration) (naming.Leader, error) {
	seconds, l := int64(term/time.Second), naming.Leader{Duty: duty}
	var r reading
	r.add("INSERT IGNORE INTO leader_election (elect_key, version, leader, polestar_until) VALUES (?, 0, '', 0)", nil, duty)
	r.add(`UPDATE polestar_head h STRAIGHT_JOIN leader_election e
SET h.fence = h.fence + 1, e.version = e.version + 1, e.leader = ?, e.ctime = NOW(6), e.mtime = NOW(6), e.polestar_until = UNIX_TIMESTAMP() + ?
WHERE h.id = 1 AND e.elect_key = ? AND e.leader <> ? AND e.polestar_until <= UNIX_TIMESTAMP()`, nil, server, seconds, duty, server)
	r.add("UPDATE leader_election SET mtime = NOW(6), polestar_until = UNIX_TIMESTAMP() + ? WHERE elect_key = ? AND leader = ?",
		nil, seconds, duty, server)
	r.add("SELECT leader, version, ctime FROM leader_election WHERE elect_key = ?", func(rows *sql.Rows) error {
		var since time.Time
		err := rows.Scan(&l.ID, &l.Epoch, &since)
		l.Since = micros(since)
		return err
	}, duty)
	return l, s.read(ctx, &r)
}

// Resign implements store.Elections.
func (s *Store) Resign(ctx context.Context, l naming.Leader) error {
	var r reading
	r.add("UPDATE leader_election SET leader = '', polestar_until = 0 WHERE elect_key = ? AND leader = ? AND version = ?", nil,
		l.Duty, l.ID, l.Epoch)
	return s.read(ctx, &r)
}

// wantEpoch adds the reading of a duty's epoch. Its row is locked, so that
// nobody takes the duty over before the commit.
func (v *view) wantEpoch(r *reading, duty string) {
	v.epochs[duty] = 0
	r.add("SELECT version FROM leader_election WHERE elect_key = ? FOR UPDATE", func(rows *sql.Rows) error {
		var epoch uint64
		err := rows.Scan(&epoch)
		v.epochs[duty] = epoch
		return err
	}, duty)
}

// Epoch implements naming.View.
func (v *view) Epoch(duty string) (uint64, error) {
	if _, read := v.epochs[duty]; !read {
		if err := v.more(wanted{duties: map[string]bool{duty: true}}); err != nil {
			return 0, err
		}
	}
	return v.epochs[duty], nil
}
