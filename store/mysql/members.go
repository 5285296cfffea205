package mysql

import (
	"context"
	"database/sql"

	"polestar/naming"
)

// Announce implements store.Members.
func (s *Store) Announce(ctx context.Context, m naming.Member) ([]naming.Member, error) {
	var out []naming.Member
	var r reading
	r.add(`INSERT INTO polestar_member (id, address, beat, deaf_to) VALUES (?, ?, 1, ?)
ON DUPLICATE KEY UPDATE address = VALUES(address), beat = beat + 1, deaf_to = VALUES(deaf_to)`, nil, m.ID, m.Address, listText(m.DeafTo))
	r.add("SELECT id, address, beat, deaf_to FROM polestar_member ORDER BY id", func(rows *sql.Rows) error {
		var member naming.Member
		var deaf string
		if err := rows.Scan(&member.ID, &member.Address, &member.Beat, &deaf); err != nil {
			return err
		}
		var err error
		member.DeafTo, err = list(deaf)
		out = append(out, member)
		return err
	})
	if err := s.read(ctx, &r); err != nil {
		return nil, err
	}
	return out, nil
}

// Remove implements store.Members.
func (s *Store) Remove(ctx context.Context, m naming.Member) error {
	var r reading
	r.add("DELETE FROM polestar_member WHERE id = ? AND beat = ?", nil, m.ID, m.Beat)
	return s.read(ctx, &r)
}
