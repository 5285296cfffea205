package auth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"polestar/auth"
	"polestar/naming"
)

func TestPasswords(t *testing.T) {
	p := auth.NewPasswords()
	hash, err := p.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Hash(t.Context(), "correct horse")
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are %q and %q, %v: no salt", hash, again, err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(hash, "horse") {
		t.Errorf("the hash is %s", hash)
	}
	for name, c := range map[string]struct {
		hash, text string
		want       bool
	}{
		"the password":              {hash, "correct horse", true},
		"another":                   {hash, "correct Horse", false},
		"with a blank":              {hash, "correct horse ", false},
		"none":                      {hash, "", false},
		"no hash":                   {"", "correct horse", false},
		"neither hash nor password": {"", "", false},
		"the hash itself":           {hash, hash, false},
		"far too long":              {hash, strings.Repeat("x", 1<<20), false},
	} {
		if ok, err := p.Verify(t.Context(), c.hash, c.text); ok != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// What a login costs is not for a stored hash to say.
func TestStoredHashesAreBounded(t *testing.T) {
	p := auth.NewPasswords()
	for _, hash := range []string{
		"x", "$argon2id$v=19$m=19456,t=2,p=1$", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=19456,t=99,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=19456,t=2,p=0$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFz",
		"$argon2id$v=19$m=19456,t=2,p=1$$aGFzaGhhc2hoYXNoaGFzaA", "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
	} {
		if ok, err := p.Verify(t.Context(), hash, "password"); ok || naming.KindOf(err) != naming.Internal || err == nil {
			t.Errorf("%s: %v, %v", hash, ok, err)
		}
	}
}

func TestPasswordBounds(t *testing.T) {
	p := auth.NewPasswords()
	for text, ok := range map[string]bool{
		"": false, "1234567": false, "12345678": true, "äöüäöüäö": true, strings.Repeat("x", 256): true, strings.Repeat("x", 257): false,
	} {
		if _, err := p.Hash(t.Context(), text); (err == nil) != ok || err != nil && naming.KindOf(err) != naming.Invalid {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// Many at once are told to come again; nobody waits, and the memory is bounded.
func TestHashesAtOnceAreBounded(t *testing.T) {
	p := auth.NewPasswords()
	var wg sync.WaitGroup
	results := make(chan error, 16)
	begin := make(chan struct{})
	for range cap(results) {
		wg.Go(func() {
			<-begin
			_, err := p.Verify(t.Context(), "", "password")
			results <- err
		})
	}
	close(begin)
	wg.Wait()
	close(results)
	done := 0
	for err := range results {
		switch {
		case err == nil:
			done++
		case naming.KindOf(err) != naming.Overloaded:
			t.Error(err)
		}
	}
	if done == 0 {
		t.Error("nobody was answered")
	}
}

func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auth.NewAttempts()
		for a.Share("anna", "ben") || a.Share("10.0.0.1", "10.0.0.2") || a.Share("10.0.0.1", "10.0.0.3") {
			a = auth.NewAttempts() // they would by chance
		}
		tries := func(address, name string, most int) (n int) {
			for ; n < most; n++ {
				if err := a.Try(address, name); err != nil {
					if naming.KindOf(err) != naming.Overloaded {
						t.Error(err)
					}
					return n
				}
			}
			return n
		}
		if n := tries("10.0.0.1", "anna", 100); n != 10 {
			t.Errorf("%d tries with one name, want 10", n)
		}
		if n := tries("10.0.0.2", "anna", 100); n != 0 {
			t.Errorf("%d more from elsewhere, want none", n)
		}
		if n := tries("10.0.0.1", "ben", 100); n != 9 { // 20, less 10 and the refused one
			t.Errorf("%d more with another name, want 9", n)
		}
		time.Sleep(time.Minute)
		if n := tries("10.0.0.3", "anna", 100); n != 10 {
			t.Errorf("%d tries after a minute, want 10", n)
		}
	})
}

func TestTokens(t *testing.T) {
	text, hash := auth.NewToken()
	other, _ := auth.NewToken()
	if !strings.HasPrefix(text, "pst_") || len(text) != 47 || text == other || hash != auth.HashToken(text) || len(hash) != 64 {
		t.Errorf("token %q with the hash %q, then %q", text, hash, other)
	}
}

// One machine may have a whole /64 of IPv6: it is one address.
func TestAttemptsFromOneNetwork(t *testing.T) {
	a, n := auth.NewAttempts(), 0
	for k := range 200 {
		if a.Try(fmt.Sprintf("2001:db8::%x", k), fmt.Sprint("user", k)) == nil {
			n++
		}
	}
	if n > 21 { // one more after three seconds
		t.Errorf("%d tries, want 20", n)
	}
}
