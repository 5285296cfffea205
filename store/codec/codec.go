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

// String returns s in memory that it shares with equal texts.
func (in Interner) String(s string) string { return in.str(s) }

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
			Name: x.Name, Comment: x.Comment, Owner: x.Owner, Creator: x.Creator,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
			ServiceExportTo: x.ServiceExportTo,
		}
	case *naming.Service:
		return &storepb.Service{
			Id: x.ID, Namespace: x.Key.Namespace, Name: x.Key.Name, Metadata: pairs(x.Metadata), Ports: x.Ports,
			Business: x.Business, Department: x.Department, Comment: x.Comment, Owner: x.Owner,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
			ExportTo: x.ExportTo, AliasForNamespace: x.AliasFor.Namespace, AliasForName: x.AliasFor.Name, Auto: x.Auto,
			Cmdb: cmdb(x.Cmdb), Creator: x.Creator,
		}
	case *naming.Instance:
		return &storepb.Instance{
			Id: x.ID, Namespace: x.Service.Namespace, Service: x.Service.Name, Host: x.Host, Port: x.Port,
			VpcId: x.VpcID, Protocol: x.Protocol, Version: x.Version, LogicSet: x.LogicSet,
			Priority: x.Priority, Weight: x.Weight, Healthy: x.Healthy, Isolated: x.Isolated, TtlS: x.TTL,
			Location: location(x.Location), Metadata: pairs(x.Metadata),
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
			Operator: operator(x.Operator),
		}
	case *naming.Client:
		return &storepb.Client{
			Id: x.ID, Host: x.Host, Type: x.Type, Version: x.Version, Location: location(x.Location), Stats: stats(x.Stats),
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Contract:
		return &storepb.Contract{
			Namespace: x.Service.Namespace, Service: x.Service.Name, Type: x.Type, Protocol: x.Protocol, Version: x.Version,
			Body: x.Body, CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Override:
		return &storepb.Override{
			InstanceId: x.InstanceID, Namespace: x.Service.Namespace, Service: x.Service.Name, Host: x.Host, Port: x.Port,
			Operator: operator(&x.Operator), Revision: uint64(x.Revision),
		}
	default:
		return accessMessage(o)
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
			Name: in.str(m.Name), Comment: m.Comment, Owner: in.str(m.Owner), Creator: in.str(m.Creator),
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
			ServiceExportTo: m.ServiceExportTo,
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
			Stats: in.stats(m.Stats), Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindContract:
		var m storepb.Contract
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Contract{
			Service: naming.ServiceKey{Namespace: in.str(m.Namespace), Name: in.str(m.Service)}, Type: in.str(m.Type), Protocol: in.str(m.Protocol),
			Version: in.str(m.Version), Body: m.Body,
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindOverride:
		var m storepb.Override
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		o := &naming.Override{
			InstanceID: m.InstanceId, Service: naming.ServiceKey{Namespace: in.str(m.Namespace), Name: in.str(m.Service)},
			Host: m.Host, Port: m.Port, Revision: naming.Revision(m.Revision),
		}
		if m.Operator != nil {
			o.Operator = *operatorOf(m.Operator)
		}
		return o, nil
	default:
		return decodeAccess(k, record)
	}
}

func cmdb(mods [3]string) []string {
	if mods == ([3]string{}) {
		return nil
	}
	return mods[:]
}

func operator(o *naming.Operator) *storepb.Operator {
	if o == nil {
		return nil
	}
	return &storepb.Operator{
		Weight: o.Weight, Healthy: o.Healthy, Isolated: o.Isolated,
		OwnWeight: o.Own.Weight, OwnHealthy: o.Own.Healthy, OwnIsolated: o.Own.Isolated,
		By: o.By, Reason: o.Reason, SinceUs: int64(o.Since),
	}
}

func operatorOf(m *storepb.Operator) *naming.Operator {
	return &naming.Operator{
		Weight: m.Weight, Healthy: m.Healthy, Isolated: m.Isolated,
		Own: naming.Attributes{Weight: m.OwnWeight, Healthy: m.OwnHealthy, Isolated: m.OwnIsolated},
		By:  m.By, Reason: m.Reason, Since: naming.Micros(m.SinceUs),
	}
}

// EncodeOperator returns the record of what an operator set; none for nil.
func EncodeOperator(o *naming.Operator) ([]byte, error) {
	if o == nil {
		return nil, nil
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(operator(o))
}

// DecodeOperator reads what [EncodeOperator] wrote.
func DecodeOperator(record []byte) (*naming.Operator, error) {
	var m storepb.Operator
	if err := proto.Unmarshal(record, &m); err != nil {
		return nil, err
	}
	return operatorOf(&m), nil
}

func stats(list []naming.ClientStat) []*storepb.Stat {
	out := make([]*storepb.Stat, len(list))
	for n, s := range list {
		out[n] = &storepb.Stat{Target: s.Target, Port: s.Port, Path: s.Path, Protocol: s.Protocol}
	}
	return out
}

func (in Interner) stats(list []*storepb.Stat) []naming.ClientStat {
	if len(list) == 0 {
		return nil
	}
	out := make([]naming.ClientStat, len(list))
	for n, s := range list {
		out[n] = naming.ClientStat{Target: in.str(s.Target), Port: s.Port, Path: in.str(s.Path), Protocol: in.str(s.Protocol)}
	}
	return out
}

func decodeService(record []byte, in Interner) (*naming.Service, error) {
	var m storepb.Service
	if err := proto.Unmarshal(record, &m); err != nil {
		return nil, err
	}
	s := &naming.Service{
		ID: m.Id, Key: naming.ServiceKey{Namespace: in.str(m.Namespace), Name: in.str(m.Name)}, Metadata: in.metadata(m.Metadata),
		Ports: m.Ports, Business: in.str(m.Business), Department: in.str(m.Department), Comment: m.Comment, Owner: in.str(m.Owner),
		Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		ExportTo: m.ExportTo, AliasFor: naming.ServiceKey{Namespace: in.str(m.AliasForNamespace), Name: in.str(m.AliasForName)}, Auto: m.Auto,
		Creator: in.str(m.Creator),
	}
	copy(s.Cmdb[:], m.Cmdb)
	return s, nil
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

// EncodeUsage returns the record of what belongs to a service, and of the
// revision that touched it last.
func EncodeUsage(u naming.Usage, touched naming.Revision) ([]byte, error) {
	return proto.Marshal(&storepb.Usage{Touched: uint64(touched), Instances: u.Instances, Aliases: u.Aliases})
}

// DecodeUsage reads what [EncodeUsage] wrote; no bytes are a service without
// anything.
func DecodeUsage(record []byte) (naming.Usage, naming.Revision, error) {
	var m storepb.Usage
	if err := proto.Unmarshal(record, &m); err != nil {
		return naming.Usage{}, 0, err
	}
	return naming.Usage{Instances: m.Instances, Aliases: m.Aliases}, naming.Revision(m.Touched), nil
}

// EncodeCommit returns the change log's record of a commit, without its
// revision, which is its key.
func EncodeCommit(c naming.Commit) ([]byte, error) {
	m := &storepb.Commit{TimeUs: int64(c.Time), Changes: make([]*storepb.Change, len(c.Changes))}
	for n := range c.Changes {
		ch := &c.Changes[n]
		out := &storepb.Change{
			Kind: uint32(ch.Object().ObjectKind()), Principal: ch.Actor.Principal, Address: ch.Actor.Address,
			PrincipalId: ch.Actor.ID, Agent: ch.Actor.Agent, Cause: string(ch.Cause), Reason: ch.Reason,
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

// CommitTime reads only the time of a change log record, 0 when it has none.
func CommitTime(record []byte) naming.Micros {
	if f, _, err := next(record); err == nil && f.num == 1 && f.text == nil {
		return naming.Micros(f.number)
	}
	return 0
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
			Actor: naming.Actor{Principal: ch.Principal, ID: ch.PrincipalId, Address: ch.Address, Agent: ch.Agent},
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
