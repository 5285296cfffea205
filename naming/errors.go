package naming

import (
	"errors"
	"fmt"
)

// ErrorKind classifies an [Error]; doors map it to their codes.
type ErrorKind uint8

// The kinds of errors.
const (
	Internal       ErrorKind = iota // a bug of ours
	Invalid                         // the request breaks a bound; Field says which
	NotFound                        // Field: instance, service, namespace
	Conflict                        // the state does not allow it
	Denied                          // not allowed
	Overloaded                      // a bounded queue is full; nothing was done
	StoreFailed                     // the store refused or failed; nothing was done
	NotDone                         // time ran out first; nothing was done
	OutcomeUnknown                  // it may or may not have been done; retry is safe
	NotReady                        // this node cannot answer yet
	NoHealthCheck                   // a beat for an instance whose health is not checked
	Exists                          // what is to be created is there already
)

// ErrorKinds lists every kind, for tests that a table is complete.
func ErrorKinds() []ErrorKind {
	return []ErrorKind{
		Internal, Invalid, NotFound, Conflict, Denied, Overloaded, StoreFailed, NotDone, OutcomeUnknown, NotReady,
		NoHealthCheck, Exists,
	}
}

// Error is what every use case returns when it fails.
type Error struct {
	Kind  ErrorKind
	Field string // the request field that is wrong, or the kind of object that is missing
	Msg   string // for the caller: names the field and the bound; never internal text
	Err   error  // for the log
}

func (e *Error) Error() string {
	switch {
	case e.Err != nil && e.Msg != "":
		return e.Msg + ": " + e.Err.Error()
	case e.Err != nil:
		return e.Err.Error()
	default:
		return e.Msg
	}
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] with a formatted message for the caller.
func Errorf(kind ErrorKind, field, format string, args ...any) *Error {
	return &Error{Kind: kind, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first [Error] in err's chain, else Internal.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
