package naming

// Member is one server of a cluster, as the store keeps it.
type Member struct {
	ID      string   // of this run of the server, 1…128 characters
	Address string   // where other members reach it, host:port
	Beat    uint64   // counts up while the server lives; nobody's clock counts
	DeafTo  []string // ids of members that it cannot reach, sorted
}
