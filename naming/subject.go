package naming

// Subject says what an object is about, for filters and for people.
type Subject struct {
	Kind    string     // of the object, or "alias"
	Service ServiceKey // of a namespace only its namespace; zero of a client
	// ID is that of the instance, client, contract or token, or the name of the
	// user, group or policy; else empty.
	ID   string
	Host string // of an instance or override
	Port uint32
}

// SubjectOf tells what an object is about.
func SubjectOf(o Object) Subject {
	s := Subject{Kind: o.ObjectKind().String()}
	switch x := o.(type) {
	case *Namespace:
		s.Service.Namespace = x.Name
	case *Service:
		s.Service = x.Key
		if x.IsAlias() {
			s.Kind = "alias"
		}
	case *Instance:
		s.Service, s.ID, s.Host, s.Port = x.Service, x.ID, x.Host, x.Port
	case *Override:
		s.Service, s.ID, s.Host, s.Port = x.Service, x.InstanceID, x.Host, x.Port
	case *Client:
		s.ID, s.Host = x.ID, x.Host
	case *Contract:
		s.Service, s.ID = x.Service, x.ID()
	case *User:
		s.ID = x.Name
	case *Group:
		s.ID = x.Name
	case *Token:
		s.ID = x.ID
	case *Policy:
		s.ID = x.Name
	case *Refusal:
		s.Service = x.Service
	}
	return s
}
