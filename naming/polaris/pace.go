package polaris

import (
	"context"
	"time"

	"polestar/internal/ratelimit"
	"polestar/naming"
)

// paceWait bounds how long a message on a stream waits for its turn.
const paceWait = 3 * time.Second

// pace holds an address to its rate, before anybody looks who is calling, so
// that tokens cannot be guessed faster either. A call is refused at once. On a
// stream the next message is read later: polaris-java drops its instances when
// Discover is answered 429002.
func (s *Server) pace(ctx context.Context, q *request) error {
	if s.Peers == nil {
		return nil
	}
	peer := ratelimit.Peer(addressOf(ctx))
	if q.method == methodDiscover {
		if s.Peers.Wait(ctx, peer, paceWait) {
			return nil
		}
		return naming.Errorf(naming.NotReady, "", "too many requests from this address; ask again")
	}
	if ok, _ := s.Peers.Allow(peer); !ok {
		return naming.Errorf(naming.Overloaded, fieldPeer, "from this address; nothing was done")
	}
	return nil
}

// paceInstance holds an instance to its rate.
func paceInstance(b *ratelimit.Buckets, ref naming.Ref) error {
	if b == nil {
		return nil
	}
	var id string
	switch {
	case ref.ID != nil:
		id = *ref.ID
	case ref.Port != nil:
		id = naming.InstanceID(ref.Service, ref.VpcID, ref.Host, *ref.Port)
	}
	if id == "" || len(id) > 4*naming.MaxInstanceID {
		return nil // such a reference is refused anyway
	}
	if ok, _ := b.Allow(id); !ok {
		return naming.Errorf(naming.Overloaded, "", "for this instance; nothing was done")
	}
	return nil
}
