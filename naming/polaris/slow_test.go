package polaris_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/grpc"
)

// A client that asks and does not read is not read either: what waits for it
// is bounded by the windows of its own connection, however much it asks. When
// it reads again, every request has its answer, in order. Nobody else notices.
func TestASlowReaderBoundsItsOwnMemoryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, func(s *setup) {
			s.dial = []grpc.DialOption{grpc.WithStaticStreamWindowSize(64 << 10), grpc.WithStaticConnWindowSize(1 << 20)}
		})
		for n := range uint32(100) {
			in := message("n", "a", n+1)
			in.Metadata = map[string]string{"k": strings.Repeat("v", 1000)}
			d.register(t, in)
		}
		d.guard.take()
		lazy := d.discover(t)
		request := func(n int) *service_manage.DiscoverRequest {
			req := query(typeInstance, "n", "a", "")
			req.Direction = service_manage.DiscoverDirection(n)
			return req
		}
		const all = 20_000
		var sent atomic.Int32
		done := make(chan error, 1)
		go func() {
			for n := range all {
				if err := lazy.Send(request(n)); err != nil {
					done <- err
					return
				}
				sent.Add(1)
			}
			done <- lazy.CloseSend()
		}()
		synctest.Wait() // nothing moves any more
		if answered := len(d.guard.take()); answered > 8 {
			t.Errorf("%d answers of 100 kB wait for a client that does not read", answered)
		}
		if n := sent.Load(); n > 10_000 {
			t.Errorf("the server took %d requests of a client that does not read", n)
		}
		if got := len(d.discover(t).instances(t, "n", "a", "").GetInstances()); got != 100 {
			t.Errorf("beside it, another stream sees %d instances", got)
		}
		for n := range 200 {
			res, err := lazy.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if len(res.GetInstances()) != 100 || int(res.GetDirection()) != n {
				t.Fatalf("answer %d: direction %v, %d instances", n, res.GetDirection(), len(res.GetInstances()))
			}
		}
		if err := d.conn.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Error("all requests were sent, though nobody read them")
		}
	})
}
