package mysql

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// The migrations can be run again from their beginning: a server may die in
// the middle of one, and databases commit each change of a table by itself.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate applies what is missing of the numbered migrations. When nothing is,
// as nearly always, it takes no lock.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectMySQL, s.db, files, goose.WithTableName("polestar_schema"))
	if err != nil {
		return err
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	at, err := s.version(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the schema's version: %w", err)
	case at > newest:
		return fmt.Errorf("the schema has version %d, made by a newer program; this one knows up to version %d", at, newest)
	case at == newest:
		return nil
	}
	err = s.alone(ctx, func(ctx context.Context) error {
		_, up := p.Up(ctx)
		return up
	})
	if err != nil {
		return fmt.Errorf("change the schema: %w", err)
	}
	return nil
}

// version is that of the schema, 0 for none.
func (s *Store) version(ctx context.Context) (at int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err = s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM polestar_schema").Scan(&at)
	if number(err) == errNoTable {
		return 0, nil
	}
	return at, err
}
