package polaris

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/polarismesh/specification/source/go/api/v1/model"

	"polestar/naming"
)

func TestEveryKindOfErrorHasACode(t *testing.T) {
	for _, k := range naming.ErrorKinds() {
		if byKind[k] == 0 {
			t.Errorf("kind %d has no code", k)
		}
	}
	if len(byKind) != len(naming.ErrorKinds()) {
		t.Errorf("%d codes for %d kinds", len(byKind), len(naming.ErrorKinds()))
	}
}

func TestEveryCodeHasATextAndIsOneOfPolaris(t *testing.T) {
	used := map[uint32]bool{codeOK: true, codeNoChange: true, codeEmptyRequest: true, codeBadDiscover: true, codeNotFound: true}
	for _, c := range byKind {
		used[c] = true
	}
	for _, fields := range byField {
		for _, c := range fields {
			used[c] = true
		}
	}
	for c := range used {
		if texts[c] == "" {
			t.Errorf("code %d has no text", c)
		}
		if _, known := model.Code_name[int32(c)]; !known {
			t.Errorf("code %d is not in the protocol", c)
		}
	}
	for c := range texts {
		if !used[c] {
			t.Errorf("code %d has a text, but nothing answers it", c)
		}
	}
}

// What went wrong inside is for the log; the client is told the code and what
// concerns its own request.
func TestInternalTextStaysInside(t *testing.T) {
	const inside = "dial tcp 10.1.2.3:3306: refused"
	inner := errors.New(inside)
	for _, k := range naming.ErrorKinds() {
		for _, err := range []error{
			&naming.Error{Kind: k, Err: inner},
			&naming.Error{Kind: k, Msg: "public", Err: inner},
			fmt.Errorf("wrapped by %s: %w", inside, &naming.Error{Kind: k, Msg: "public", Err: inner}),
		} {
			code, info := codeOf(err)
			if code != byKind[k] || strings.Contains(info, "10.1.2.3") || !strings.HasPrefix(info, texts[code]) {
				t.Errorf("kind %d: %d %q", k, code, info)
			}
			if e, _ := errors.AsType[*naming.Error](err); e.Msg != "" && info != texts[code]+": public" {
				t.Errorf("kind %d: the public text is missing in %q", k, info)
			}
		}
	}
	if code, info := codeOf(inner); code != 500000 || info != texts[500000] {
		t.Errorf("a foreign error: %d %q", code, info)
	}
	if code, info := codeOf(nil); code != 200000 || info != "execute success" {
		t.Errorf("no error: %d %q", code, info)
	}
}

// polaris-go treats 5xx as a fault of the server and drops its stream;
// polaris-java drops its instances on 4xx. Neither may be mixed up.
func TestClassesOfCodes(t *testing.T) {
	for k, class := range map[naming.ErrorKind]uint32{
		naming.Internal: 500, naming.Invalid: 400, naming.NotFound: 400, naming.Conflict: 409, naming.Denied: 401, naming.Overloaded: 429,
		naming.StoreFailed: 500, naming.NotDone: 500, naming.OutcomeUnknown: 500, naming.NotReady: 500, naming.NoHealthCheck: 400,
	} {
		if code, _ := codeOf(naming.Errorf(k, "no such field", "x")); code/1000 != class {
			t.Errorf("kind %d has code %d, want class %d", k, code, class)
		}
	}
}
