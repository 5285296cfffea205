package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polestar/internal/connlimit"
	"polestar/internal/ratelimit"
)

// rates bound how often addresses and instances may ask. All are off by
// default, as in Polaris: addresses are shared, by a NAT, a gateway or the
// instances of a node, and a number that fits one fleet cuts off another.
type rates struct {
	Peer, Instance, HTTP ratelimit.Config
}

func rateSettings() []setting {
	return []setting{
		number("polaris.rate-per-ip", "requests a second from one address at the Polaris door; 0: any", func(c *Config) *int { return &c.Rates.Peer.PerSecond }),
		number("polaris.rate-burst-per-ip", "of them at once; 0: as many as in a second", func(c *Config) *int { return &c.Rates.Peer.Burst }),
		number("polaris.rate-per-instance", "registrations, removals and beats a second of one instance; 0: any", func(c *Config) *int { return &c.Rates.Instance.PerSecond }),
		number("polaris.rate-burst-per-instance", "of them at once; 0: as many as in a second", func(c *Config) *int { return &c.Rates.Instance.Burst }),
		number("http.max-connections", "open connections of the HTTP door", func(c *Config) *int { return &c.HTTPConns.Most }),
		number("http.max-connections-per-ip", "open connections from one address", func(c *Config) *int { return &c.HTTPConns.MostPerIP }),
		number("http.rate-per-ip", "requests a second from one address at the HTTP door; 0: any", func(c *Config) *int { return &c.Rates.HTTP.PerSecond }),
		number("http.rate-burst-per-ip", "of them at once; 0: as many as in a second", func(c *Config) *int { return &c.Rates.HTTP.Burst }),
	}
}

func (r rates) validate() error {
	return errors.Join(r.Peer.Validate("polaris.rate", "ip"), r.Instance.Validate("polaris.rate", "instance"), r.HTTP.Validate("http.rate", "ip"))
}

// httpConns bounds the connections of the HTTP door.
type httpConns struct{ Most, MostPerIP int }

func (h httpConns) validate() error {
	const most = 1_000_000
	switch {
	case h.Most < 1 || h.Most > most:
		return fmt.Errorf("http.max-connections: %d is not between 1 and %d", h.Most, most)
	case h.MostPerIP < 1 || h.MostPerIP > h.Most:
		return fmt.Errorf("http.max-connections-per-ip: %d is not between 1 and max-connections (%d)", h.MostPerIP, h.Most)
	}
	return nil
}

// boundHTTP bounds the connections of the HTTP door and counts them.
func (a *app) boundHTTP() (func(net.Listener) net.Listener, error) {
	open := prometheus.NewGauge(prometheus.GaugeOpts{Name: "polestar_http_connections", Help: "Open connections of the HTTP door."})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polestar_http_connections_refused_total", Help: "Connections of the HTTP door that were closed for a limit.",
	}, []string{"limit"})
	if err := a.metrics.Register(open); err != nil {
		return nil, err
	}
	return func(l net.Listener) net.Listener {
		return connlimit.New(l, a.cfg.HTTPConns.Most, a.cfg.HTTPConns.MostPerIP, connlimit.Watch{
			Open: func(n int) { open.Set(float64(n)) }, Refused: func(why string) { refused.WithLabelValues(why).Inc() },
		})
	}, a.metrics.Register(refused)
}

// buckets are the rates in force.
type buckets struct {
	peer, instance, http *ratelimit.Buckets
}

func (a *app) buildRates() (b buckets, err error) {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polestar_rate_limited_total", Help: "Requests that were refused for their rate.",
	}, []string{"door", "of"})
	count := func(door, of string) func() { return refused.WithLabelValues(door, of).Inc }
	b.peer = ratelimit.New(a.cfg.Rates.Peer, count("polaris", "ip"))
	b.instance = ratelimit.New(a.cfg.Rates.Instance, count("polaris", "instance"))
	b.http = ratelimit.New(a.cfg.Rates.HTTP, count("http", "ip"))
	return b, a.metrics.Register(refused)
}

// paceHTTP is the rate of the HTTP door; nil without one.
func (b buckets) paceHTTP() func(ip string) (bool, time.Duration) {
	if b.http == nil {
		return nil
	}
	return func(ip string) (bool, time.Duration) { return b.http.Allow(ratelimit.Peer(ip)) }
}
