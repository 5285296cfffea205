package auth

// Refusal is what a door tells of somebody whom it turned away, for an audit.
type Refusal struct {
	Principal Principal // anonymous when it is not known who called
	Address   string    // ip of the peer; empty when it is not known
	Method    string    // what was called, in the words of the door's protocol
	Action    Action
	Resource  Resource // empty when who called was not known yet
	Reason    Reason
}
