package codec

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"polestar/naming"
	"polestar/proto/storepb"
)

// Interner makes equal strings share their memory: names, metadata keys and
// zones repeat over millions of instances. A nil Interner shares nothing.
type Interner map[string]string

func (in Interner) str(s string) string {
	if in == nil || s == "" {
		return s
	}
	if old, ok := in[s]; ok {
		return old
	}
	in[s] = s
	return s
}

// Encode returns the record of an object.
func Encode(o naming.Object) ([]byte, error) {
	m := message(o)
	if m == nil {
		return nil, fmt.Errorf("codec: unknown kind of object %T", o)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func message(o naming.Object) proto.Message {
	switch x := o.(type) {
	case *naming.Namespace:
		return &storepb.Namespace{
			Name: x.Name, Comment: x.Comment, Owner: x.Owner,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Service:
		return &storepb.Service{
			Id: x.ID, Namespace: x.Key.Namespace, Name: x.Key.Name, Metadata: pairs(x.Metadata), Ports: x.Ports,
			Business: x.Business, Department: x.Department, Comment: x.Comment, Owner: x.Owner,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Instance:
		return &storepb.Instance{
			Id: x.ID, Namespace: x.Service.Namespace, Service: x.Service.Name, Host: x.Host, Port: x.Port,
			VpcId: x.VpcID, Protocol: x.Protocol, Version: x.Version, LogicSet: x.LogicSet,
			Priority: x.Priority, Weight: x.Weight, Healthy: x.Healthy, Isolated: x.Isolated, TtlS: x.TTL,
			Location: location(x.Location), Metadata: pairs(x.Metadata),
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Client:
		return &storepb.Client{
			Id: x.ID, Host: x.Host, Type: x.Type, Version: x.Version, Location: location(x.Location),
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	default:
		return nil
	}
}

func pairs(m naming.Metadata) []*storepb.Pair {
	out := make([]*storepb.Pair, len(m))
	for n, p := range m {
		out[n] = &storepb.Pair{Key: p.Key, Value: p.Value}
	}
	return out
}

func location(l naming.Location) *storepb.Location {
	if l == (naming.Location{}) {
		return nil
	}
	return &storepb.Location{Region: l.Region, Zone: l.Zone, Campus: l.Campus}
}

// Decode reads the record of an object of kind k.
func Decode(k naming.Kind, record []byte, in Interner) (naming.Object, error) {
	switch k {
	case naming.KindNamespace:
		var m storepb.Namespace
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Namespace{
			Name: in.str(m.Name), Comment: m.Comment, Owner: in.str(m.Owner),
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindService:
		s, err := decodeService(record, in)
		if err != nil {
			return nil, err // not s: a nil *Service in an Object would not be nil
		}
		return s, nil
	case naming.KindInstance:
		i, err := decodeInstance(record, in)
		if err != nil {
			return nil, err
		}
		return i, nil
	case naming.KindClient:
		var m storepb.Client
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Client{
			ID: m.Id, Host: m.Host, Type: in.str(m.Type), Version: in.str(m.Version), Location: in.location(m.Location),
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	default:
		return nil, fmt.Errorf("codec: unknown kind %d", k)
	}
}

func decodeService(record []byte, in Interner) (*naming.Service, error) {
	var m storepb.Service
	if err := proto.Unmarshal(record, &m); err != nil {
		return nil, err
	}
	return &naming.Service{
		ID: m.Id, Key: naming.ServiceKey{Namespace: in.str(m.Namespace), Name: in.str(m.Name)}, Metadata: in.metadata(m.Metadata),
		Ports: m.Ports, Business: in.str(m.Business), Department: in.str(m.Department), Comment: m.Comment, Owner: in.str(m.Owner),
		Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
	}, nil
}

func (in Interner) location(l *storepb.Location) naming.Location {
	return naming.Location{Region: in.str(l.GetRegion()), Zone: in.str(l.GetZone()), Campus: in.str(l.GetCampus())}
}

func (in Interner) metadata(ps []*storepb.Pair) naming.Metadata {
	if len(ps) == 0 {
		return nil
	}
	out := make(naming.Metadata, len(ps))
	for n, p := range ps {
		out[n] = naming.Pair{Key: in.str(p.Key), Value: in.str(p.Value)}
	}
	return out
}

// EncodeCommit returns the change log's record of a commit, without its
// revision, which is its key.
func EncodeCommit(c naming.Commit) ([]byte, error) {
	m := &storepb.Commit{TimeUs: int64(c.Time), Changes: make([]*storepb.Change, len(c.Changes))}
	for n := range c.Changes {
		ch := &c.Changes[n]
		out := &storepb.Change{
			Kind: uint32(ch.Object().ObjectKind()), Principal: ch.Actor.Principal, Address: ch.Actor.Address,
			Agent: ch.Actor.Agent, Cause: string(ch.Cause), Reason: ch.Reason,
		}
		var err error
		if ch.Before != nil {
			if out.Before, err = Encode(ch.Before); err != nil {
				return nil, err
			}
		}
		if ch.After != nil {
			if out.After, err = Encode(ch.After); err != nil {
				return nil, err
			}
		}
		m.Changes[n] = out
	}
	return proto.Marshal(m)
}

// DecodeCommit reads a change log record.
func DecodeCommit(rev naming.Revision, record []byte) (naming.Commit, error) {
	var m storepb.Commit
	if err := proto.Unmarshal(record, &m); err != nil {
		return naming.Commit{}, err
	}
	c := naming.Commit{Revision: rev, Time: naming.Micros(m.TimeUs), Changes: make([]naming.Change, len(m.Changes))}
	for n, ch := range m.Changes {
		out := naming.Change{
			Actor: naming.Actor{Principal: ch.Principal, Address: ch.Address, Agent: ch.Agent},
			Cause: naming.Cause(ch.Cause), Reason: ch.Reason,
		}
		var err error
		if len(ch.Before) > 0 {
			if out.Before, err = Decode(naming.Kind(ch.Kind), ch.Before, nil); err != nil {
				return c, fmt.Errorf("change %d: %w", n, err)
			}
		}
		if len(ch.After) > 0 {
			if out.After, err = Decode(naming.Kind(ch.Kind), ch.After, nil); err != nil {
				return c, fmt.Errorf("change %d: %w", n, err)
			}
		}
		if out.Before == nil && out.After == nil {
			return c, fmt.Errorf("change %d has no object", n)
		}
		c.Changes[n] = out
	}
	return c, nil
}
