package memory

import (
	"testing"

	"polestar/store"
	"polestar/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(_ testing.TB, _ string, b store.LogBounds) store.Store { return New(b) }, storetest.Caps{Volatile: true})
}
