package history

// Content is what is compared of an instance.
type Content struct {
	Mark     string // of the registration that made it
	Revision uint64 // of its last change
	Weight   uint32 // in force
	Isolated bool   // in force
}

// World is the instances of a service by their ids.
type World map[string]Content

// Kind says what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Register   Kind = iota // a client registers, with content that is its own
	Operate                // an operator sets weight and isolation
	Deregister             // a client removes
)

func (k Kind) String() string { return [...]string{"register", "operate", "deregister"}[k] }

// Outcome is what the one who asked was told.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota // nothing, or that it may be done or not
	Done
	NotDone
	NotThere // nothing was done, for the instance is not registered
)

func (o Outcome) String() string {
	return [...]string{"unknown", "done", "not done", "not there"}[o]
}

// Op is a write that somebody asked for. Asked and Told come from one counter:
// what was told before something else was asked has a smaller number. An
// outcome of which nobody was told has Told 0.
type Op struct {
	Mark     string // of a registration and of an operator's change: unlike all others
	Agent    string // who asked; one agent asks one after the other
	Node     int
	Kind     Kind
	Instance string
	Weight   uint32
	Isolated bool // of [Operate]
	Asked    uint64
	Told     uint64
	Outcome  Outcome
	Revision uint64 // that it was told when [Done]
	Answer   string // for people
}

// Read is what somebody was shown of the service.
type Read struct {
	Node    int
	Session string // sees nothing older than it has seen
	Asked   uint64
	Told    uint64
	World   World
	// Since is the revision of the newest change in what was shown; 0: it was
	// not told.
	Since uint64
	// Pushed: what is on its way when a write is answered may still arrive; only
	// its own session orders it.
	Pushed bool
	// Partial: only marks and weights of those that take traffic are shown.
	Partial bool
}

// Change is one change of an instance in the log.
type Change struct {
	Revision      uint64
	Instance      string
	Before, After *Content // nil: not registered
	Own           uint32   // the weight that its client asked for, after the change
	Mark          string   // the reason that an operator gave
	Agent         string
	Cause         string
}

// History is one round.
type History struct {
	From    uint64 // the revision before the round; nothing of its service was registered
	Head    uint64 // the newest revision when it was over
	Commits []uint64
	Log     []Change // those of the round's service, in order
	Ops     []Op
	Reads   []Read
	Final   map[string]World // what each node, and the tables, show at the end
}
