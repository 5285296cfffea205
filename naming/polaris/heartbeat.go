package polaris

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/internal/ratelimit"
	"polestar/naming"
)

// The bounds of [Heartbeats].
const (
	maxBeats = 10_000 // of one message
	// Refusals that the end of a stream names, and the bytes of what names them:
	// they go into its trailer, and clients take 8 KiB of those.
	maxRefusals     = 20
	maxRefusalBytes = 3 << 10
)

// Leases tell and forget when instances were last heard. *health.Leases fits.
type Leases interface {
	LastBeat(id string) (ago time.Duration, heard bool)
	ForgetBeat(id string)
}

// HeartbeatDeps are what [Heartbeats] calls.
type HeartbeatDeps struct {
	// Beat renews leases, one error for each; Registrar.Heartbeats fits.
	Beat   func(ctx context.Context, refs []naming.Ref) []error
	Leases Leases
	// Trusted reports whether a call may beat for everybody. Who is not trusted
	// must be somebody whom the gate knows, and may beat for what he has the
	// right to.
	Trusted    func(ctx context.Context) bool
	World      naming.Snapshots
	Auth       auth.Gate
	Identities func(ctx context.Context) []string // as in [Deps]
	Refused    func(auth.Refusal)
	// Instances bound how often each may beat; nil: as often as it likes.
	Instances *ratelimit.Buckets
	// Ready is false while this node does not know what is registered.
	Ready   func() bool
	Metrics prometheus.Registerer
}

// Heartbeats implements v1.PolarisHeartbeatGRPC: beats in groups, from servers
// and gateways that are trusted with everybody's, or have rights of their own.
type Heartbeats struct {
	HeartbeatDeps
	*access
	beats *prometheus.CounterVec
}

var _ service_manage.PolarisHeartbeatGRPCServer = (*Heartbeats)(nil)

// NewHeartbeats makes the service.
func NewHeartbeats(d HeartbeatDeps) (*Heartbeats, error) {
	h := &Heartbeats{HeartbeatDeps: d, access: newAccess(d.Auth, d.Identities, d.Refused), beats: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polestar_batch_heartbeats_total", Help: "Beats that came in groups, by the code that each alone would have got.",
	}, []string{"code"})}
	return h, d.Metrics.Register(h.beats)
}

// Register puts the service on a server.
func (h *Heartbeats) Register(on *grpc.Server) {
	service_manage.RegisterPolarisHeartbeatGRPCServer(on, h)
}

// BatchHeartbeat takes groups of beats and answers each group when all its beats
// are in. The answer has no room for codes, and one unknown instance must not
// cost the beats of the others: beats that are refused (400202, 400141 and so
// on, as in Heartbeat) are counted, and named when the client closes the stream,
// which then ends with FailedPrecondition and a v1.Response for each.
func (h *Heartbeats) BatchHeartbeat(stream service_manage.PolarisHeartbeatGRPC_BatchHeartbeatServer) error {
	ctx := stream.Context()
	q := h.caller(ctx, "BatchHeartbeat")
	if err := h.admit(ctx, q, 0, "heartbeats"); err != nil {
		return err // at once: strangers hold no streams
	}
	var r refusals
	ok := h.beats.WithLabelValues("200000")
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return r.end()
		}
		if err != nil {
			return err
		}
		if err := h.admit(ctx, q, len(in.GetHeartbeats()), "heartbeats"); err != nil {
			return err
		}
		done := len(in.GetHeartbeats())
		for n, err := range h.beat(ctx, q, in.GetHeartbeats()) {
			if err != nil {
				h.beats.WithLabelValues(fmt.Sprint(r.add(in.GetHeartbeats()[n], err))).Inc()
				done--
			}
		}
		ok.Add(float64(done))
		if err := stream.Send(&service_manage.HeartbeatsResponse{}); err != nil {
			return err
		}
	}
}

// BatchGetHeartbeat tells when instances last gave a sign of life; exist is
// false for one that has no lease on this server, whose beats were forgotten, or
// for which the caller may not beat.
// Beats are not counted per instance.
func (h *Heartbeats) BatchGetHeartbeat(ctx context.Context, in *service_manage.GetHeartbeatsRequest) (*service_manage.GetHeartbeatsResponse, error) {
	q := h.caller(ctx, "BatchGetHeartbeat")
	if err := h.admit(ctx, q, len(in.GetInstanceIds()), "instanceIds"); err != nil {
		return nil, err
	}
	now, w := time.Now(), h.World.World()
	out := &service_manage.GetHeartbeatsResponse{Records: make([]*service_manage.HeartbeatRecord, len(in.GetInstanceIds()))}
	for n, id := range in.GetInstanceIds() {
		r := &service_manage.HeartbeatRecord{InstanceId: id}
		ago, heard := h.Leases.LastBeat(id)
		if _, err := h.mine(ctx, q, w, naming.Ref{ID: &id}); heard && err == nil {
			r.Exist, r.LastHeartbeatSec = true, now.Add(-ago).Unix()
		}
		out.Records[n] = r
	}
	return out, nil
}

// BatchDelHeartbeat forgets when instances were last heard, and nothing else:
// the instances stay, and so do the deadlines of their leases. Unless all of
// them may be forgotten, none is.
func (h *Heartbeats) BatchDelHeartbeat(ctx context.Context, in *service_manage.DelHeartbeatsRequest) (*service_manage.DelHeartbeatsResponse, error) {
	q := h.caller(ctx, "BatchDelHeartbeat")
	if err := h.admit(ctx, q, len(in.GetInstanceIds()), "instanceIds"); err != nil {
		return nil, err
	}
	w := h.World.World()
	for _, id := range in.GetInstanceIds() {
		if _, err := h.mine(ctx, q, w, naming.Ref{ID: &id}); err != nil {
			code, info := codeOf(err)
			return &service_manage.DelHeartbeatsResponse{Code: code, Info: info}, nil
		}
	}
	for _, id := range in.GetInstanceIds() {
		h.Leases.ForgetBeat(id)
	}
	return &service_manage.DelHeartbeatsResponse{Code: codeOK, Info: texts[codeOK]}, nil
}

