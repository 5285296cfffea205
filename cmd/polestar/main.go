// Command polestar is a service registry that is also an xDS control plane.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"polestar/internal/buildinfo"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // both signals fit, so none is lost
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		cancel()
		for first := time.Now(); time.Since(first) < sameSignal; {
			<-signals
		}
		fmt.Fprintln(os.Stderr, "polestar: a second signal ended the process before its stop was complete")
		os.Exit(1)
	}()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "polestar:", oneLine(err))
		os.Exit(exitCode(err))
	}
}

// sameSignal is how long further signals count as the first one: timeout(1) and
// others signal a process and then its group, which must not cut a stop short.
const sameSignal = time.Second

// oneLine writes joined errors in one line, as logs and scripts expect.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "polestar",
		Short:             "A service registry that is also an xDS control plane",
		Version:           buildinfo.Version() + " (" + buildinfo.Commit() + ")",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: withCredential(os.Getenv),
	}
	cmd.SetFlagErrorFunc(flagError)
	return group(
		cmd,
		serverCommand(), configCommand(), versionCommand(), storeCommand(), importCommand(),
		getCommand(), guardCommand(), clientsCommand(), explainCommand(), waitCommand(), historyCommand(), eventsCommand(),
		createCommand(), updateCommand(), deleteCommand(),
		isolateCommand(), setCommand(), clearCommand(), cleanupCommand(),
		registerCommand(), deregisterCommand(),
		bootstrapCommand(), benchCommand(), tlsCommand(),
		loginCommand(), whoamiCommand(), mayCommand(), authCommand(),
	)
}

// group makes a command of subcommands: alone it shows its help, and a word
// that is none of them is an error. Cobra's own answer to both is help and the
// exit code 0, which a script takes for success.
func group(cmd *cobra.Command, of ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(of...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var known []string
		for _, c := range cmd.Commands() {
			known = append(known, c.Name())
		}
		return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), suggest(args[0], known))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// flagError adds the nearest known flag to the error about an unknown one.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, suggest("--"+unknown.GetSpecifiedName(), known))
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
	return group(&cobra.Command{Use: "config", Short: "Show the configuration"}, show)
}
