package ads

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A request is decoded when it is its turn: decoded, a hundred thousand names
// take many times what they take on the wire, and many streams at once would
// hold all of that.
const (
	largeRequest = 64 << 10 // bytes from which a request waits for its turn
	largeAtOnce  = 4        // requests of that size that are decoded and handled at one time
)

// frame is a request as it came in.
type frame struct{ data mem.BufferSlice }

// decode reads the message, once.
func (f *frame) decode(m proto.Message) error {
	whole := f.data.MaterializeToBuffer(mem.DefaultBufferPool())
	f.data.Free()
	f.data = nil
	defer whole.Free()
	if err := proto.Unmarshal(whole.ReadOnlyData(), m); err != nil {
		return status.Errorf(codes.Internal, "the request is not the message that it should be: %v", err)
	}
	return nil
}

// turn waits until a request may be handled; the caller ends its turn with what
// it returns.
func (st *stream) turn(ctx context.Context, f *frame) (end func(), err error) {
	if f.data.Len() < largeRequest {
		return func() {}, nil
	}
	select {
	case st.server.large <- struct{}{}:
		return func() { <-st.server.large }, nil
	case err := <-st.end:
		return nil, err
	case <-st.server.stop:
		return nil, errStopping
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
