package receipt

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"polestar/proto/adminpb"
)

func TestDoor(t *testing.T) {
	bubble(t, func(s *server) {
		door := adminpb.NewReceiptServiceClient(s.conn)
		rev := s.register("a", 1)
		c := s.dial("e", "default/a")
		r := c.hear()
		sent := time.Now()
		got, err := door.Wait(s.t.Context(), &adminpb.WaitRequest{
			Service: "a", Clients: []string{"e", "late"}, Timeout: durationpb.New(time.Second),
		})
		want := &adminpb.WaitResponse{Revision: rev, Published: rev, Clients: 1, Laggards: []*adminpb.Laggard{
			{Stream: 1, Node: "e", Type: "eds", Resource: "default/a", State: "stale", Wants: rev, Since: timestamppb.New(sent)},
			{Node: "late", State: "not connected"},
		}}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" || err != nil {
			s.t.Error(err, d)
		}
		c.refuse(r, "no")
		got, err = door.Wait(s.t.Context(), &adminpb.WaitRequest{Revision: rev})
		if err != nil || got.GetConverged() || got.GetLaggards()[0].GetReason() != "no" {
			s.t.Error(got, err)
		}
		rev = s.register("a", 2)
		c.accept(c.hear())
		got, err = door.Wait(s.t.Context(), &adminpb.WaitRequest{Revision: rev})
		want = &adminpb.WaitResponse{Revision: rev, Published: rev, Clients: 1, Converged: true}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" || err != nil {
			s.t.Error(err, d)
		}
	})
}

func TestDoorErrors(t *testing.T) {
	bubble(t, func(s *server) {
		door := adminpb.NewReceiptServiceClient(s.conn)
		code := func(in *adminpb.WaitRequest) codes.Code {
			_, err := door.Wait(s.t.Context(), in)
			return status.Code(err)
		}
		for want, in := range map[string]*adminpb.WaitRequest{
			"too long":    {Timeout: durationpb.New(time.Hour)},
			"no duration": {Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}},
			"no service":  {Namespace: "n"},
		} {
			if got := code(in); got != codes.InvalidArgument {
				s.t.Errorf("%s: %s", want, got)
			}
		}
		// Its caller's deadline ends a wait before its own timeout.
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := door.Wait(ctx, &adminpb.WaitRequest{Revision: 9}); status.Code(err) != codes.DeadlineExceeded || time.Since(start) != time.Second {
			s.t.Errorf("%v after %s", err, time.Since(start))
		}
		synctest.Wait()
		for range MaxWaits {
			s.wait(Request{Revision: 9})
		}
		synctest.Wait()
		if got := code(&adminpb.WaitRequest{}); got != codes.ResourceExhausted {
			s.t.Errorf("one too many: %s", got)
		}
		s.stop()
		synctest.Wait()
		if got := code(&adminpb.WaitRequest{}); got != codes.Unavailable {
			s.t.Errorf("after the stop: %s", got)
		}
	})
}
