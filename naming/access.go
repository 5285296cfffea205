package naming

// User is somebody, or some program, that may act.
type User struct {
	ID      string // 32 hexadecimal digits, fixed at creation
	Name    string // unique; 1…64 letters, digits, "-", "_" and "."
	Comment string
	// Main marks the user that may do everything. There is always one that is
	// not disabled.
	Main bool
	// Password is an argon2id hash in PHC form; empty: no login by password.
	Password string
	// Identities are the SANs of certificates that mean this user, sorted; an
	// identity belongs to one user at most.
	Identities []string
	Disabled   bool
	Created    Micros
	Modified   Micros
	Revision   Revision // of its last change
}

// Group is several users; policies for a group hold for its members.
type Group struct {
	ID       string // 32 hexadecimal digits, fixed at creation
	Name     string // unique among groups; as of users
	Comment  string
	Members  []string // ids of users, sorted
	Created  Micros
	Modified Micros
	Revision Revision // of its last change
}

// Token lets its bearer act as its owner. The text of a token is shown once, at
// its creation, and never stored.
type Token struct {
	ID       string // 32 hexadecimal digits, fixed at creation
	Owner    string // id of a user or a group
	Hash     string // SHA-256 of the text, 64 hexadecimal digits; unique
	Comment  string
	Disabled bool
	Expires  Micros // 0: never
	Created  Micros
	Modified Micros
	Revision Revision // of its last change
}

// Policy allows or denies principals actions on resources.
type Policy struct {
	ID      string // 32 hexadecimal digits, fixed at creation
	Name    string // unique; as of users
	Comment string
	Deny    bool // wins over every policy that allows
	// Default marks the policy that was made with its user or group, and goes
	// with it. Its principal cannot be changed.
	Default   bool
	Users     []string // ids, sorted; "*" is everybody who is known
	Groups    []string // ids, sorted
	Actions   []string // sorted; "*" is all
	Resources []Selector
	Created   Micros
	Modified  Micros
	Revision  Revision // of its last change
}

// Selector names resources of a policy.
type Selector struct {
	Namespace string // "*": all, and the server as a whole
	Service   string // "*": all; empty: the namespace itself only
	// Created selects what the principal itself created, whatever its name.
	Created bool
}