// caller reads what a call shows; nil for one that is trusted.
func (h *Heartbeats) caller(ctx context.Context, method string) *request {
	if h.Trusted(ctx) {
		return nil
	}
	return &request{method: method, action: auth.Heartbeat, shown: h.shown(ctx)}
}

// admit refuses whom nobody knows, what is too much, and everything while this
// node does not know what is registered: the peer asks again.
func (h *Heartbeats) admit(ctx context.Context, q *request, n int, field string) error {
	switch {
	case !h.Ready():
		return status.Error(codes.Unavailable, "this server is still loading; ask again")
	case n > maxBeats:
		return status.Errorf(codes.InvalidArgument, "%s: %d in one message, at most %d are allowed", field, n, maxBeats)
	case q == nil:
		return nil
	}
	if err := h.authenticate(ctx, q); err != nil {
		_, info := codeOf(err)
		return status.Error(codes.Unauthenticated, info)
	}
	// Nobody in particular may not beat here, whatever the switches of the API
	// say: this port is for those who are known.
	if q.by.Anonymous() && len(q.shown.Identities) == 0 {
		return status.Error(codes.Unauthenticated, tokenHeader+": this door needs its secret, the token of a user, or a client certificate")
	}
	return nil
}

// due is mine for a beat, if the instance does not beat too often.
func (h *Heartbeats) due(ctx context.Context, q *request, w naming.World, ref naming.Ref) (naming.Ref, error) {
	ref, err := h.mine(ctx, q, w, ref)
	if err == nil {
		err = paceInstance(h.Instances, ref)
	}
	return ref, err
}

// mine binds a reference to the service of the instance, if the sender may beat
// for it.
func (h *Heartbeats) mine(ctx context.Context, q *request, w naming.World, ref naming.Ref) (naming.Ref, error) {
	if q == nil {
		return ref, nil
	}
	named := ref.Service
	ref = stored(w, ref)
	if err := h.allow(ctx, q, w, ref.Service); err != nil {
		return ref, h.discreet(q, w, named, ref.Service, err)
	}
	return ref, nil
}

// beat renews the leases for which the sender may, one error for each.
func (h *Heartbeats) beat(ctx context.Context, q *request, in []*service_manage.InstanceHeartbeat) []error {
	refs := make([]naming.Ref, len(in))
	for n, b := range in {
		refs[n] = beatRef(b)
	}
	if q == nil && h.Instances == nil {
		return h.Beat(ctx, refs)
	}
	w := h.World.World()
	out := make([]error, len(in))
	mine := make([]naming.Ref, 0, len(in))
	at := make([]int, 0, len(in)) // where those of mine are in out
	for n, ref := range refs {
		if ref, out[n] = h.due(ctx, q, w, ref); out[n] == nil {
			mine, at = append(mine, ref), append(at, n)
		}
	}
	for n, err := range h.Beat(ctx, mine) {
		out[at[n]] = err
	}
	return out
}

// beatRef reads whom a beat is for: by id when there is one, else by place.
func beatRef(b *service_manage.InstanceHeartbeat) naming.Ref {
	if b.GetInstanceId() != "" {
		return naming.Ref{ID: &b.InstanceId}
	}
	return naming.Ref{
		Service: naming.ServiceKey{Namespace: b.GetNamespace(), Name: b.GetService()}, Host: b.GetHost(), Port: &b.Port,
	}
}

// refusals are the beats of one stream that were refused.
type refusals struct {
	total int
	named []*service_manage.Response
	seen  map[string]bool // instances that are named
	bytes int             // of what names them
}

// add notes a refusal and returns its code.
func (r *refusals) add(b *service_manage.InstanceHeartbeat, err error) uint32 {
	code, _ := codeOf(err)
	r.total++
	key := b.GetInstanceId()
	if key == "" {
		key = fmt.Sprintf("%s/%s/%s/%d", b.GetNamespace(), b.GetService(), b.GetHost(), b.GetPort())
	}
	if r.seen[key] || len(r.named) == maxRefusals || r.bytes+len(key) > maxRefusalBytes {
		return code
	}
	r.bytes += len(key)
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[key] = true
	out := &service_manage.Response{Code: wrapperspb.UInt32(code), Instance: &service_manage.Instance{}}
	if b.GetInstanceId() != "" {
		out.Instance.Id = wrapperspb.String(b.GetInstanceId())
	} else {
		out.Instance.Namespace, out.Instance.Service = wrapperspb.String(b.GetNamespace()), wrapperspb.String(b.GetService())
		out.Instance.Host, out.Instance.Port = wrapperspb.String(b.GetHost()), wrapperspb.UInt32(b.GetPort())
	}
	r.named = append(r.named, out)
	return code
}

// end is how a stream ends that its client closed.
func (r *refusals) end() error {
	if r.total == 0 {
		return nil
	}
	s := status.Newf(codes.FailedPrecondition, "%d beats were refused, of %d instances or more", r.total, len(r.named))
	details := make([]protoadapt.MessageV1, len(r.named))
	for n, d := range r.named {
		details[n] = protoadapt.MessageV1Of(d)
	}
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	return s.Err()
}
