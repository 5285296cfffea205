package explain

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"polestar/naming"
	"polestar/naming/health"
	"polestar/xds/ads"
	"polestar/xds/resource"
)

type (
	// Report is about one stream.
	Report struct {
		Client    Client     `json:"client"`
		Service   Service    `json:"service"`
		Resources []Resource `json:"resources"` // those of the service that mean something to the client
		Causes    []Cause    `json:"causes"`    // what concerns all instances
		Instances []Instance `json:"instances"`
	}

	// Service is what is asked about.
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Known     bool   `json:"known"`
		AliasFor  string `json:"alias_for,omitempty"`
		Revision  uint64 `json:"revision,omitempty"` // of its last change, of instances too
		Instances int    `json:"instances"`
	}

	// Cause says why.
	Cause struct {
		Code string `json:"code"` // one of the constants below
		Text string `json:"text"`
	}

	// Instance says whether one is at the client.
	Instance struct {
		ID       string    `json:"id"`
		Address  string    `json:"address"`
		Revision uint64    `json:"revision"` // of its last change
		AtClient string    `json:"at_client"`
		Served   *Endpoint `json:"served,omitempty"` // in the newest assignment
		Causes   []Cause   `json:"causes"`
	}
)

// Whether an instance is at a client, as it is now.
const (
	Yes    = "yes"
	No     = "no"
	NotYet = "not yet" // it is served; the client has not accepted it, or not as it is now
	Still  = "still"   // it is not served any more; the client has not accepted that
)

// The causes.
const (
	UnknownService = "unknown_service"
	OtherNamespace = "other_namespace"
	Alias          = "alias"
	NotVisible     = "not_visible"
	NotAsked       = "not_subscribed"
	NotSent        = "not_sent"
	NotAcked       = "not_acked"
	Refused        = "refused"
	NotPublished   = "not_published"
	LeftOut        = "left_out"
	Isolated       = "isolated"
	WeightZero     = "weight_zero"
	HostIsName     = "host_is_name"
	SameAddress    = "duplicate_address"
	TooFar         = "too_far"
	Unhealthy      = "unhealthy"
	Suspect        = "suspect"
	Newer          = "newer" // it changed after what the client accepted
	NotRegistered  = "not_registered"
	OfOtherService = "other_service"
)

// reporter makes one report.
type reporter struct {
	Question
	world   naming.World
	holding ads.Holding
	scope   resource.Scope // of the node
	lease   func(string) (health.State, bool)
	now     time.Time

	state    *naming.ServiceState // of the service that has the instances; nil: there is none
	has      ads.NameStatus       // what the client has of its load assignment, or of the cluster around it
	asked    bool                 // the client subscribes to it
	built    *resource.Resource   // it as it is now; nil: there is none
	served   map[string]Endpoint  // by address
	problems []resource.Problem
}

