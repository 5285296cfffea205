package naming_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polestar/naming"
)

// FuzzSettings: any metadata gives settings within their bounds, and each
// error names a key that is there or missing beside one that is.
func FuzzSettings(f *testing.F) {
	f.Add("lb-policy", "ring_hash", "hash-header", "x", "tls", "mtls")
	f.Add("subset-keys", "a,b;c", "nearby", "zone", "nearby-limit", "campus")
	f.Add("retries", "3", "retry-on", "5xx", "outlier-success-rate", "1.9")
	f.Add("tls-san", "spiffe://a/b", "tls", "tls", "tls-ca", "/x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string) {
		m := metadataOf(map[string]string{k1: v1, k2: v2, k3: v3})
		s, err := naming.ParseSettings(m)
		stored, wrong := naming.StoredSettings(m)
		if !cmp.Equal(s, stored) || (err != nil) != (len(wrong) > 0) {
			t.Fatalf("%+v and %+v, %v and %v", s, stored, err, wrong)
		}
		for _, e := range wrong {
			if e.Kind != naming.Invalid || !strings.HasPrefix(e.Field, "metadata.polestar/") || e.Msg == "" {
				t.Fatalf("%+v", e)
			}
		}
		o := s.Outlier
		switch {
		case s.LBPolicy.Hashes() != (s.HashHeader != ""), (s.Retries > 0) != (len(s.RetryOn) > 0), s.PanicThreshold > 100,
			s.ConnectTimeout <= 0, s.RequestTimeout < 0, s.NearbyLimit > s.Nearby, s.NearbyOverflow < 1, s.NearbyOverflow > 100,
			o.Interval <= 0, o.BaseEjection <= 0, o.MaxEjection < 1, o.MaxEjection > 100, o.FailurePercentage > 100:
			t.Fatalf("out of bounds: %+v", s)
		case !s.TLS.Broken && (s.TLS.Mode != naming.TLSOff) != (s.TLS.CA != ""), !s.TLS.Broken && (s.TLS.Mode == naming.TLSMutual) != (s.TLS.Key != ""):
			t.Fatalf("half a TLS: %+v", s.TLS)
		}
		for _, keys := range s.SubsetKeys {
			if len(keys) == 0 || !slices.IsSorted(keys) || slices.Contains(keys, "") {
				t.Fatalf("subsets %q", s.SubsetKeys)
			}
		}
	})
}

// Every key is documented, and nothing else is documented as a key.
func TestSettingsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/service-settings.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(doc), func(r rune) bool { return strings.ContainsRune(" \n\t`|,;:()=\"'[]", r) })
	named := map[string]bool{naming.KeyAdditionalAddresses: true}
	for _, w := range words {
		if name, ok := strings.CutPrefix(w, naming.SettingPrefix); ok && strings.Trim(name, "…") != "" {
			named[strings.TrimRight(w, ".")] = true
		}
	}
	for _, key := range naming.SettingKeys() {
		if !named[key] {
			t.Errorf("%s is not documented", key)
		}
		delete(named, key)
	}
	delete(named, naming.KeyAdditionalAddresses)
	for key := range named {
		t.Errorf("%s is documented, but no key", key)
	}
}
