package naming_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"polestar/naming"
)

func TestAdditionalAddresses(t *testing.T) {
	for _, c := range []struct {
		host, value, want string
		refused           string
	}{
		{host: "10.0.0.1", value: "2001:db8::1", want: "[[2001:db8::1]:80]"},
		{host: "10.0.0.1", value: "[2001:db8::1]:81, 10.0.0.1:82", want: "[[2001:db8::1]:81 10.0.0.1:82]"},
		{host: "2001:db8::1", value: "::ffff:10.0.0.9", want: "[10.0.0.9:80]"},
		{host: "10.0.0.1", value: "10.0.0.1", refused: "twice"},
		{host: "::ffff:10.0.0.1", value: "10.0.0.1:80", refused: "twice"},
		{host: "10.0.0.1", value: "10.0.0.2,10.0.0.2:80", refused: "twice"},
		{host: "10.0.0.1", value: "", refused: "ip, ip:port"},
		{host: "10.0.0.1", value: "10.0.0.2,", refused: "ip, ip:port"},
		{host: "10.0.0.1", value: "db.internal:80", refused: `"db.internal:80" is not`},
		{host: "10.0.0.1", value: "10.0.0.2:0", refused: "ip, ip:port"},
		{host: "10.0.0.1", value: "fe80::1%eth0", refused: "ip, ip:port"},
		{host: "10.0.0.1", value: "10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6", refused: "more than 4"},
		{host: "db.internal", value: "10.0.0.2", refused: "is a name"},
	} {
		i := &naming.Instance{Host: c.host, Port: 80, Metadata: naming.NewMetadata(map[string]string{naming.KeyAdditionalAddresses: c.value})}
		got, err := naming.AdditionalAddresses(i)
		if c.refused == "" {
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("%s with %q: %v, %v; want %s", c.host, c.value, got, err, c.want)
			}
			continue
		}
		e, ok := errors.AsType[*naming.Error](err)
		if !ok || e.Field != "metadata.polestar/additional-addresses" || !strings.Contains(e.Msg, c.refused) || got != nil {
			t.Errorf("%s with %q: %v, %v; want %q", c.host, c.value, got, err, c.refused)
		}
		// A registration is refused for it, too.
		r := naming.NewRegistrar(naming.Config{AutoCreate: true}, naming.Deps{Writer: newShelf(), World: newShelf(), Beats: beats{}})
		port := uint32(80)
		_, err = r.Register(t.Context(), naming.Registration{
			Service: naming.ServiceKey{Namespace: "n", Name: "s"}, Host: c.host, Port: &port,
			Metadata: map[string]string{naming.KeyAdditionalAddresses: c.value},
		})
		if e, ok := errors.AsType[*naming.Error](err); !ok || e.Kind != naming.Invalid || e.Field != "metadata.polestar/additional-addresses" {
			t.Errorf("registered with %q: %v", c.value, err)
		}
	}
}
