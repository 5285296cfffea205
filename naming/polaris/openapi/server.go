package openapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/auth"
	"polestar/naming"
	"polestar/naming/polaris"
)

// Client is the Polaris door, which answers what SDKs ask. *polaris.Server
// fits.
type Client interface {
	RegisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error)
	DeregisterInstance(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error)
	Heartbeat(ctx context.Context, in *service_manage.Instance) (*service_manage.Response, error)
	ReportClient(ctx context.Context, in *service_manage.Client) (*service_manage.Response, error)
	DiscoverOnce(ctx context.Context, in *service_manage.DiscoverRequest) (*service_manage.DiscoverResponse, error)
}

// Admin are the use cases of an operator; *naming.Registrar fits.
type Admin interface {
	PutNamespace(ctx context.Context, w naming.PutNamespace) (naming.Result, error)
	DeleteNamespace(ctx context.Context, w naming.DeleteNamespace) (naming.Result, error)
	PutService(ctx context.Context, w naming.PutService) (naming.Result, error)
	PutAlias(ctx context.Context, w naming.PutAlias) (naming.Result, error)
	DeleteService(ctx context.Context, w naming.DeleteService) (naming.Result, error)
	Register(ctx context.Context, r naming.Registration) (naming.Result, error)
	Modify(ctx context.Context, w naming.Modify) (naming.Result, error)
	ModifyHost(ctx context.Context, at naming.Place, w naming.ModifyAll) (naming.Result, error)
	Remove(ctx context.Context, w naming.Deregister) (naming.Result, error)
}

// Deps are what the door calls.
type Deps struct {
	Client Client
	Admin  Admin
	World  naming.Snapshots
	Auth   auth.Gate
	// Checked reports whether an API asks who is calling.
	Checked func(auth.API) bool
	// Login makes a token for who knows a user's password. Error: *auth.Error when
	// the name or the password is wrong.
	Login func(ctx context.Context, by naming.Actor, method, name, password string) (u *naming.User, token string, err error)
	// Refused is told of everybody who is turned away; it must not block.
	Refused func(auth.Refusal)
	// Ready is false while this node must not answer from its registry.
	Ready func() bool
	Log   *zap.Logger
}

// Server is the door. It expects to stand behind the HTTP door, which bounds
// connections and rates and refuses what other sites make browsers send.
type Server struct {
	Deps
	routes map[string]map[string]route // by path and method
}

// New makes the door.
func New(d Deps) *Server {
	s := &Server{Deps: d, routes: map[string]map[string]route{}}
	for _, list := range [][]route{clientRoutes(), namespaceRoutes(), serviceRoutes(), aliasRoutes(), instanceRoutes(), coreRoutes()} {
		for _, r := range list {
			if s.routes[r.path] == nil {
				s.routes[r.path] = map[string]route{}
			}
			s.routes[r.path][r.method] = r
		}
	}
	return s
}

// Prefixes are where the door expects to be found: every path of Polaris'
// protocol begins with one of them.
func Prefixes() []string { return []string{"/v1/", "/naming/", "/core/", "/config/", "/maintain/"} }

// reply is any answer of the protocol.
type reply interface {
	proto.Message
	GetCode() *wrapperspb.UInt32Value
	GetInfo() *wrapperspb.StringValue
}

// route is what a method does at a path.
type route struct {
	method, path string
	action       auth.Action // what a refusal of the whole request is noted as
	open         bool        // for everybody, console checked or not
	// client routes are for the Polaris door, which finds out itself who is
	// calling; their context is the one that gRPC would give it.
	client bool
	answer func(context.Context, *call) reply
}

// call is one request.
type call struct {
	*Server
	route route
	r     *http.Request
	w     http.ResponseWriter
	by    auth.Principal
}

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := polaris.Plain(r.Header.Get("Request-Id")); id != "" {
		w.Header().Set("Request-Id", id)
	}
	methods, known := s.routes[r.URL.Path]
	if !known {
		s.write(w, answer(coded{404000, "there is nothing at this path, or it is not supported"}))
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	at, allowed := methods[method]
	if !allowed {
		w.Header().Set("Allow", allow(methods))
		s.write(w, answer(coded{405000, r.Method + " is not allowed at this path"}))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	c := &call{Server: s, route: at, r: r, w: w}
	ctx := r.Context()
	if at.client {
		ctx = incoming(ctx, w, r)
	} else if err := c.identify(ctx); err != nil {
		s.write(w, c.failed(err))
		return
	}
	s.write(w, at.answer(ctx, c))
}

// allow lists the methods of a path.
func allow(methods map[string]route) string {
	var out []string
	for m := range methods {
		out = append(out, m)
		if m == http.MethodGet {
			out = append(out, http.MethodHead)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// write sends an answer; its code says the status.
func (s *Server) write(w http.ResponseWriter, out reply) {
	text, err := encode(out)
	if err != nil {
		s.Log.Error("an answer could not be made", zap.Error(err))
		out = answer(err)
		if text, err = encode(out); err != nil {
			text = []byte("{}")
		}
	}
	code := out.GetCode().GetValue()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if code != codeOK {
		h.Set("X-Polaris-Code", strconv.Itoa(int(code)))
		h.Set("X-Polaris-Message", ascii(out.GetInfo().GetValue()))
	}
	switch code / 1000 {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="polestar"`)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(int(code / 1000))
	_, _ = w.Write(text) // the client is gone when this fails
}

// ascii makes a text fit for a header: bounded, and what is not printable there
// is a question mark.
func ascii(s string) string {
	const most = 256 // characters
	out := make([]byte, 0, most)
	for _, r := range s {
		if len(out) == most {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		out = append(out, byte(r))
	}
	return string(out)
}
