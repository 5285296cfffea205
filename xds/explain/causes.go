package explain

import (
	"fmt"
	"net/netip"
	"time"

	"polestar/naming"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

// serviceCauses says what concerns all instances. failed is what the validation
// of the assignment says.
func (r *reporter) serviceCauses(failed error) []Cause {
	out := r.existence()
	if failed != nil {
		out = append(out, Cause{NotPublished, fmt.Sprintf(
			"the assignment fails its validation and is not published; clients keep the last good one: %s", failed)})
	}
	for _, p := range r.problems {
		if p.Instance == "" {
			out = append(out, Cause{LeftOut, p.Reason})
		}
	}
	if r.state == nil && r.built == nil {
		return out
	}
	if !r.asked {
		text := "the client does not ask for the endpoints of this service"
		if len(r.holding.Names) == 0 {
			text = "the client asks for nothing of this service"
		}
		out = append(out, Cause{NotAsked, text})
	}
	for _, n := range r.holding.Names {
		if c, ok := r.delivery(n); ok {
			out = append(out, c)
		}
	}
	return out
}

// existence says whether there is such a service for this client.
func (r *reporter) existence() []Cause {
	st := r.world.Service(r.Service)
	if st == nil {
		out := []Cause{{UnknownService, "no service " + r.Service.String() + " is registered"}}
		elsewhere, written := r.similar()
		if len(written) > 0 {
			out[0].Text += "; names are case-sensitive, and there is " + names(written)
		}
		if len(elsewhere) > 0 {
			out = append(out, Cause{OtherNamespace, "the name exists as " + names(elsewhere)})
		}
		return out
	}
	var out []Cause
	if st.Service.IsAlias() {
		text := "it is an alias of " + st.Service.AliasFor.String()
		if r.state == nil {
			return []Cause{{Alias, text + ", which does not exist"}}
		}
		out = append(out, Cause{Alias, text + ": the instances are those of that service, and the client gets them under its name"})
	}
	for _, s := range []*naming.Service{st.Service, r.state.Service} {
		if !naming.Visible(r.world, s, r.scope.Namespace) {
			out = append(out, Cause{NotVisible, fmt.Sprintf("%s is not exported to %s, the client's namespace", s.Key, r.scope.Namespace)})
		}
		if !r.scope.Reader.SeesService(r.world, s.Key) {
			out = append(out, Cause{NotVisible, fmt.Sprintf("%s may not be read by %s, the client's principal", s.Key, r.principal())})
		}
		if s == r.state.Service {
			break // no alias
		}
	}
	return out
}

// principal names who the client is.
func (r *reporter) principal() string {
	if p := r.holding.Client.Principal; !p.Anonymous() {
		return p.Name
	}
	return "anonymous"
}

// delivery says why the client does not have the newest form of a resource; not
// ok when it has it, or nothing is to be had.
func (r *reporter) delivery(n ads.NameStatus) (Cause, bool) {
	what := n.Type.String() + " " + n.Name
	has := "it has nothing of it"
	if n.Acked.Version != "" {
		has = fmt.Sprintf("it has revision %d", n.Acked.Revision)
	}
	if n.Refused.Version != "" && n.State() != ads.Refused {
		has += fmt.Sprintf(", and refused revision %d: %s", n.Refused.Revision, n.Refused.Reason)
	}
	switch n.State() {
	case ads.Refused:
		return Cause{Refused, fmt.Sprintf("%s: the client refused revision %d %s ago; %s. It says: %s",
			what, n.Refused.Revision, r.ago(n.Refused.At), has, n.Refused.Reason)}, true
	case ads.NotSent:
		return Cause{NotSent, fmt.Sprintf("%s: revision %d is not sent yet%s", what, n.Current.Revision, behind(n))}, true
	case ads.Stale:
		if n.Sent.Version == n.Current.Version && n.Sent.Version != "" {
			return Cause{NotAcked, fmt.Sprintf("%s: revision %d was sent %s ago and is not answered; %s",
				what, n.Sent.Revision, r.ago(n.Sent.At), has)}, true
		}
		return Cause{NotSent, fmt.Sprintf("%s: revision %d is not sent yet%s; %s", what, n.Current.Revision, behind(n), has)}, true
	default:
		return Cause{}, false
	}
}

// behind says what a resource waits for.
func behind(n ads.NameStatus) string {
	if n.InFlight {
		return ": the client has not answered the response before it"
	}
	return ""
}

// newer says that an instance changed after what the client accepted.
func (r *reporter) newer(i *naming.Instance, at string) Cause {
	text := fmt.Sprintf("it changed at revision %d", i.Revision)
	switch {
	case r.has.Acked.Version == "":
		text += "; the client has accepted no endpoints of this service yet"
	case r.has.Acked.Revision == 0:
		text += "; the client has endpoints from an earlier stream"
	default:
		text += fmt.Sprintf("; the client has accepted revision %d", r.has.Acked.Revision)
	}
	if at == Still {
		text += ", and may still use it"
	}
	return Cause{Newer, text}
}

// absence says why an instance is not in the assignment.
func (r *reporter) absence(i *naming.Instance) []Cause {
	if r.built == nil {
		return nil // there is none: said of the service
	}
	var out []Cause
	for _, p := range r.problems {
		if p.Instance == i.ID {
			out = append(out, Cause{r.problemCode(i), p.Reason})
		}
	}
	set, _ := naming.StoredSettings(r.state.Service.Metadata)
	client := r.scope.Location
	near := set.Nearby != naming.NearAny && client.Region != ""
	switch {
	case len(out) > 0 || i.Isolated || i.Weight == 0: // said there, or in the condition
	case near && naming.NearnessOf(client, i.Location) < set.NearbyLimit:
		out = append(out, Cause{TooFar, fmt.Sprintf("it is farther away than the service's settings allow: client %s, instance %s",
			place(client), place(i.Location))})
	case !r.wholeLeftOut():
		out = append(out, Cause{LeftOut, "it is not in the assignment"})
	}
	return out
}

// wholeLeftOut reports whether a problem of the service itself explains it.
func (r *reporter) wholeLeftOut() bool {
	for _, p := range r.problems {
		if p.Instance == "" {
			return true
		}
	}
	return false
}

func place(l naming.Location) string { return l.Region + "/" + l.Zone + "/" + l.Campus }

// problemCode classifies what the builder says in words.
func (r *reporter) problemCode(i *naming.Instance) string {
	if _, err := netip.ParseAddr(i.Host); err != nil && !resource.ByName(r.state) {
		return HostIsName
	}
	for _, o := range r.state.Instances {
		if o != i && keyOf(o) == keyOf(i) {
			return SameAddress
		}
	}
	return LeftOut
}

// condition says what keeps traffic away from an instance, in the assignment or
// not.
func (r *reporter) condition(i *naming.Instance) []Cause {
	var out []Cause
	if i.Isolated {
		out = append(out, Cause{Isolated, by(i, "isolated", "by its own client", func(o *naming.Operator) bool { return o.Isolated != nil })})
	}
	if i.Weight == 0 {
		out = append(out, Cause{WeightZero, by(i, "weight 0", "by its own client", func(o *naming.Operator) bool { return o.Weight != nil })})
	}
	lease, leased := r.lease(i.ID)
	beats := ""
	if leased {
		beats = fmt.Sprintf("no beat for %s, with one expected every %s", lease.Since.Round(100*time.Millisecond), lease.TTL)
	}
	switch {
	case !i.Healthy && leased && (i.Operator == nil || i.Operator.Healthy == nil):
		out = append(out, Cause{Unhealthy, "unhealthy since " + stamp(i.Modified) + " or earlier: " + beats})
	case !i.Healthy:
		out = append(out, Cause{Unhealthy, by(i, "unhealthy", "by its own client", func(o *naming.Operator) bool { return o.Healthy != nil })})
	case leased && lease.Suspect:
		out = append(out, Cause{Suspect, beats + "; the mass-loss guard holds it healthy, since too many others went silent too"})
	}
	return out
}

// by says who made an instance so, and since when.
func by(i *naming.Instance, what, client string, set func(*naming.Operator) bool) string {
	if i.Operator == nil || !set(i.Operator) {
		return fmt.Sprintf("%s %s since %s or earlier", what, client, stamp(i.Modified))
	}
	who := i.Operator.By
	if who == "" {
		who = "an operator"
	}
	text := fmt.Sprintf("%s by %s since %s", what, who, stamp(i.Operator.Since))
	if i.Operator.Reason != "" {
		text += ": " + i.Operator.Reason
	}
	return text
}

func stamp(m naming.Micros) string { return time.UnixMicro(int64(m)).UTC().Format(time.RFC3339) }

// ago is the time since t, in a precision that people want.
func (r *reporter) ago(t time.Time) string {
	d := max(0, r.now.Sub(t))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
