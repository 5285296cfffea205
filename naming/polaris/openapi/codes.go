package openapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"polestar/naming"
	"polestar/naming/polaris"
)

// The codes of this API beside those of the Polaris door (specification,
// model/code.proto). Those that end in 000 and are not Polaris' say what is
// wrong with the HTTP request itself.
const (
	codeOK       uint32 = 200000
	codeNoUpdate uint32 = 200002
)

// coded is an error with a code of its own.
type coded struct {
	code uint32
	text string
}

func (e coded) Error() string { return e.text }

var (
	errEmpty     = coded{400002, "empty request: the array has no items"}
	errSize      = coded{400003, "batch size is over the limit: at most 100 items are allowed"}
	errIsolate   = coded{400139, "isolate: must be there"}
	errTwice     = coded{400208, "the same instance is in this request before"}
	errNoneThere = coded{400303, "not found instance: the service has none on this host"}
	errNoAlias   = coded{400304, "not found service alias"}
)

// parseError is a body that cannot be read.
func parseError(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return coded{413000, "the body is larger than 1 MiB"}
	}
	const most = 256 // bytes; decoders repeat what they cannot read
	text := err.Error()
	return coded{400001, "parse exception: " + strings.ToValidUTF8(text[:min(most, len(text))], "?")}
}

// invalid is a wrong parameter or field that has no code of its own.
func invalid(text string) error { return naming.Errorf(naming.Invalid, "", "%s", text) }

func codeOf(err error) (uint32, string) {
	if e, ok := errors.AsType[coded](err); ok {
		return e.code, e.text
	}
	return polaris.CodeOf(err)
}

// answer is an answer without data; err nil is success.
func answer(err error) *service_manage.Response {
	code, info := codeOf(err)
	return &service_manage.Response{Code: wrapperspb.UInt32(code), Info: wrapperspb.String(info)}
}

// done is answer for a write: it says when nothing had to be changed, and logs
// what the client is not told.
func (c *call) done(outcome naming.Outcome, err error) *service_manage.Response {
	out := answer(err)
	switch {
	case err == nil && outcome == naming.Unchanged:
		out.Code, out.Info = wrapperspb.UInt32(codeNoUpdate), wrapperspb.String("update data is no change, no need to update")
	case out.GetCode().GetValue() >= 500000:
		c.Log.Warn("request failed", zap.String("method", c.route.method), zap.String("path", c.route.path),
			zap.String("request_id", polaris.Plain(c.r.Header.Get("Request-Id"))), zap.Error(err))
	}
	return out
}

// failed answers a request that fails as a whole, in the form of its route.
func (c *call) failed(err error) reply {
	out := c.done(0, err)
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return &service_manage.BatchQueryResponse{Code: out.GetCode(), Info: out.GetInfo(), Amount: wrapperspb.UInt32(0), Size: wrapperspb.UInt32(0)}
	}
	return &service_manage.BatchWriteResponse{Code: out.GetCode(), Info: out.GetInfo(), Size: wrapperspb.UInt32(0)}
}
