package polaris

import (
	"errors"
	"strings"

	"polestar/naming"
)

// The result codes that this door answers (specification, model/code.proto).
const (
	codeOK           uint32 = 200000
	codeNoChange     uint32 = 200001
	codeEmptyRequest uint32 = 400002
	codeBadDiscover  uint32 = 400004
	codeNotFound     uint32 = 400202
)

// byKind is the code of each kind of error, unless byField has a finer one.
var byKind = map[naming.ErrorKind]uint32{
	naming.Internal:       500000,
	naming.Invalid:        400103,
	naming.NotFound:       codeNotFound,
	naming.Conflict:       409000,
	naming.Denied:         401001,
	naming.Overloaded:     429001,
	naming.StoreFailed:    500001,
	naming.NotDone:        500008,
	naming.OutcomeUnknown: 500001,
	naming.NotReady:       500000,
	naming.NoHealthCheck:  400141,
	naming.Exists:         400201,
}

// byField refines Invalid and NotFound where Polaris has a code of its own.
var byField = map[naming.ErrorKind]map[string]uint32{
	naming.Invalid: {
		naming.FieldRequest:   codeEmptyRequest,
		naming.FieldID:        400130,
		naming.FieldNamespace: 400110,
		naming.FieldService:   400120,
		naming.FieldHost:      400131,
		naming.FieldPort:      400132,
		naming.FieldProtocol:  400136,
		naming.FieldVersion:   400137,
		naming.FieldLogicSet:  400138,
		naming.FieldMetadata:  400150,
		naming.FieldOwner:     400121,
		naming.FieldPorts:     400124,
		naming.FieldBusiness:  400125,
		naming.FieldDepart:    400126,
		naming.FieldComment:   400128,
	},
	naming.Conflict: {
		naming.FieldServices:     400203,
		naming.FieldInstances:    400204,
		naming.FieldAliases:      400210,
		naming.FieldAliasFor:     400501,
		naming.FieldAlias:        400502,
		naming.FieldAliasOfAlias: 400504,
	},
	naming.Denied: {
		fieldCredentials: 401000,
		fieldToken:       401004,
		fieldDisabled:    401003,
	},
	naming.Overloaded: {
		fieldPeer: 429002,
	},
	naming.NotFound: {
		"service":   400301,
		"namespace": 400305,
	},
}

// texts are the standard words of the codes.
var texts = map[uint32]string{
	codeOK:           "execute success",
	codeNoChange:     "discover data is no change",
	codeEmptyRequest: "empty request",
	codeBadDiscover:  "discover type is not supported",
	400103:           "invalid parameter",
	400110:           "invalid namespace name",
	400120:           "invalid service name",
	400121:           "invalid owners",
	400124:           "invalid service ports",
	400125:           "invalid service business",
	400126:           "invalid service department",
	400128:           "invalid comment",
	400130:           "invalid instance id",
	400131:           "invalid instance host",
	400132:           "invalid instance port",
	400136:           "invalid instance protocol",
	400137:           "invalid instance version",
	400138:           "invalid instance logic set",
	400141:           "heartbeat on an instance without health check",
	400150:           "invalid metadata",
	400201:           "existed resource",
	codeNotFound:     "not found resource",
	400203:           "the namespace still has services",
	400204:           "the service still has instances",
	400210:           "the service still has aliases",
	400501:           "not allowed on an alias",
	400502:           "instances cannot be registered to an alias",
	400504:           "an alias cannot stand for an alias",
	400301:           "not found service",
	400305:           "not found namespace",
	401000:           "unauthorized",
	401001:           "not allowed to access",
	401003:           "the token is disabled",
	401004:           "the token does not exist",
	409000:           "data conflict",
	429001:           "too many requests",
	429002:           "too many requests",
	500000:           "execute exception",
	500001:           "store layer exception",
	500008:           "the request waited too long and was not done",
}

// codeOf maps an error to its code and to the text for the client. Texts of
// wrapped errors stay in the log.
func codeOf(err error) (code uint32, info string) {
	if err == nil {
		return codeOK, texts[codeOK]
	}
	e, ok := errors.AsType[*naming.Error](err)
	if !ok {
		return byKind[naming.Internal], texts[byKind[naming.Internal]]
	}
	field, _, _ := strings.Cut(e.Field, ".") // what follows says which part of it
	code, ok = byField[e.Kind][field]
	if !ok {
		code = byKind[e.Kind]
	}
	if e.Msg == "" {
		return code, texts[code]
	}
	return code, texts[code] + ": " + e.Msg
}
