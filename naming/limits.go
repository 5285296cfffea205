package naming

// Every bound on what a client may send. Lengths of names and texts are in
// characters (runes), as Polaris counts them.
const (
	MaxNamespace     = 64
	MaxService       = 128
	MaxInstanceID    = 128
	MaxHost          = 128
	MaxPort          = 65535
	MaxWeight        = 65535
	MaxVpcID         = 64
	MaxProtocol      = 32
	MaxVersion       = 32
	MaxLogicSet      = 128
	MaxLocation      = 128 // region, zone and campus each
	MaxMetadataPairs = 64
	MaxMetadataKey   = 128
	MaxMetadataValue = 4096
	MaxTTL           = 3600 // seconds
	MaxClientID      = 128
	MaxClientVersion = 32
	MaxReason        = 512  // of an operator
	MaxModifyAll     = 1000 // instances changed at once
	MaxPorts         = 8192
	MaxBusiness      = 64
	MaxDepartment    = 1024
	MaxComment       = 1024
	MaxOwner         = 1024
	MaxCmdb          = 1024
	MaxExportTo      = 256     // namespaces in one list
	MaxContract      = 1 << 20 // bytes of an encoded contract
	MaxContractText  = 128     // type, protocol and version of a contract, each
	MaxStats         = 16      // of one client
	MaxStatText      = 256     // target, path and protocol each

	// DefaultWeight is what an instance without a weight gets.
	DefaultWeight = 100
	// DefaultTTL is what a health check without a TTL gets, in seconds.
	DefaultTTL = 5
	// DefaultNamespace is what an empty namespace means in Discover.
	DefaultNamespace = "default"
)
