package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"polestar/auth"
	"polestar/web"
)

// readPassword reads a password from a file; "-" is the terminal, which does
// not show it, or the standard input.
func readPassword(file string) (string, error) {
	in := os.Stdin
	switch {
	case file == "-" && term.IsTerminal(int(in.Fd())):
		_, _ = fmt.Fprint(os.Stderr, "password: ")
		text, err := term.ReadPassword(int(in.Fd()))
		_, _ = fmt.Fprintln(os.Stderr)
		return string(text), err
	case file != "-":
		f, err := os.Open(file) //nolint:gosec // named by whoever runs the command
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 2*auth.MaxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func loginCommand() *cobra.Command {
	var a adminClient
	var file, lasts, save string
	cmd := &cobra.Command{
		Use: "login NAME", Short: "Turn a password into a token that runs out", Args: cobra.ExactArgs(1), PreRunE: a.check,
		Long: `Ask the server for a token with a name and a password. The token is printed, or
saved to a file that --token-file and ` + tokenFileEnv + ` read.`,
		Example: `  polestar login anna --save ~/.polestar.token
  export ` + tokenFileEnv + `=~/.polestar.token`,
	}
	a.flags(cmd.Flags())
	cmd.Flags().StringVar(&file, "password-file", "-", "file with the password; - reads it from the terminal or the standard input")
	cmd.Flags().StringVar(&lasts, "expires-in", "", "how long the token holds, at most 720h (default: 12h)")
	cmd.Flags().StringVar(&save, "save", "", "file to write the token to, readable by you alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := readPassword(file)
		if err != nil {
			return err
		}
		body := map[string]any{"name": args[0], "password": password}
		if lasts != "" {
			body["expires_in"] = lasts
		}
		raw, err := a.write(withoutCredential(cmd.Context()), request{method: http.MethodPost, path: "/login", body: body})
		if err != nil {
			return err
		}
		var in web.LoggedIn
		if err = json.Unmarshal(raw, &in); err != nil {
			return fmt.Errorf("the server answered no token: %w", err)
		}
		if save != "" {
			if err = replaceFile(save, []byte(in.Token+"\n"), 0o600); err != nil {
				return fmt.Errorf("--save: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "user %s is logged in until %s; the token is in %s\n", in.User, in.Expires, save)
			return err
		}
		if a.output != "table" {
			return writeDocument(cmd.OutOrStdout(), a.output, raw)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), in.Token)
		return err
	}
	return cmd
}

func whoamiCommand() *cobra.Command {
	var a adminClient
	cmd := &cobra.Command{
		Use: "whoami", Short: "Show who the server takes you for", Args: cobra.NoArgs, PreRunE: a.check,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.write(cmd.Context(), request{method: http.MethodGet, path: "/whoami"})
			if err != nil {
				return err
			}
			if a.output != "table" {
				return writeDocument(cmd.OutOrStdout(), a.output, raw)
			}
			var c web.Caller
			if err = json.Unmarshal(raw, &c); err != nil {
				return fmt.Errorf("the server answered nobody: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), callerLine(&c))
			return err
		},
	}
	a.flags(cmd.Flags())
	return cmd
}

func callerLine(c *web.Caller) string {
	var words []string
	switch {
	case c.Anonymous:
		words = append(words, "nobody in particular")
	case c.Group:
		words = append(words, "group "+c.Name)
	default:
		words = append(words, "user "+c.Name)
	}
	if c.Main {
		words = append(words, "the main user")
	}
	if len(c.Groups) > 0 {
		words = append(words, "in "+strings.Join(c.Groups, ", "))
	}
	switch {
	case c.Token != nil && c.Token.Expires != "":
		words = append(words, "by token "+c.Token.ID+" until "+c.Token.Expires)
	case c.Token != nil:
		words = append(words, "by token "+c.Token.ID)
	case !c.Anonymous:
		words = append(words, "by certificate")
	}
	return strings.Join(words, ", ")
}

func mayCommand() *cobra.Command {
	var a adminClient
	var principal, api, namespace string
	cmd := &cobra.Command{
		Use: "may ACTION [NAMESPACE[/SERVICE]]", Short: "Ask whether you, or somebody else, may do something, and why", Args: cobra.RangeArgs(1, 2), PreRunE: a.check,
		Long: `Ask whether a principal may do something, and which policy decides. Without a
resource the server as a whole is meant. The exit code is 0 for yes and 4 for no.`,
		Example: `  polestar may register shop/cart
  polestar may read shop/cart --principal group:payment --api console`,
	}
	a.flags(cmd.Flags())
	cmd.Flags().StringVar(&principal, "principal", "", "user's name, group:NAME or anonymous (default: yourself)")
	cmd.Flags().StringVar(&api, "api", "client", "client (SDKs and proxies) or console (people and tools)")
	cmd.Flags().StringVar(&namespace, "namespace", "", "the namespace, when the service's name has slashes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{"action": {args[0]}, "api": {api}}
		if principal != "" {
			q.Set("principal", principal)
		}
		if len(args) == 2 {
			ns, service, _ := strings.Cut(args[1], "/")
			if namespace != "" {
				ns, service = namespace, args[1]
			}
			q.Set("namespace", ns)
			q.Set("service", service)
		}
		raw, err := a.write(cmd.Context(), request{method: http.MethodGet, path: "/may", query: q})
		if err != nil {
			return err
		}
		line, err := verdictLine(raw)
		if err != nil {
			return err
		}
		if a.output == "table" {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
		} else {
			err = writeDocument(cmd.OutOrStdout(), a.output, raw)
		}
		if err == nil && strings.HasPrefix(line, "no") {
			err = &serverError{http.StatusForbidden, errors.New("not allowed")}
		}
		return err
	}
	return cmd
}
