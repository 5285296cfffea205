package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

const (
	// TokenPrefix begins the text of every token, so that people and scanners of
	// secrets know one when they see it.
	TokenPrefix = "pst_"
	tokenBytes  = 32 // 256 bits
	// MaxToken bounds the text of a token that a request may show, in bytes.
	MaxToken = 255
)

// NewToken makes a token: its text, which is shown once, and the hash that is
// stored.
func NewToken() (text, hash string) {
	var secret [tokenBytes]byte
	_, _ = rand.Read(secret[:]) // it never fails: the program ends if the system has no random numbers
	text = TokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	return text, HashToken(text)
}

// HashToken is the SHA-256 of a token's text, in hexadecimal digits. A slow hash
// is for what people make up; nobody guesses 256 random bits.
func HashToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// digest hashes a text that has at most [MaxToken] bytes, without allocating.
func digest(text string) [sha256.Size]byte {
	var b [MaxToken]byte
	return sha256.Sum256(b[:copy(b[:], text)])
}
