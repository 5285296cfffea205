package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// lockWait is how many seconds a server waits for another that migrates.
const lockWait = 30

// migrate applies what is missing of the numbered migrations, each once, under
// a lock of the database, so that servers may start together.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err = conn.ExecContext(ctx, "SET SESSION wait_timeout = 600"); err != nil { // the lock ends with the connection
		return err
	}
	var got sql.NullInt64
	if err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('polestar_migrate.', DATABASE()), ?)", lockWait).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fmt.Errorf("another server has been changing the schema for %d s", lockWait)
	}
	defer func() {
		_, unlock := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(CONCAT('polestar_migrate.', DATABASE()))")
		err = errors.Join(err, unlock)
	}()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectMySQL, db, files, goose.WithTableName("polestar_schema"))
	if err != nil {
		return err
	}
	at, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; at > newest {
		return fmt.Errorf("the schema has version %d, made by a newer program; this one knows up to version %d", at, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("change the schema: %w", err)
	}
	return nil
}
