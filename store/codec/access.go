package codec

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"polestar/naming"
	"polestar/proto/storepb"
)

// accessMessage makes the record of who may do what; nil for anything else.
func accessMessage(o naming.Object) proto.Message {
	switch x := o.(type) {
	case *naming.User:
		return &storepb.User{
			Id: x.ID, Name: x.Name, Comment: x.Comment, Main: x.Main, Password: x.Password, Identities: x.Identities, Disabled: x.Disabled,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Group:
		return &storepb.Group{
			Id: x.ID, Name: x.Name, Comment: x.Comment, Members: x.Members,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Token:
		return &storepb.Token{
			Id: x.ID, Owner: x.Owner, Hash: x.Hash, Comment: x.Comment, Disabled: x.Disabled, ExpiresUs: int64(x.Expires),
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
	case *naming.Policy:
		m := &storepb.Policy{
			Id: x.ID, Name: x.Name, Comment: x.Comment, Deny: x.Deny, Default: x.Default, Users: x.Users, Groups: x.Groups, Actions: x.Actions,
			CreatedUs: int64(x.Created), ModifiedUs: int64(x.Modified), Revision: uint64(x.Revision),
		}
		for _, s := range x.Resources {
			m.Resources = append(m.Resources, &storepb.Selector{Namespace: s.Namespace, Service: s.Service, Created: s.Created})
		}
		return m
	case *naming.Refusal:
		return &storepb.Refusal{
			Principal: x.Principal, Address: x.Address, Action: x.Action, Namespace: x.Service.Namespace, Service: x.Service.Name,
			Reason: x.Reason, Method: x.Method, Count: x.Count, FirstUs: int64(x.First), LastUs: int64(x.Last),
		}
	default:
		return nil
	}
}

// decodeAccess reads what [accessMessage] made. There are few of these, so
// nothing is shared.
func decodeAccess(k naming.Kind, record []byte) (naming.Object, error) {
	switch k {
	case naming.KindUser:
		var m storepb.User
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.User{
			ID: m.Id, Name: m.Name, Comment: m.Comment, Main: m.Main, Password: m.Password, Identities: m.Identities, Disabled: m.Disabled,
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindGroup:
		var m storepb.Group
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Group{
			ID: m.Id, Name: m.Name, Comment: m.Comment, Members: m.Members,
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindToken:
		var m storepb.Token
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Token{
			ID: m.Id, Owner: m.Owner, Hash: m.Hash, Comment: m.Comment, Disabled: m.Disabled, Expires: naming.Micros(m.ExpiresUs),
			Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
		}, nil
	case naming.KindPolicy:
		return decodePolicy(record)
	case naming.KindRefusal:
		var m storepb.Refusal
		if err := proto.Unmarshal(record, &m); err != nil {
			return nil, err
		}
		return &naming.Refusal{
			Principal: m.Principal, Address: m.Address, Action: m.Action, Service: naming.ServiceKey{Namespace: m.Namespace, Name: m.Service},
			Reason: m.Reason, Method: m.Method, Count: m.Count, First: naming.Micros(m.FirstUs), Last: naming.Micros(m.LastUs),
		}, nil
	default:
		return nil, fmt.Errorf("codec: unknown kind %d", k)
	}
}

func decodePolicy(record []byte) (naming.Object, error) {
	var m storepb.Policy
	if err := proto.Unmarshal(record, &m); err != nil {
		return nil, err
	}
	p := &naming.Policy{
		ID: m.Id, Name: m.Name, Comment: m.Comment, Deny: m.Deny, Default: m.Default, Users: m.Users, Groups: m.Groups, Actions: m.Actions,
		Created: naming.Micros(m.CreatedUs), Modified: naming.Micros(m.ModifiedUs), Revision: naming.Revision(m.Revision),
	}
	for _, s := range m.Resources {
		p.Resources = append(p.Resources, naming.Selector{Namespace: s.Namespace, Service: s.Service, Created: s.Created})
	}
	return p, nil
}
