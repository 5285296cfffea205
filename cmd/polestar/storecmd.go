package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polestar/naming"
	"polestar/naming/registry"
	"polestar/store"
	"polestar/store/bolt"
	"polestar/store/mysql"
	"polestar/store/snapshot"
)

// storeKeys are the settings that find a store.
var storeKeys = []string{
	"store", "data-dir", "mysql-dsn", "mysql-password-file", "mysql.timeout",
	"store.log-max-revisions", "store.log-max-age", "store.log-max-bytes",
}

// storeCommand works on a store itself, without a server.
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "store", Short: "Export, import, back up and check a store",
		Long: "Work on a store itself. The store file of a running server is locked; stop the server first.\n" +
			"A database may be in use: it is read as of one moment.",
	}
	addStoreFlags(cmd.PersistentFlags())
	return group(cmd, storeExportCommand(), storeImportCommand(), storeBackupCommand(), storeCheckCommand(), storeMigrateCommand())
}

// addStoreFlags adds the flags that find a store.
func addStoreFlags(fs *pflag.FlagSet) {
	def := defaultConfig()
	for _, s := range settings() {
		if slices.Contains(storeKeys, s.key) {
			fs.String(s.key, s.get(&def), s.help+" (env "+s.env()+")")
		}
	}
	fs.String("config", "", "YAML file with the settings of the server (env "+envPrefix+"CONFIG)")
}

// withStore opens the configured store for one command.
func withStore(cmd *cobra.Command, f func(ctx context.Context, s store.Store) error) (err error) {
	cfg, _, err := loadConfig(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	var s store.Store
	if cfg.Store == backendMySQL {
		my := cfg.MySQL
		my.Log = cfg.Log
		s, err = mysql.Open(cmd.Context(), my)
	} else {
		if _, missing := os.Stat(filepath.Join(cfg.DataDir, bolt.File)); missing != nil && cmd.Annotations["creates"] == "" {
			return fmt.Errorf("there is no store in %s: %w", cfg.DataDir, missing)
		}
		s, err = bolt.Open(bolt.Config{Dir: cfg.DataDir, Log: cfg.Log})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(cmd.Context(), s)
}

func storeExportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export FILE", Short: "Write the whole world to a file, for import into any store", Args: cobra.ExactArgs(1),
		Long: "Write namespaces, services, instances, clients, contracts, operators' settings, users, groups, tokens and policies to a file with a checksum.\n" +
			"The change log stays behind. The file has the hashes of tokens and passwords: keep it as safe as the store.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s store.Store) error {
				r := registry.New()
				if err := load(ctx, s, r); err != nil {
					return err
				}
				if err := snapshot.Write(args[0], r.World()); err != nil {
					return err
				}
				return tell(cmd, "exported", r)
			})
		},
	}
}

func storeImportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Fill an empty store with what export wrote", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{"creates": "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s store.Store) error {
				r := registry.New()
				l := r.Load()
				err := s.Restore(ctx, func(_ context.Context, visit func(naming.Object) error, touched func(naming.Touched) error) (naming.Revision, error) {
					return snapshot.Load(args[0], func(o naming.Object) error { return errors.Join(l.Add(o), visit(o)) }, touched)
				})
				if err != nil {
					return err
				}
				head, err := s.Head(ctx)
				if err != nil {
					return err
				}
				if err := l.Publish(head); err != nil {
					return err
				}
				return tell(cmd, "imported", r)
			})
		},
	}
}

// tell says how much a command carried.
func tell(cmd *cobra.Command, what string, r *registry.Registry) error {
	namespaces, services, instances, clients := r.Snapshot().Counts()
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s revision %d: %d namespaces, %d services, %d instances, %d clients\n",
		what, r.World().Revision(), namespaces, services, instances, clients)
	return err
}

func storeBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy a store file, change log included", Args: cobra.ExactArgs(1),
		Long: "Copy the store file of the embedded store, with its change log. Of a database use its own tools, or export.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s store.Store) (err error) {
				b, ok := s.(*bolt.Store)
				if !ok {
					return errors.New("only the embedded store has a file; use the tools of the database, or polestar store export")
				}
				f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				n, err := b.Backup(ctx, f)
				if err != nil {
					return err
				}
				if err = f.Sync(); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "copied %d bytes\n", n)
				return err
			})
		},
	}
}

func storeCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Read everything and report what does not fit together", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s store.Store) error {
				problems := 0
				err := s.Check(ctx, func(p string) {
					problems++
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), p)
				})
				if err != nil {
					return err
				}
				if problems > 0 {
					return fmt.Errorf("%d problems", problems)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "no problems")
				return err
			})
		},
	}
}

func storeMigrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring a store up to this program's format; a server does that itself", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s store.Store) error { // opening it did it
				head, err := s.Head(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "the store has this program's format; its newest revision is %d\n", head)
				return err
			})
		},
	}
}
