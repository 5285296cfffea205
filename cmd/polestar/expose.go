package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"go.uber.org/zap"
)

// exposure is a way in which doors that other machines reach let in, or show,
// more than they should. Without the operator's explicit word it is an error.
type exposure struct {
	doors   []string // "polaris (0.0.0.0:8091)"
	why     string   // what is wrong, after "reachable from other machines and"
	remedy  string   // what to set instead
	allow   string   // the setting that permits it
	allowed bool
}

// Error says what to do.
func (e exposure) Error() string {
	return fmt.Sprintf("doors are reachable from other machines and %s: %s. %s, bind them to 127.0.0.1, or set %s where everybody who reaches them is trusted",
		e.why, strings.Join(e.doors, ", "), e.remedy, e.allow)
}

// exposed lists what is exposed by this configuration, allowed or not.
func (c *Config) exposed() (out []exposure) {
	plain := exposure{
		why:    "speak plain text",
		remedy: "Set tls.cert-file and tls.key-file (polestar tls init makes certificates)",
		allow:  "allow-plaintext", allowed: c.AllowPlaintext,
	}
	for _, d := range c.doors() {
		if !loopback(d.addr) && !d.tls.On() {
			plain.doors = append(plain.doors, d.name+" ("+d.addr+")")
		}
	}
	for _, e := range []exposure{plain, c.unchecked()} {
		if len(e.doors) > 0 {
			out = append(out, e)
		}
	}
	return out
}

// unchecked are the doors where nobody is asked who he is.
func (c *Config) unchecked() exposure {
	e := exposure{
		why:    "let in everybody who reaches them",
		remedy: "Set auth.client-open (SDKs and proxies are checked) and auth.console-open (people and tools are)",
		allow:  "auth.allow-open-bind", allowed: c.AllowOpenBind,
	}
	for _, d := range []struct {
		name, addr string
		checked    bool
	}{{"polaris", c.Polaris.Addr, c.Auth.Client.Open}, {"xds", c.XDS.Addr, c.Auth.Client.Open}, {"http", c.HTTPAddr, c.Auth.Console.Open}} {
		if !d.checked && !loopback(d.addr) {
			e.doors = append(e.doors, d.name+" ("+d.addr+")")
		}
	}
	return e
}

// validateExposure refuses what is exposed and not allowed.
func (c *Config) validateExposure() error {
	var errs []error
	for _, e := range c.exposed() {
		if !e.allowed {
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// warnExposed tells what is exposed by the operator's word.
func (a *app) warnExposed() {
	for _, e := range a.cfg.exposed() {
		a.log.Warn("doors are reachable from other machines and "+e.why, zap.Strings("doors", e.doors),
			zap.String("remedy", e.remedy), zap.String("allowed_by", e.allow))
	}
}

// loopback reports whether only this machine reaches an address to listen on.
// A name but localhost counts as reachable: what it resolves to may change.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // no address at all; that is told elsewhere
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