func (r *reporter) report() Report {
	out := Report{
		Client: ClientOf(r.holding.Client), Service: Service{Namespace: r.Service.Namespace, Name: r.Service.Name},
		Resources: []Resource{}, Causes: []Cause{}, Instances: []Instance{},
	}
	slices.SortFunc(r.holding.Names, func(a, b ads.NameStatus) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	for _, n := range r.holding.Names {
		out.Resources = append(out.Resources, ResourceOf(n))
	}
	r.state = naming.Resolve(r.world, r.Service)
	if st := r.world.Service(r.Service); st != nil {
		out.Service.Known, out.Service.Revision = true, uint64(st.Revision)
		if st.Service.IsAlias() {
			out.Service.AliasFor = st.Service.AliasFor.String()
		}
	}
	failed := r.build()
	out.Causes = append(out.Causes, r.serviceCauses(failed)...)
	if r.state == nil {
		return out
	}
	out.Service.Instances = len(r.state.Instances)
	for _, i := range r.state.Instances {
		if r.Instance == "" || r.Instance == i.ID || r.Instance == addressOf(i) {
			out.Instances = append(out.Instances, r.instance(i))
		}
	}
	if r.Instance != "" && len(out.Instances) == 0 {
		out.Instances = append(out.Instances, r.missing())
	}
	return out
}

// build makes the assignment as the client would be sent it now, and finds what
// the client has of it. The error is that of the validation.
func (r *reporter) build() error {
	key := resource.Key{Type: resource.Endpoints, Name: resource.ClusterName(r.target())}
	if r.state != nil && resource.ByName(r.state) {
		key.Type = resource.Cluster // which has the assignment of a service of names in it
	}
	for _, n := range r.holding.Names {
		// Sidecars call the cluster so, and older ones the assignment.
		known := n.Name == key.Name || n.Name == resource.OutboundName(r.target())
		if n.Type == key.Type && known && (n.Named || key.Type == resource.Cluster) {
			r.has, r.asked, key.Name = n, true, n.Name
			break
		}
	}
	scope := r.scope
	scope.Collected = 0 // endpoints one by one are the same ones
	key.Scope = scope.Of(key.Type, key.Name)
	built, problems, err := resource.Build(r.world, key.Form(r.world))
	if err == nil {
		r.built, r.problems = built, problems
		r.served, err = endpointsIn(built)
	}
	if err == nil && built != nil {
		err = r.oneByOne()
	}
	return err
}

// oneByOne looks at the endpoints of a service that the client gets one by one:
// what it has of them says more than what it has of the assignment.
func (r *reporter) oneByOne() error {
	key := resource.Key{Type: resource.LbEndpoint, Name: resource.ClusterName(r.target())}
	for _, n := range r.holding.Names {
		if n.Type != key.Type || n.Name != key.Name || !n.Named {
			continue
		}
		key.Scope = r.scope.Of(key.Type, key.Name)
		all, _, err := resource.Build(r.world, key.Form(r.world))
		if err != nil {
			return err
		}
		r.has, r.asked, r.built = n, true, all
	}
	return nil
}

// target is the service whose endpoints are served: that which an alias stands
// for.
func (r *reporter) target() naming.ServiceKey {
	if r.state != nil {
		return r.state.Service.Key
	}
	return r.Service
}

// instance says whether one is at the client, and why.
func (r *reporter) instance(i *naming.Instance) Instance {
	out := Instance{ID: i.ID, Address: addressOf(i), Revision: uint64(i.Revision), Causes: []Cause{}}
	if e, in := r.served[keyOf(i)]; in && e.hashKey == hashKeyOf(i) {
		out.Served = &e
	}
	out.AtClient = r.atClient(i, out.Served != nil)
	if out.AtClient == NotYet || out.AtClient == Still {
		out.Causes = append(out.Causes, r.newer(i, out.AtClient))
	}
	if out.Served == nil {
		out.Causes = append(out.Causes, r.absence(i)...)
	}
	out.Causes = append(out.Causes, r.condition(i)...)
	return out
}

// atClient compares what is served with what the client accepted.
func (r *reporter) atClient(i *naming.Instance, served bool) string {
	acked := r.has.Acked
	same := r.built != nil && acked.Version == r.built.Version && r.has.Sent.Version == r.built.Version
	switch {
	case !r.asked || acked.Version == "" && !served:
		return No
	case r.built == nil:
		return Still
	case !served && !same && i.Created == i.Modified && uint64(i.Revision) > acked.Revision:
		return No // it came after what the client accepted, and was never served
	case same || acked.Version != "" && uint64(i.Revision) <= acked.Revision:
		if served {
			return Yes
		}
		return No
	case served:
		return NotYet
	default:
		return Still
	}
}

// missing reports on an instance that the service does not have.
func (r *reporter) missing() Instance {
	out := Instance{ID: r.Instance, AtClient: No}
	if i := r.world.Instance(r.Instance); i != nil && r.sees(i.Service) {
		out.Address, out.Revision = addressOf(i), uint64(i.Revision)
		out.Causes = []Cause{{OfOtherService, "it is an instance of " + i.Service.String()}}
		return out
	}
	text := "no such instance is registered"
	if r.asked && r.has.State() != ads.Synced && r.has.Acked.Version != "" {
		text += fmt.Sprintf("; the client has accepted revision %d and nothing newer, and may still use one that was", r.has.Acked.Revision)
	}
	out.Causes = []Cause{{NotRegistered, text}}
	return out
}

func addressOf(i *naming.Instance) string {
	return net.JoinHostPort(i.Host, strconv.FormatUint(uint64(i.Port), 10))
}

// names lists a few of many.
func names(all []string) string {
	if len(all) > shown {
		return strings.Join(all[:shown], ", ") + fmt.Sprintf(" and %d others", len(all)-shown)
	}
	return strings.Join(all, ", ")
}

// similar lists the services that may have been meant: the same name in other
// namespaces, or written otherwise in this one.
func (r *reporter) similar() (elsewhere, written []string) {
	for st := range r.world.Named(r.Service.Name) {
		if st.Service.Key != r.Service && r.sees(st.Service.Key) {
			elsewhere = append(elsewhere, st.Service.Key.String())
		}
	}
	for st := range r.world.Services(r.Service.Namespace) {
		if strings.EqualFold(st.Service.Key.Name, r.Service.Name) && r.sees(st.Service.Key) {
			written = append(written, st.Service.Key.String())
		}
	}
	slices.Sort(elsewhere)
	return elsewhere, written
}
