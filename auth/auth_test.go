package auth_test

import (
	"testing"

	"polestar/auth"
	"polestar/naming"
)

func TestOpenAllowsEverything(t *testing.T) {
	var gate auth.Gate = auth.Open{}
	for _, api := range []auth.API{auth.ClientAPI, auth.ConsoleAPI} {
		p, err := gate.Authenticate(t.Context(), api, auth.Credentials{Token: "junk"})
		if err != nil || !p.Anonymous() {
			t.Fatalf("authenticated as %+v, %v", p, err)
		}
		for _, action := range auth.Actions() {
			for _, r := range []auth.Resource{{}, {Namespace: "n", Service: "s"}} {
				if err := gate.Allow(t.Context(), api, p, action, r); err != nil {
					t.Errorf("%s of %v: %v", action, r, err)
				}
			}
		}
		if s := gate.Scope(api, p); s.Key != "" || !s.Sees(&naming.Namespace{}, &naming.Service{}) {
			t.Errorf("scope %+v hides something", s)
		}
	}
}
