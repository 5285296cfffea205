package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"polestar/internal/grpcserver"
	"polestar/naming"
	"polestar/naming/polaris"
)

// heartbeatSettings are the keys of the door for beats in groups.
func heartbeatSettings() []setting {
	return append([]setting{
		text("heartbeat-addr", "address of the door for beats in groups; empty: none", func(c *Config) *string { return &c.Heartbeat.Addr }),
		text("heartbeat-token-file", "file with the secret of that door", func(c *Config) *string { return &c.HeartbeatTokenFile }),
	}, doorSettings("heartbeat", func(c *Config) *grpcserver.Config { return &c.Heartbeat })...)
}

func (c *Config) validateHeartbeat() error {
	if c.Heartbeat.Addr == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Heartbeat.Addr); err != nil || !isPort(port) {
		return fmt.Errorf("heartbeat-addr: %q is not host:port", c.Heartbeat.Addr)
	}
	if c.HeartbeatTokenFile == "" && !c.TLS.Heartbeat.Or(c.TLS.Shared).Requires() {
		return errors.New("heartbeat-token-file: must not be empty when there is a heartbeat-addr that requires no client certificates: " +
			"that door is for those whom it knows")
	}
	return c.Heartbeat.Validate()
}

// buildHeartbeats makes the door for beats in groups, if there is to be one.
func (a *app) buildHeartbeats(r *naming.Registrar) error {
	if a.cfg.Heartbeat.Addr == "" {
		return nil
	}
	trusted := func(context.Context) bool { return false }
	if a.cfg.HeartbeatTokenFile != "" {
		secret, err := readToken("heartbeat-token-file", a.cfg.HeartbeatTokenFile)
		if err != nil {
			return err
		}
		trusted = grpcserver.NewSecret(secret).Shown
	}
	h, err := polaris.NewHeartbeats(polaris.HeartbeatDeps{
		Beat: r.Heartbeats, Leases: a.leases, Trusted: trusted,
		World: a.registry, Auth: a.clientGate(), Identities: grpcserver.Identities, Instances: a.rates.instance, Ready: a.loaded.Load, Metrics: a.metrics, Refused: a.audit.Refused,
	})
	if err != nil {
		return err
	}
	if a.beatDoor, err = grpcserver.New(a.cfg.Heartbeat, a.metrics, a.log, a.creds("heartbeat")...); err != nil {
		return err
	}
	h.Register(a.beatDoor.GRPC())
	return nil
}

// The bounds of a secret in a file.
const (
	minSecret = 16
	maxSecret = 4096
)

// readToken reads a file that holds one secret. Blanks and line breaks around
// it do not belong to it. Errors name the key of the setting.
func readToken(key, path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // named by whoever starts the server
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, 2*maxSecret))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < minSecret || len(secret) > maxSecret {
		return "", fmt.Errorf("%s: %s has %d bytes that count, not between %d and %d", key, path, len(secret), minSecret, maxSecret)
	}
	for _, c := range []byte(secret) {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("%s: %s has a byte that is no visible ASCII character: it could not be sent in a header", key, path)
		}
	}
	return secret, nil
}
