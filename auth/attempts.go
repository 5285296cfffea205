package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"polestar/naming"
)

// How often a password may be tried.
const (
	triesPerAddress = 20 // at once; then one every three seconds
	triesPerName    = 10 // at once; then one every six seconds
	addressInterval = 3 * time.Second
	nameInterval    = 6 * time.Second

	attemptRows = 4096
)

// Attempts bounds how often passwords are tried, from one address and for one
// name. Its size is fixed: addresses and names share their rows by a hash whose
// seed nobody outside knows, so nobody can choose with whom.
type Attempts struct {
	seed maphash.Seed

	mu        sync.Mutex // guards everything below
	addresses [attemptRows]*rate.Limiter
	names     [attemptRows]*rate.Limiter
}

// NewAttempts makes the one record of a server.
func NewAttempts() *Attempts { return &Attempts{seed: maphash.MakeSeed()} }

// Try counts an attempt; an error of kind Overloaded says that there were too
// many. It is counted before anybody looks whether the name exists.
func (a *Attempts) Try(address, name string) error {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.limiter(&a.addresses, network(address), addressInterval, triesPerAddress).AllowN(now, 1) {
		return naming.Errorf(naming.Overloaded, "login", "too many logins from this address; try again later")
	}
	if !a.limiter(&a.names, name, nameInterval, triesPerName).AllowN(now, 1) {
		return naming.Errorf(naming.Overloaded, "login", "too many logins with this name; try again later")
	}
	return nil
}

// network is what an address is counted with: of IPv6 its /64, which one machine
// may have all of, as at the doors' rates.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is6() {
		return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
	}
	return ip.String()
}

func (a *Attempts) limiter(rows *[attemptRows]*rate.Limiter, key string, every time.Duration, burst int) *rate.Limiter {
	row := &rows[a.row(key)]
	if *row == nil {
		*row = rate.NewLimiter(rate.Every(every), burst)
	}
	return *row
}

func (a *Attempts) row(key string) uint64 { return maphash.String(a.seed, key) % attemptRows }
