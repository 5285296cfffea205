package auth

import (
	"context"
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"

	"polestar/naming"
)

// Engine decides by users, groups, tokens and policies. Readers take no lock:
// they look at one immutable state. What is not there is denied, so an engine
// whose source is not loaded yet refuses everybody.
//
// Whether a token has run out is decided by this server's wall clock.
type Engine struct {
	cfg   Config
	deps  Deps
	meter *meter

	state   atomic.Pointer[compiled]
	changed atomic.Pointer[chan struct{}]
	wake    chan struct{} // buffered 1: the next expiry may be another one

	mu sync.Mutex // held while a new state is made
}

var _ Gate = (*Engine)(nil)

// New makes an engine with the state that the source has now.
func New(cfg Config, d Deps) (*Engine, error) {
	e := &Engine{cfg: cfg, deps: d, meter: newMeter(), wake: make(chan struct{}, 1)}
	if err := e.meter.register(d.Metrics, e); err != nil {
		return nil, err
	}
	e.state.Store(compile(d.Source()))
	e.changed.Store(new(make(chan struct{})))
	return e, nil
}

// Refresh takes over the newest state, if it is another one, and announces the
// change: decisions are always made by the newest, but who waits is told here.
// It costs nothing when there is none, so it may be called after every commit
// and every load.
func (e *Engine) Refresh() {
	if e.state.Load().of(e.deps.Source()) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	from := e.deps.Source()
	if e.state.Load().of(from) {
		return
	}
	e.state.Store(compile(from))
	e.announce()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// newest is the state that decides. It looks itself: a commit is visible a moment
// before [Engine.Refresh] is called for it, and what it takes back is over then.
func (e *Engine) newest() *compiled {
	e.Refresh()
	return e.state.Load()
}

// announce closes the channel of those who wait for a change.
func (e *Engine) announce() { close(*e.changed.Swap(new(make(chan struct{})))) }

// Changed implements [Gate].
func (e *Engine) Changed() <-chan struct{} { return *e.changed.Load() }

// clockCheck is how long a wait for an expiry lasts at most: the wall clock may
// be set meanwhile.
const clockCheck = time.Minute

// Run announces tokens that run out, until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(clockCheck)
	defer timer.Stop()
	seen := now() // what ran out until then was announced
	for {
		wait := clockCheck
		if next := e.state.Load().nextExpiry(seen); next != 0 {
			// +1 ms: a timer that is early by a little must not go round again.
			wait = min(wait, time.Duration(next-now())*time.Microsecond+time.Millisecond)
		}
		timer.Reset(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-timer.C:
			if next := e.state.Load().nextExpiry(seen); next != 0 && next <= now() {
				e.announce()
			}
			seen = now()
		}
	}
}

func now() naming.Micros { return naming.Micros(time.Now().UnixMicro()) }

// Refusals that name nothing, made once.
var (
	errNoCredentials = &Error{NoCredentials, "no token and no client certificate were shown, and one of them is needed"}
	errBadToken      = &Error{BadToken, "the token is not one that exists"}
	errBadIdentity   = &Error{BadToken, "the client certificate is not that of a user"}
	errExpired       = &Error{Expired, "the token has run out"}
	errTokenOff      = &Error{Disabled, "the token is disabled"}
	errOwnerOff      = &Error{Disabled, "the owner of the token or certificate is disabled"}
	errGone          = &Error{BadToken, "the token, or its owner, does not exist any more"}
)

// Authenticate implements [Gate]. A token wins over a certificate.
func (e *Engine) Authenticate(_ context.Context, api API, c Credentials) (Principal, error) {
	sw := e.cfg.Of(api)
	if !sw.Open {
		return Principal{}, nil
	}
	p, err := e.newest().identify(c)
	switch {
	case err == nil:
		return p, nil
	case !sw.Strict:
		return Principal{}, nil
	default:
		e.meter.refused(api, err.Reason)
		return Principal{}, err
	}
}

// identify says whose credentials these are.
func (c *compiled) identify(shown Credentials) (Principal, *Error) {
	switch {
	case len(shown.Token) > MaxToken:
		return Principal{}, errBadToken
	case shown.Token != "":
		sum := digest(shown.Token)
		// What the look-up tells by its time is of the hash, which nobody can
		// steer towards one that is stored.
		t := c.byDigest[sum]
		if t == nil || subtle.ConstantTimeCompare(t.digest[:], sum[:]) != 1 {
			return Principal{}, errBadToken
		}
		if err := t.holds(); err != nil {
			return Principal{}, err
		}
		return t.owner.principal(t.ID), nil
	}
	for _, name := range shown.Identities {
		if s := c.identity[name]; s != nil {
			if s.disabled {
				return Principal{}, errOwnerOff
			}
			return s.principal(""), nil
		}
	}
	if len(shown.Identities) > 0 {
		return Principal{}, errBadIdentity
	}
	return Principal{}, errNoCredentials
}

// holds reports why a token does not hold now.
func (t *token) holds() *Error {
	switch {
	case t.owner.disabled:
		return errOwnerOff
	case t.Disabled:
		return errTokenOff
	case t.Expires != 0 && t.Expires <= now():
		return errExpired
	default:
		return nil
	}
}

func (s *subject) principal(token string) Principal {
	return Principal{ID: s.id, Name: s.name, Group: s.group, Main: s.main, Token: token}
}

// known finds who a principal is now; the state may have changed since it
// showed its credentials. The error is a principal's that may not act any more.
func (c *compiled) known(p Principal) (*subject, *Error) {
	if p.Anonymous() {
		return c.anonymous, nil
	}
	s := c.subjects[p.ID]
	switch {
	case s == nil:
		return nil, errGone
	case s.disabled:
		return nil, errOwnerOff
	case p.Token == "":
		return s, nil
	}
	t := c.tokens[p.Token]
	if t == nil || t.owner != s {
		return nil, errGone
	}
	if err := t.holds(); err != nil {
		return nil, err
	}
	return s, nil
}

// Count counts a refusal that a door decided itself: of a password.
func (e *Engine) Count(api API, r Reason) { e.meter.refused(api, r) }

// Allow implements [Gate]. It looks at the principal's token again, so a
// principal that is kept is refused as soon as its token does not hold any more.
func (e *Engine) Allow(_ context.Context, api API, p Principal, a Action, r Resource) error {
	if a != Administer && !e.cfg.Of(api).Open {
		return nil
	}
	c := e.newest()
	s, refusal := c.known(p)
	if refusal == nil {
		d := s.decide(a, r)
		if d.Allowed {
			return nil
		}
		refusal = forbidden(s, a, r, d)
	}
	e.meter.refused(api, refusal.Reason)
	return refusal
}
