package auth_test

import (
	"testing"

	"polestar/auth"
)

func TestOpenAllowsEverything(t *testing.T) {
	var a auth.Authorizer = auth.Open{}
	for _, action := range []auth.Action{auth.Register, auth.Deregister, auth.Heartbeat, auth.Discover, auth.Report, auth.Contract, auth.Subscribe} {
		for _, r := range []auth.Resource{{}, {Namespace: "n", Service: "s"}} {
			if err := a.Allow(t.Context(), auth.Principal{}, action, r); err != nil {
				t.Errorf("%s of %v: %v", action, r, err)
			}
		}
	}
}
