package auth

import (
	"fmt"

	"polestar/naming"
)

// Decision is whether a principal may do something, and what says so.
type Decision struct {
	Allowed bool
	// Policy is what decided, and Selector the one of its resources that
	// matched; nil and zero when no policy did.
	Policy   *naming.Policy
	Selector naming.Selector
	Why      string // in words, for people
}

// decide weighs the policies of a subject: one that denies wins over all that
// allow; then the main user may do everything, everybody else what a policy
// allows. What no policy speaks of is denied.
func (s *subject) decide(a Action, r Resource) Decision {
	bit := bits[a]
	if bit == 0 || a == Administer && s.id == "" {
		return Decision{Why: "nobody in particular is calling"} // no policy can allow that
	}
	// The main user always administers, or one wrong policy would lock everybody
	// out for good.
	if !s.main || a != Administer {
		if p, n := find(s.deny, bit, r, s.self); p != nil {
			return p.decided(n, "denied by policy ")
		}
	}
	if s.main {
		return Decision{Allowed: true, Why: "the main user may do everything"}
	}
	if p, n := find(s.allow, bit, r, s.self); p != nil {
		return p.decided(n, "allowed by policy ")
	}
	if a == Report {
		// A report is about the SDK itself, not about a service: whoever may
		// report at all may do so.
		for _, p := range s.allow {
			if p.actions&bit != 0 && len(p.selectors) > 0 {
				return p.decided(0, "allowed by policy ")
			}
		}
	}
	return Decision{Why: "no policy allows it"}
}

// find returns the first policy that covers an action on a resource, and which
// of its selectors does.
func find(all []*policy, a actions, r Resource, self creators) (*policy, int) {
	for _, p := range all {
		if n := p.match(a, r, self); n >= 0 {
			return p, n
		}
	}
	return nil, -1
}

// decided says that a selector of p decided. The words are made only for those
// who read them.
func (p *policy) decided(n int, did string) Decision {
	return Decision{Allowed: !p.Deny, Policy: p.Policy, Selector: p.Resources[n], Why: did}
}

// forbidden words a refusal.
func forbidden(s *subject, a Action, r Resource, d Decision) *Error {
	if s.id == "" {
		// Who they are was not asked, or does not hold: the way out is to say it.
		return &Error{NoCredentials, fmt.Sprintf("%s %s needs a token or a client certificate", a, r)}
	}
	why := d.Why
	if d.Policy != nil {
		why += d.Policy.Name
	}
	return &Error{Forbidden, fmt.Sprintf("%s is not allowed to %s %s: %s", s.name, a, r, why)}
}

// String names a resource in a sentence.
func (r Resource) String() string {
	switch {
	case r.Namespace == "" && r.Service == "":
		return "on the server as a whole"
	case r.Service == "":
		return "namespace " + r.Namespace
	default:
		return "service " + r.Namespace + "/" + r.Service
	}
}

// Explain decides as [Engine.Allow] does, for a user or group that may not have
// called at all, and says why. An unknown id is refused. Of an API that is not
// checked it also says what would be decided if it were: policies are written
// before a switch is thrown.
func (e *Engine) Explain(api API, id string, a Action, r Resource) Decision {
	d := e.explain(id, a, r)
	if a == Administer || e.cfg.Of(api).Open {
		return d
	}
	would := "no"
	if d.Allowed {
		would = "yes"
	}
	return Decision{Allowed: true, Why: fmt.Sprintf("the %s API is not checked; if it were: %s, %s", api, would, d.Why)}
}

func (e *Engine) explain(id string, a Action, r Resource) Decision {
	s, refusal := e.newest().known(Principal{ID: id})
	if refusal != nil {
		return Decision{Why: refusal.Msg}
	}
	d := s.decide(a, r)
	if d.Policy != nil {
		d.Why += d.Policy.Name
	}
	return d
}
