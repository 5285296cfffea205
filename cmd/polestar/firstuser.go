package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"polestar/auth"
	"polestar/naming"
	"polestar/store"
)

// mainUser is the name of the user that a first start makes.
const mainUser = "admin"

// firstUser makes the main user when somebody is to be checked and there is no
// user at all. The token is on disk before the user is in the store, so that no
// crash leaves a user whose token nobody has; of several servers that start on
// one database, one makes the user, and the others take their files away.
func (a *app) firstUser(ctx context.Context) error {
	if !a.cfg.Auth.Client.Open && !a.cfg.Auth.Console.Open || anyUser(a.registry.World()) {
		return nil
	}
	if a.stale.Load() {
		a.log.Warn("there is no user, and the database that could keep one is away: restart this server when it is back")
		return nil
	}
	return a.makeFirst(ctx, a.registry.World)
}

// makeFirst makes the main user, unless another server was faster: then world
// has no token of ours afterwards.
func (a *app) makeFirst(ctx context.Context, world func() naming.World) error {
	text, hash := auth.NewToken()
	path, err := writeAdminToken(a.cfg.DataDir, text)
	if err != nil {
		return err
	}
	_, err = a.naming.Bootstrap(ctx, naming.Bootstrap{Name: mainUser, Hash: hash, Comment: "made at the first start"})
	switch {
	case naming.KindOf(err) == naming.OutcomeUnknown:
		return err // the token may hold
	case err == nil && tokenHolds(world(), hash):
		a.log.Info("made the main user; its token is in a file", zap.String("user", mainUser), zap.String("file", path))
		return nil
	case err == nil:
		a.log.Info("another server made the main user; its token is there", zap.String("user", mainUser))
	}
	return errors.Join(err, os.Remove(path))
}

func anyUser(w naming.World) bool {
	for range w.Users() {
		return true
	}
	return false
}

func tokenHolds(w naming.World, hash string) bool {
	for t := range w.Tokens() {
		if t.Hash == hash {
			return true
		}
	}
	return false
}

// writeAdminToken writes a token where commands on this machine find it, so
// that it survives a loss of power.
func writeAdminToken(dir, text string) (path string, err error) {
	path = filepath.Join(dir, adminTokenFile)
	if err = os.MkdirAll(dir, 0o700); err == nil {
		err = replaceFile(path, []byte(text+"\n"), 0o600)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return "", fmt.Errorf("the token of the main user cannot be written: %w", err)
	}
	return path, nil
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// authCommand works on a store itself, without a server.
func authCommand() *cobra.Command {
	return group(&cobra.Command{Use: "auth", Short: "Get back into a server whose main user's token is lost"}, recoverCommand())
}

func recoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recover", Short: "Make a new token for the main user, in DATA-DIR/" + adminTokenFile, Args: cobra.NoArgs,
		Long: `Make a new token for the main user and write it to DATA-DIR/` + adminTokenFile + `. It works on
the store itself: whoever may read and write that may do everything anyway.
Stop the server of a store file first; a database may be in use, and its
servers know the token within a second. Tokens that are there stay: revoke a
stolen one with "polestar delete token".`,
		Example: `  polestar auth recover --data-dir data
  polestar auth recover --store mysql --mysql-dsn 'polestar@tcp(db:3306)/polestar' --mysql-password-file /run/secrets/db`,
	}
	addStoreFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withStore(cmd, func(ctx context.Context, s store.Store) error {
			cfg, _, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			text, hash := auth.NewToken()
			path, err := writeAdminToken(cfg.DataDir, text)
			if err != nil {
				return err
			}
			name, err := recoverMain(ctx, s, hash)
			if err != nil {
				return fmt.Errorf("the token in %s may not hold: %w", path, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "user %s has a new token, in %s\n", name, path)
			return err
		})
	}
	return cmd
}

// recoverMain gives the main user a token, and makes him when there is no user.
func recoverMain(ctx context.Context, s store.Store, hash string) (name string, err error) {
	var owner *naming.User
	visit := func(o naming.Object) error {
		if u, ok := o.(*naming.User); ok && u.Main && !u.Disabled && (owner == nil || u.Name < owner.Name) {
			owner = u
		}
		return nil
	}
	if _, err = s.Load(ctx, visit, func(naming.Touched) error { return nil }); err != nil {
		return "", err
	}
	r := naming.NewRegistrar(naming.Config{}, naming.Deps{Writer: direct{s}})
	by := naming.Actor{Principal: "auth recover"}
	if owner == nil {
		var res naming.Result
		res, err = r.Bootstrap(ctx, naming.Bootstrap{Name: mainUser, Hash: hash, Actor: by, Comment: "made by auth recover"})
		if err == nil && res.Outcome != naming.Created {
			err = errors.New("there are users, and none of them is the main user")
		}
		return mainUser, err
	}
	_, err = r.PutToken(ctx, naming.PutToken{Mode: naming.Create, Owner: owner.ID, Hash: hash, Comment: new("made by auth recover"), Actor: by})
	return owner.Name, err
}

// direct is a writer that commits each write by itself.
type direct struct{ store.Writer }

// Do implements naming.Writer.
func (d direct) Do(ctx context.Context, w naming.Write) (naming.Result, error) {
	_, results, err := d.Apply(ctx, []naming.Write{w})
	if err != nil {
		return naming.Result{}, err
	}
	return results[0], results[0].Err
}
