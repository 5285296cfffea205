package naming

import "sync"

// arrivals are the registrations on their way. A beat that comes meanwhile is
// not for an unknown instance; it gives nothing that the registration, itself a
// sign of life, will not give.
type arrivals struct {
	mu   sync.Mutex // guards everything below
	byID map[string]*arrival
}

// arrival is an instance that one or more callers are registering.
type arrival struct {
	instance *Instance // the newest
	callers  int
}

// begin notes a registration; end must follow.
func (a *arrivals) begin(i *Instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID == nil {
		a.byID = map[string]*arrival{}
	}
	x := a.byID[i.ID]
	if x == nil {
		x = &arrival{}
		a.byID[i.ID] = x
	}
	x.instance = i
	x.callers++
}

func (a *arrivals) end(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.byID[id]
	if x.callers--; x.callers == 0 {
		delete(a.byID, id)
	}
}

// find returns the instance that is being registered under an id, nil when none
// is.
func (a *arrivals) find(id string) *Instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x := a.byID[id]; x != nil {
		return x.instance
	}
	return nil
}
