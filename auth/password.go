package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"polestar/naming"
)

// The bounds of a password.
const (
	MinPassword = 8   // characters
	MaxPassword = 256 // bytes
)

// The parameters of argon2id, as OWASP recommends them for 19 MiB.
const (
	hashTime    = 2
	hashMemory  = 19 << 10 // KiB
	hashThreads = 1
	hashLength  = 32
	saltLength  = 16

	// What a stored hash may ask for: it decides how much memory a login takes.
	maxHashTime   = 10
	maxHashMemory = 64 << 10 // KiB

	maxHashes = 2 // at once
)

// errHash is a stored hash that cannot be read.
var errHash = errors.New("the password hash is no argon2id in PHC form within its bounds")

// Passwords hashes and compares passwords, two at once at most: each takes 19
// MiB, and whoever may knock at the door could ask for many.
type Passwords struct {
	slots chan struct{}
	decoy string // the hash of nobody's password
}

// NewPasswords makes the one hasher of a server.
func NewPasswords() *Passwords {
	p := &Passwords{slots: make(chan struct{}, maxHashes)}
	var unknown [hashLength]byte
	_, _ = rand.Read(unknown[:])
	p.decoy = phc(make([]byte, saltLength), unknown[:])
	return p
}

// CheckPassword returns an error of kind Invalid for a text that breaks a bound.
func CheckPassword(text string) error {
	switch {
	case utf8.RuneCountInString(text) < MinPassword:
		return naming.Errorf(naming.Invalid, "password", "password: fewer than %d characters", MinPassword)
	case len(text) > MaxPassword:
		return naming.Errorf(naming.Invalid, "password", "password: more than %d bytes", MaxPassword)
	}
	return nil
}

// Hash checks the bounds of a password and returns its hash in PHC form. Errors:
// Invalid; Overloaded when two are at work already.
func (p *Passwords) Hash(_ context.Context, text string) (string, error) {
	if err := CheckPassword(text); err != nil {
		return "", err
	}
	release, err := p.acquire()
	if err != nil {
		return "", err
	}
	defer release()
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt)
	return phc(salt, argon2.IDKey([]byte(text), salt, hashTime, hashMemory, hashThreads, hashLength)), nil
}

// Verify reports whether a password has a hash. An empty hash has none, and
// takes as long as another. Errors: Overloaded when two are at work already;
// Internal for a hash that cannot be read.
func (p *Passwords) Verify(_ context.Context, hash, text string) (bool, error) {
	if len(text) > MaxPassword {
		return false, nil
	}
	known := hash != ""
	if !known {
		hash = p.decoy
	}
	h, err := readPHC(hash)
	if err != nil {
		return false, &naming.Error{Kind: naming.Internal, Err: err}
	}
	release, err := p.acquire()
	if err != nil {
		return false, err
	}
	defer release()
	got := argon2.IDKey([]byte(text), h.salt, h.time, h.memory, h.threads, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(got, h.hash) == 1 && known, nil
}

// acquire takes one of the slots. It does not wait: a queue of logins would be
// one more thing to fill.
func (p *Passwords) acquire() (release func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	default:
		return nil, naming.Errorf(naming.Overloaded, "password", "%d passwords are being checked already; try again", maxHashes)
	}
}

// stored is a hash in its parts.
type stored struct {
	salt, hash   []byte
	memory, time uint32
	threads      uint8
}

func phc(salt, hash []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
		enc.EncodeToString(salt), enc.EncodeToString(hash))
}

// readPHC reads a stored hash.
func readPHC(text string) (h stored, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHash
	}
	if _, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return h, errHash
	}
	if h.memory < 8 || h.memory > maxHashMemory || h.time < 1 || h.time > maxHashTime || h.threads < 1 || h.threads > 4 {
		return h, errHash
	}
	enc := base64.RawStdEncoding.Strict()
	if h.salt, err = enc.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return h, errHash
	}
	if h.hash, err = enc.DecodeString(parts[5]); err != nil || len(h.hash) < 16 || len(h.hash) > 64 {
		return h, errHash
	}
	return h, nil
}
