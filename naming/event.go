package naming

// EventType names what happened to an object.
type EventType string

// The events of instances have Polaris' names.
const (
	InstanceOnline       EventType = "InstanceOnline"       // registered
	InstanceOffline      EventType = "InstanceOffline"      // removed
	InstanceTurnHealth   EventType = "InstanceTurnHealth"   // healthy again
	InstanceTurnUnHealth EventType = "InstanceTurnUnHealth" // unhealthy
	InstanceOpenIsolate  EventType = "InstanceOpenIsolate"  // isolated
	InstanceCloseIsolate EventType = "InstanceCloseIsolate" // no longer isolated
	InstanceUpdate       EventType = "InstanceUpdate"       // anything else of it changed

	NamespaceCreated EventType = "NamespaceCreated"
	NamespaceUpdated EventType = "NamespaceUpdated"
	NamespaceDeleted EventType = "NamespaceDeleted"
	ServiceCreated   EventType = "ServiceCreated"
	ServiceUpdated   EventType = "ServiceUpdated"
	ServiceDeleted   EventType = "ServiceDeleted"
	AliasCreated     EventType = "AliasCreated"
	AliasUpdated     EventType = "AliasUpdated"
	AliasDeleted     EventType = "AliasDeleted"
	ContractCreated  EventType = "ContractCreated"
	ContractUpdated  EventType = "ContractUpdated"
	ContractDeleted  EventType = "ContractDeleted"
	// Of what is kept of an operator's settings while an instance is away.
	OverrideCreated EventType = "OverrideCreated"
	OverrideUpdated EventType = "OverrideUpdated"
	OverrideDeleted EventType = "OverrideDeleted"
	ClientCreated   EventType = "ClientCreated"
	ClientUpdated   EventType = "ClientUpdated"
	ClientDeleted   EventType = "ClientDeleted"
	UserCreated     EventType = "UserCreated"
	UserUpdated     EventType = "UserUpdated"
	UserDeleted     EventType = "UserDeleted"
	GroupCreated    EventType = "GroupCreated"
	GroupUpdated    EventType = "GroupUpdated"
	GroupDeleted    EventType = "GroupDeleted"
	TokenCreated    EventType = "TokenCreated"
	TokenUpdated    EventType = "TokenUpdated"
	TokenDeleted    EventType = "TokenDeleted"
	PolicyCreated   EventType = "PolicyCreated"
	PolicyUpdated   EventType = "PolicyUpdated"
	PolicyDeleted   EventType = "PolicyDeleted"
	RequestRefused  EventType = "RequestRefused" // somebody was turned down
)

// EventTypes lists every type.
func EventTypes() []EventType {
	return []EventType{
		InstanceOnline, InstanceOffline, InstanceTurnHealth, InstanceTurnUnHealth, InstanceOpenIsolate, InstanceCloseIsolate, InstanceUpdate,
		NamespaceCreated, NamespaceUpdated, NamespaceDeleted, ServiceCreated, ServiceUpdated, ServiceDeleted,
		AliasCreated, AliasUpdated, AliasDeleted, ContractCreated, ContractUpdated, ContractDeleted,
		OverrideCreated, OverrideUpdated, OverrideDeleted, ClientCreated, ClientUpdated, ClientDeleted,
		UserCreated, UserUpdated, UserDeleted, GroupCreated, GroupUpdated, GroupDeleted, TokenCreated, TokenUpdated, TokenDeleted,
		PolicyCreated, PolicyUpdated, PolicyDeleted, RequestRefused,
	}
}

// Event is one thing that happened. Its place, revision and index, is the same
// on every server and after a restart.
type Event struct {
	Revision Revision
	Index    int // among the events of its revision, from 0
	Time     Micros
	Type     EventType
	Change   *Change // of which it tells; several events may tell of one
}

// Events derives the events of a commit, in order. It is pure: the change log
// is the only source of events, so none can be lost.
func Events(c Commit) []Event {
	out := make([]Event, 0, len(c.Changes))
	for n := range c.Changes {
		ch := &c.Changes[n]
		for _, t := range typesOf(ch) {
			out = append(out, Event{Revision: c.Revision, Index: len(out), Time: c.Time, Type: t, Change: ch})
		}
	}
	return out
}

func typesOf(c *Change) []EventType {
	switch x := c.Object().(type) {
	case *Instance:
		return instanceEvents(c)
	case *Namespace:
		return one(c, NamespaceCreated, NamespaceUpdated, NamespaceDeleted)
	case *Service:
		if x.IsAlias() {
			return one(c, AliasCreated, AliasUpdated, AliasDeleted)
		}
		return one(c, ServiceCreated, ServiceUpdated, ServiceDeleted)
	case *Contract:
		return one(c, ContractCreated, ContractUpdated, ContractDeleted)
	case *Override:
		return one(c, OverrideCreated, OverrideUpdated, OverrideDeleted)
	case *Client:
		return one(c, ClientCreated, ClientUpdated, ClientDeleted)
	case *User:
		return one(c, UserCreated, UserUpdated, UserDeleted)
	case *Group:
		return one(c, GroupCreated, GroupUpdated, GroupDeleted)
	case *Token:
		return one(c, TokenCreated, TokenUpdated, TokenDeleted)
	case *Policy:
		return one(c, PolicyCreated, PolicyUpdated, PolicyDeleted)
	case *Refusal:
		return []EventType{RequestRefused}
	default:
		return nil
	}
}

func one(c *Change, created, updated, deleted EventType) []EventType {
	switch {
	case c.Before == nil:
		return []EventType{created}
	case c.After == nil:
		return []EventType{deleted}
	default:
		return []EventType{updated}
	}
}

// instanceEvents tells of what is in force: an operator's word that changes
// nothing of that is an update.
func instanceEvents(c *Change) (out []EventType) {
	before, _ := c.Before.(*Instance)
	after, _ := c.After.(*Instance)
	switch {
	case before == nil:
		return []EventType{InstanceOnline}
	case after == nil:
		return []EventType{InstanceOffline}
	}
	turned := func(was, is bool, on, off EventType) {
		switch {
		case is && !was:
			out = append(out, on)
		case was && !is:
			out = append(out, off)
		}
	}
	turned(before.Healthy, after.Healthy, InstanceTurnHealth, InstanceTurnUnHealth)
	turned(before.Isolated, after.Isolated, InstanceOpenIsolate, InstanceCloseIsolate)
	rest := *after
	rest.Healthy, rest.Isolated = before.Healthy, before.Isolated
	if len(out) == 0 || !before.SameContent(&rest) {
		out = append(out, InstanceUpdate)
	}
	return out
}
