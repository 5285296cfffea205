// Command polestar is a service registry that is also an xDS control plane.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"polestar/internal/buildinfo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "polestar:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "polestar",
		Short:         "A service registry that is also an xDS control plane",
		Version:       buildinfo.Version() + " (" + buildinfo.Commit() + ")",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	cmd.AddCommand(serverCommand(), configCommand(), bootstrapCommand(), getCommand(), benchCommand(), versionCommand())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cmd.Root().Version)
			return err
		},
	}
}

func serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "server", Short: "Run the server", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			log, err := newLogger(cfg)
			if err != nil {
				return err
			}
			defer func() { _ = log.Sync() }() // stderr of a terminal cannot be synced
			return runServer(cmd.Context(), cfg, log)
		},
	}
	addFlags(cmd.Flags())
	return cmd
}

func newLogger(cfg Config) (*zap.Logger, error) {
	zc := zap.NewProductionConfig()
	zc.Level = zap.NewAtomicLevelAt(cfg.LogLevel)
	zc.Encoding = cfg.LogFormat
	zc.EncoderConfig.TimeKey = "time"
	zc.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	zc.DisableCaller = true
	zc.DisableStacktrace = true
	return zc.Build()
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show the configuration", Args: cobra.NoArgs}
	show := &cobra.Command{
		Use: "print", Short: "Print every setting, its value and where that came from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, origin, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			for _, s := range settings() {
				value, err := yaml.Marshal(s.get(&cfg))
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-32s %-24.*s # %s\n", s.key+":", len(value)-1, value, origin[s.key]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addFlags(show.Flags())
	cmd.AddCommand(show)
	return cmd
}
