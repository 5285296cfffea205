package polaris

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that ours falls back to
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/internal/ratelimit"
	"polestar/naming"
)

// Registry is what this door asks of naming. *naming.Registrar fits.
type Registry interface {
	Register(ctx context.Context, r naming.Registration) (naming.Result, error)
	Deregister(ctx context.Context, ref naming.Ref, actor naming.Actor) (naming.Result, error)
	Heartbeat(ctx context.Context, ref naming.Ref) (*naming.Instance, error)
	ReportClient(ctx context.Context, c naming.Client, actor naming.Actor) (naming.Client, error)
	ReportContract(ctx context.Context, c naming.Contract, actor naming.Actor) (naming.Result, error)
}

// Deps are what the door calls.
type Deps struct {
	Registry Registry
	World    naming.Snapshots
	Auth     auth.Gate
	// Identities are those of a call's verified client certificate; nil: this
	// door takes none.
	Identities func(ctx context.Context) []string
	// Refused is told of everybody who is turned away; nil: nobody is.
	Refused func(auth.Refusal)
	// Peers and Instances bound how often an address may ask, and how often an
	// instance may be written or beat; nil: as often as they like.
	Peers, Instances *ratelimit.Buckets
	Log              *zap.Logger
	// Ready is false while this node must not answer from its registry.
	Ready func() bool
}

// Server implements v1.PolarisGRPC and v1.PolarisServiceContractGRPC.
type Server struct {
	Deps
	*access
	shelf *shelf
}

var _ service_manage.PolarisGRPCServer = (*Server)(nil)

// New makes the door.
func New(d Deps) *Server {
	return &Server{Deps: d, access: newAccess(d.Auth, d.Identities, d.Refused), shelf: newShelf(shelfBytes)}
}

// The windows of flow control towards the server, in bytes: what a client may
// send that nobody has read yet. Fixed ones, for gRPC would widen those of a
// client that floods the server to 16 MiB. A larger message takes more round
// trips.
const (
	streamWindow     = 64 << 10
	connectionWindow = 1 << 20
)

// Options are what a server needs that the door is registered on.
func Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")}),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connectionWindow),
	}
}

// Register puts the door's services on a server that was made with [Options].
func (s *Server) Register(on *grpc.Server) {
	service_manage.RegisterPolarisGRPCServer(on, s)
	service_manage.RegisterPolarisServiceContractGRPCServer(on, s)
}

// plain makes a header fit for records and logs: HTTP/2 lets any byte
// through, stored texts are UTF-8 without control characters.
func plain(s string) string {
	const most = 128 // bytes
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// ready is an error while this node must not answer from its registry.
func (s *Server) ready() error {
	if s.Ready() {
		return nil
	}
	return naming.Errorf(naming.NotReady, "", "this server is still loading; ask again")
}

// identify is what every message asks first. A node that is not ready knows
// neither what is registered nor who may what: it must not say 400202 or
// 401001, on which SDKs register again or drop what they have.
func (s *Server) identify(ctx context.Context, q *request) error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.pace(ctx, q); err != nil {
		return err
	}
	return s.authenticate(ctx, q)
}

// may asks besides whether somebody may do that to a service.
func (s *Server) may(ctx context.Context, q *request, key naming.ServiceKey) error {
	if err := s.identify(ctx, q); err != nil {
		return err
	}
	return s.allow(ctx, q, s.World.World(), key)
}

// source is the service that an alias stands for, and any other key itself.
func source(w naming.World, key naming.ServiceKey) naming.ServiceKey {
	if st := w.Service(key); st != nil && st.Service.IsAlias() {
		return st.Service.AliasFor
	}
	return key
}

// reply makes the answer of a unary method, and logs what the client is not
// told.
func (s *Server) reply(ctx context.Context, method string, err error) *service_manage.Response {
	code, info := codeOf(err)
	if code >= 500000 {
		s.Log.Warn("request failed", zap.String("method", method), zap.Uint32("code", code),
			zap.String("request_id", requestID(ctx)), zap.Error(err))
	}
	return &service_manage.Response{Code: wrapperspb.UInt32(code), Info: wrapperspb.String(info)}
}

// result is a code with its standard text.
func result(code uint32) (*wrapperspb.UInt32Value, *wrapperspb.StringValue) {
	return wrapperspb.UInt32(code), wrapperspb.String(texts[code])
}

func requestID(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, "request-id"); len(v) > 0 {
		return plain(v[0])
	}
	return ""
}
