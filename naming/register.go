package naming

import (
	"context"
	"crypto/sha1" //nolint:gosec // of ids, not of secrets
	"strings"
	"time"
)

// Writer takes a write and answers when it is durable and visible on this
// node. batch fits, wrapped by cmd.
type Writer interface {
	Do(ctx context.Context, w Write) (Result, error)
}

// Snapshots gives the newest published world.
type Snapshots interface {
	World() World
}

// Beats takes heartbeats. naming/health fits.
type Beats interface {
	// Beat renews the lease of an instance; false when it has none.
	Beat(id string) bool
}

// Locator finds where a client runs, by its address.
type Locator interface {
	// Locate returns the zero Location for an unknown address.
	Locate(ip string) Location
}

// Config of the use cases.
type Config struct {
	// AutoCreate lets a registration create its service and namespace.
	AutoCreate bool
}

// Deps are what the use cases call.
type Deps struct {
	Writer  Writer
	World   Snapshots
	Beats   Beats
	Locator Locator // nil: nobody's location is known
	// Clients takes the reports of SDK processes; nil: their records stay for ever.
	Clients Beats
	// Fresh makes what other servers committed visible; nil on a server alone.
	Fresh func(ctx context.Context)
	// Unrecorded is told why a client's report was answered without a record;
	// nil: nobody is.
	Unrecorded func(err error)
}

// Registrar holds the use cases behind the doors.
type Registrar struct {
	cfg Config
	Deps
	arriving arrivals
}

// NewRegistrar makes a Registrar.
func NewRegistrar(cfg Config, d Deps) *Registrar { return &Registrar{cfg: cfg, Deps: d} }

// Registration is an instance as a client sends it: nil means "not sent".
type Registration struct {
	ID          string // empty: computed, see [InstanceID]
	Service     ServiceKey
	Host        string
	Port        *uint32 // required
	VpcID       string
	Protocol    string
	Version     string
	LogicSet    string
	Priority    uint32
	Weight      *uint32 // nil: 100
	Healthy     *bool   // nil: true
	Isolated    *bool   // nil: as stored, else false
	HealthCheck bool
	TTL         uint32 // seconds; 0 with HealthCheck means 5
	Location    Location
	Metadata    map[string]string
	Actor       Actor
}

// Register validates and stores an instance. It returns when the registration
// is durable and the next Discover on this node shows it.
//
// Registering the same content again changes nothing and makes no revision,
// but renews the lease.
func (r *Registrar) Register(ctx context.Context, in Registration) (Result, error) {
	i, err := in.instance()
	if err != nil {
		return Result{}, err
	}
	if i.Location == (Location{}) && r.Locator != nil {
		i.Location = r.Locator.Locate(i.Host)
	}
	r.arriving.begin(i)
	defer r.arriving.end(i.ID)
	res, err := r.do(ctx, &Register{
		Instance: *i, Isolated: in.Isolated, Healthy: in.Healthy, AutoCreate: r.cfg.AutoCreate, Actor: in.Actor,
	})
	if err == nil && res.Outcome == Unchanged {
		r.Beats.Beat(i.ID) // whoever registers again is alive
	}
	return res, err
}

func (in *Registration) instance() (*Instance, error) {
	i := &Instance{
		Service: in.Service, Host: strings.TrimSpace(in.Host), VpcID: in.VpcID, Protocol: in.Protocol,
		Version: in.Version, LogicSet: in.LogicSet, Priority: in.Priority, Weight: DefaultWeight, Location: in.Location,
		Metadata: NewMetadata(in.Metadata),
	}
	if in.Port != nil {
		i.Port = *in.Port
	}
	if in.Weight != nil {
		i.Weight = *in.Weight
	}
	if in.HealthCheck {
		i.TTL = in.TTL
		if i.TTL == 0 {
			i.TTL = DefaultTTL
		}
	}
	if err := validateInstance(i); err != nil {
		return nil, err
	}
	own := InstanceID(i.Service, i.VpcID, i.Host, i.Port)
	if i.ID = in.ID; i.ID == "" {
		i.ID = own
	}
	if err := checkText(FieldID, i.ID, MaxInstanceID); err != nil {
		return nil, err
	}
	if i.ID != own && derived(i.ID) {
		// Whoever takes the id of another's place keeps the other from registering,
		// and gets rid of what an operator set on it.
		return nil, Errorf(Invalid, FieldID, "id: %q looks like the id of another place; leave it out, or choose one that is not 40 hexadecimal digits", i.ID)
	}
	return i, nil
}

// derived reports whether an id has the form of one that [InstanceID] makes.
func derived(id string) bool {
	return len(id) == 2*sha1.Size && strings.Trim(id, "0123456789abcdef") == ""
}

// Ref points at an instance by id, or by place when the id is nil.
type Ref struct {
	ID *string
	// Service is part of the place. Beside an id it is the service that the
	// caller was authorised for: an instance of another one is left alone. The
	// zero key with an id means any service.
	Service ServiceKey
	VpcID   string
	Host    string
	Port    *uint32
}

// InstanceID returns the id that the reference stands for; Invalid for one that
// breaks a bound.
func (ref *Ref) InstanceID() (string, error) {
	if ref.ID != nil {
		if *ref.ID == "" {
			return "", Errorf(Invalid, FieldID, "id: must not be empty")
		}
		return *ref.ID, checkText(FieldID, *ref.ID, MaxInstanceID)
	}
	place := Registration{Service: ref.Service, Host: ref.Host, Port: ref.Port, VpcID: ref.VpcID}
	i, err := place.instance()
	if err != nil {
		return "", err
	}
	return i.ID, nil
}

