package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

func TestEveryWriteHasItsQueueAndKey(t *testing.T) {
	cart := naming.ServiceKey{Namespace: "default", Name: "cart"}
	type place struct {
		Kind int
		Key  string
	}
	for name, c := range map[string]struct {
		write naming.Write
		want  place
	}{
		"register":        {&naming.Register{Instance: naming.Instance{ID: "i", Service: cart}}, place{kindRegister, "instance\x00i"}},
		"deregister":      {&naming.Deregister{ID: "i"}, place{kindDeregister, "instance\x00i"}},
		"flip":            {&naming.SetHealth{ID: "i"}, place{kindHeartbeat, "instance\x00i"}},
		"report":          {&naming.PutClient{Client: naming.Client{ID: "c"}}, place{kindClientRegister, "client\x00c"}},
		"forget client":   {&naming.RemoveClient{ID: "c"}, place{kindClientDeregister, "client\x00c"}},
		"operator":        {&naming.Modify{ID: "i"}, place{kindOther, "instance\x00i"}},
		"contract":        {&naming.PutContract{Contract: naming.Contract{Service: cart}}, place{kindOther, "service\x00default\x00cart"}},
		"service":         {&naming.PutService{Key: cart}, place{kindOther, "service\x00default\x00cart"}},
		"namespace":       {&naming.PutNamespace{Name: "n"}, place{kindOther, "namespace\x00n"}},
		"delete service":  {&naming.DeleteService{Key: cart}, place{kindOther, "service\x00default\x00cart"}},
		"alias":           {&naming.PutAlias{Key: cart}, place{kindOther, "service\x00default\x00cart"}},
		"delete the rest": {&naming.DeleteNamespace{Name: "n"}, place{kindOther, "namespace\x00n"}},
	} {
		if diff := cmp.Diff(c.want, place{kindOf(c.write), keyOf(c.write)}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A write that makes the decision panic fails alone: the group is tried again
// without it.
func TestAPoisonedWriteFailsAlone(t *testing.T) {
	w := startWhole(t, t.TempDir())
	good := &naming.Register{
		Instance: naming.Instance{ID: "i", Service: naming.ServiceKey{Namespace: "default", Name: "cart"}, Host: "10.0.0.1", Port: 80}, AutoCreate: true,
	}
	_, err := w.commit(t.Context(), []naming.Write{good, (*naming.Register)(nil)})
	if err == nil || !splittable(err) || w.registry.World().Instance("i") != nil {
		t.Fatalf("err = %v: the group must fail as a whole and be tried in halves", err)
	}
	if _, err = (writer{w.batch}).Do(t.Context(), (*naming.Register)(nil)); naming.KindOf(err) != naming.Internal {
		t.Errorf("the guilty one: %v", err)
	}
	if res, err := (writer{w.batch}).Do(t.Context(), good); err != nil || res.Err != nil {
		t.Errorf("after it: %v, %v", err, res.Err)
	}
}
