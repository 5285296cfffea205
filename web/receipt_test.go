package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
	"polestar/xds/receipt"
)

func TestReceiptRequests(t *testing.T) {
	s := door(t, true)
	var asked receipt.Request
	s.deps.Receipt = func(_ context.Context, r receipt.Request) (receipt.Receipt, error) {
		asked = r
		return receipt.Receipt{Revision: 7, Laggards: []receipt.Laggard{{Node: "e", State: "not connected"}}}, nil
	}
	for path, want := range map[string]receipt.Request{
		"": {},
		"?revision=7&timeout=3s&namespace=n&service=a&client=b&client=c": {
			Revision: 7, Timeout: 3 * time.Second, Service: naming.ServiceKey{Namespace: "n", Name: "a"}, Clients: []string{"b", "c"},
		},
		"?service=a&client=": {Service: naming.ServiceKey{Namespace: "default", Name: "a"}},
	} {
		w := get(s, "/api/v1/receipts"+path)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"state": "not connected"`) || !strings.Contains(w.Body.String(), `"converged": false`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if len(asked.Clients) == 0 {
			asked.Clients = nil
		}
		if d := cmp.Diff(want, asked); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

func TestReceiptErrors(t *testing.T) {
	s := door(t, true)
	for path, want := range map[string]string{
		"revision=x": "revision", "revision=-1": "revision", "timeout=5": "timeout", "limit=1": "revision, timeout, namespace, service, client",
		"revision=1&revision=2": "more than once", "%zz": "query",
	} {
		w := get(s, "/api/v1/receipts?"+path)
		var p struct{ Detail, Parameter string }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusBadRequest || !strings.Contains(p.Detail, want) || p.Parameter == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for want, err := range map[int]error{
		http.StatusBadRequest:          naming.Errorf(naming.Invalid, "client", "client: too long"),
		http.StatusTooManyRequests:     naming.Errorf(naming.Overloaded, "", "too many wait"),
		http.StatusServiceUnavailable:  naming.Errorf(naming.NotReady, "", "stopping"),
		http.StatusInternalServerError: errors.New("secret"),
	} {
		s.deps.Receipt = func(context.Context, receipt.Request) (receipt.Receipt, error) { return receipt.Receipt{}, err }
		if w := get(s, "/api/v1/receipts"); w.Code != want || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

// A wait outlives the timeouts of the door, and ends with its caller.
func TestAReceiptMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := door(t, true)
		ended := make(chan error, 1)
		s.deps.Receipt = func(ctx context.Context, r receipt.Request) (receipt.Receipt, error) {
			if r.Revision == 1 {
				time.Sleep(5 * time.Minute)
				return receipt.Receipt{Converged: ctx.Err() == nil}, nil
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return receipt.Receipt{}, ctx.Err()
		}
		p := pipe{make(chan net.Conn), make(chan struct{})}
		s.listener = p
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()

		client, server := net.Pipe()
		p.conn <- server
		if _, err := client.Write([]byte("GET /api/v1/receipts?revision=1 HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got receipt.Receipt
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil || !got.Converged {
			t.Errorf("%+v, %v", got, err)
		}
		_ = res.Body.Close()

		if _, err := client.Write([]byte("GET /api/v1/receipts?revision=2 HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = client.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