// Deregister removes an instance. Removing what is not there is no error: the
// outcome is Absent. Error: Conflict for an instance of another service than
// the reference names.
func (r *Registrar) Deregister(ctx context.Context, ref Ref, actor Actor) (Result, error) {
	id, err := ref.InstanceID()
	if err != nil {
		return Result{}, err
	}
	return r.do(ctx, &Deregister{ID: id, Service: ref.Service, Actor: actor, Cause: CauseClient})
}

// Heartbeat renews an instance's lease. Errors: NotFound for an unknown
// instance, NoHealthCheck for one that registered without a TTL. An instance
// whose registration is still on its way is not unknown.
func (r *Registrar) Heartbeat(ctx context.Context, ref Ref) (*Instance, error) {
	i, err := r.beat(ref)
	if r.Fresh != nil && err != nil && KindOf(err) == NotFound {
		r.Fresh(ctx) // another server may have registered it a moment ago
		i, err = r.beat(ref)
	}
	return i, err
}

// Heartbeats renews many leases: one error for each reference, nil where all is
// well, as Heartbeat answers.
func (r *Registrar) Heartbeats(ctx context.Context, refs []Ref) []error {
	errs := make([]error, len(refs))
	unknown := false
	for n := range refs {
		_, errs[n] = r.beat(refs[n])
		unknown = unknown || errs[n] != nil && KindOf(errs[n]) == NotFound
	}
	if r.Fresh == nil || !unknown {
		return errs
	}
	r.Fresh(ctx) // once for all of them
	for n := range refs {
		if errs[n] != nil && KindOf(errs[n]) == NotFound {
			_, errs[n] = r.beat(refs[n])
		}
	}
	return errs
}

// beat renews a lease as far as this server knows the instance.
func (r *Registrar) beat(ref Ref) (*Instance, error) {
	id, err := ref.InstanceID()
	if err != nil {
		return nil, err
	}
	i := r.known(id)
	if i == nil || ref.Service != (ServiceKey{}) && i.Service != ref.Service {
		return nil, Errorf(NotFound, "instance", "instance %q is not registered", id)
	}
	if known := r.Beats.Beat(id); !known && i.TTL == 0 {
		return nil, Errorf(NoHealthCheck, "instance", "instance %q was registered without a health check", id)
	}
	return i, nil
}

// known finds an instance that is registered or about to be. The world is asked
// again last: a registration that was not found on its way may have arrived.
func (r *Registrar) known(id string) *Instance {
	if i := r.World.World().Instance(id); i != nil {
		return i
	}
	if i := r.arriving.find(id); i != nil {
		return i
	}
	return r.World.World().Instance(id)
}

// reportWait bounds how long a client's report waits for its record: SDKs give
// a call a second.
const reportWait = 300 * time.Millisecond

// ReportClient records an SDK process, renews its lease, and returns it with its
// location. A client without an id is not stored.
//
// While the store is away or slow the client is answered all the same, without
// a revision: its record is soft state that the next report brings, and SDKs
// ask for no instance before a report went well.
func (r *Registrar) ReportClient(ctx context.Context, c Client, actor Actor) (Client, error) {
	for _, f := range []struct {
		field, value string
		most         int
	}{{FieldHost, c.Host, MaxHost}, {FieldID, c.ID, MaxClientID}, {FieldVersion, c.Version, MaxClientVersion}} {
		if err := checkText(f.field, f.value, f.most); err != nil {
			return Client{}, err
		}
	}
	if err := c.Location.Validate(); err != nil {
		return Client{}, err
	}
	if err := checkStats(c.Stats); err != nil {
		return Client{}, err
	}
	if r.Locator != nil {
		ip := c.Host
		if ip == "" {
			ip = actor.Address
		}
		if l := r.Locator.Locate(ip); l != (Location{}) {
			c.Location = l
		}
	}
	if c.ID == "" {
		return c, nil
	}
	if r.Clients != nil {
		r.Clients.Beat(c.ID)
	}
	// Reports come every two minutes and seldom tell anything new.
	if known := r.World.World().Client(c.ID); known != nil && known.same(&c) {
		return *known, nil
	}
	short, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	res, err := r.do(short, &PutClient{Client: c, Actor: actor})
	switch {
	case err == nil:
		return *res.Client, nil
	case ctx.Err() != nil || !passing(err):
		return Client{}, err
	case r.Unrecorded != nil:
		r.Unrecorded(err)
	}
	return c, nil
}

// passing reports whether a write failed for a state of the server or its store
// that passes, and not for what it says.
func passing(err error) bool {
	switch KindOf(err) {
	case StoreFailed, NotDone, OutcomeUnknown, Overloaded:
		return true
	default:
		return false
	}
}

func checkStats(stats []ClientStat) error {
	if n := len(stats); n > MaxStats {
		return Errorf(Invalid, FieldStat, "stat: %d entries, at most %d are allowed", n, MaxStats)
	}
	for _, s := range stats {
		if s.Port > MaxPort {
			return Errorf(Invalid, FieldStat, "stat.port: %d is above %d", s.Port, MaxPort)
		}
		for _, f := range [...]struct{ name, value string }{{"target", s.Target}, {"path", s.Path}, {"protocol", s.Protocol}} {
			if err := checkText(FieldStat+"."+f.name, f.value, MaxStatText); err != nil {
				return err
			}
		}
	}
	return nil
}

// do folds a refused write into the error.
func (r *Registrar) do(ctx context.Context, w Write) (Result, error) {
	res, err := r.Writer.Do(ctx, w)
	if err == nil {
		err = res.Err
	}
	return res, err
}
