package main

import (
	"context"
	"fmt"
	"time"

	"polestar/auth"
	"polestar/auth/audit"
	"polestar/naming"
	"polestar/web"
)

// When /metrics needs no token.
const (
	metricsLoopback = "loopback" // while only this machine reaches the HTTP door
	metricsAlways   = "always"
	metricsNever    = "never"
)

// authSettings are the keys of who may do what. The words of the switches are
// Polaris'.
func authSettings() []setting {
	return []setting{
		toggle("auth.console-open", "requests of people and their tools are checked", func(c *Config) *bool { return &c.Auth.Console.Open }),
		toggle("auth.console-strict", "theirs without credentials that hold are refused, else anonymous", func(c *Config) *bool { return &c.Auth.Console.Strict }),
		toggle("auth.client-open", "requests of SDKs and proxies are checked", func(c *Config) *bool { return &c.Auth.Client.Open }),
		toggle("auth.client-strict", "theirs without credentials that hold are refused, else anonymous", func(c *Config) *bool { return &c.Auth.Client.Strict }),
		text("auth.metrics", "when /metrics needs no token: loopback (the HTTP door is bound to it), always or never", func(c *Config) *string { return &c.OpenMetrics }),
		toggle("auth.allow-open-bind", "doors that check nobody may be reachable from other machines", func(c *Config) *bool { return &c.AllowOpenBind }),
	}
}

func (c *Config) validateAuth() error {
	switch c.OpenMetrics {
	case metricsLoopback, metricsAlways, metricsNever:
		return nil
	default:
		return fmt.Errorf("auth.metrics: %q is none of loopback, always, never", c.OpenMetrics)
	}
}

// metricsOpen reports whether everybody may read /metrics.
func (c *Config) metricsOpen() bool {
	return c.OpenMetrics == metricsAlways || c.OpenMetrics == metricsLoopback && loopback(c.HTTPAddr)
}

// buildAuth makes what decides who may do what.
func (a *app) buildAuth() (err error) {
	a.auth, err = auth.New(a.cfg.Auth, auth.Deps{
		Source: func() auth.Source { return a.registry.World() }, Metrics: a.metrics,
	})
	if err != nil {
		return err
	}
	a.audit, err = audit.New(audit.Deps{
		Write: func(ctx context.Context, all []naming.Refusal) error { return a.naming.RecordRefusals(ctx, all) },
		Now:   time.Now, Metrics: a.metrics, Log: a.log.Named("audit"),
	})
	return err
}

// clientGate is what the doors of SDKs and proxies ask. One that lets everybody
// in costs them nothing.
func (a *app) clientGate() auth.Gate {
	if !a.cfg.Auth.Client.Open {
		return auth.Open{}
	}
	return a.auth
}

// webAccess is what the HTTP door needs to manage who may do what.
func (a *app) webAccess() web.Access {
	return web.Access{
		Admin: a.naming, Explain: a.auth.Explain, Count: a.auth.Count, Passwords: auth.NewPasswords(), Attempts: auth.NewAttempts(),
		Checked: func(api auth.API) bool { return a.cfg.Auth.Of(api).Open },
	}
}
