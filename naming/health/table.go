package health

// table finds the leases of a shard by id: open addressing with linear probing,
// because a map of strings takes a third more memory for each lease and hashes
// the id a second time. The tags keep a search from touching leases of other
// ids.
type table struct {
	tags  []uint8 // of the hash of the lease in the same slot; 0: empty
	slots []*lease
	n     int
}

// minSlots is the size of a table that is not empty; a power of two.
const minSlots = 8

func tag(hash uint64) uint8 { return max(uint8(hash>>56), 1) }

// home is where the search for a hash begins. The low bits chose the shard.
func (t *table) home(hash uint64) int {
	return int(hash>>8) & (len(t.tags) - 1)
}

// find returns the lease of an id with that hash, or nil.
func (t *table) find(hash uint64, id string) *lease {
	if t.n == 0 {
		return nil
	}
	want := tag(hash)
	for at := t.home(hash); t.tags[at] != 0; at = (at + 1) & (len(t.tags) - 1) {
		if t.tags[at] == want && t.slots[at].id == id {
			return t.slots[at]
		}
	}
	return nil
}

// add puts a lease that is not in it. hash is asked for all others when the
// table grows, at three quarters.
func (t *table) add(x *lease, hash func(id string) uint64) {
	if (t.n+1)*4 > len(t.tags)*3 {
		t.resize(max(minSlots, 2*len(t.tags)), hash)
	}
	t.put(x, hash(x.id))
}

func (t *table) put(x *lease, hash uint64) {
	at := t.home(hash)
	for t.tags[at] != 0 {
		at = (at + 1) & (len(t.tags) - 1)
	}
	t.tags[at], t.slots[at] = tag(hash), x
	t.n++
}

// remove takes out a lease that is in it. Those behind it move up, so that no
// marks of removed ones pile up.
func (t *table) remove(x *lease, hash func(id string) uint64) {
	mask := len(t.tags) - 1
	at := t.home(hash(x.id))
	for t.slots[at] != x {
		at = (at + 1) & mask
	}
	for next := (at + 1) & mask; t.tags[next] != 0; next = (next + 1) & mask {
		home := t.home(hash(t.slots[next].id))
		if (next-home)&mask >= (next-at)&mask { // it may stand where the gap is
			t.tags[at], t.slots[at] = t.tags[next], t.slots[next]
			at = next
		}
	}
	t.tags[at], t.slots[at] = 0, nil
	t.n--
	if len(t.tags) > minSlots && t.n*8 < len(t.tags) {
		t.resize(len(t.tags)/2, hash)
	}
}

func (t *table) resize(size int, hash func(id string) uint64) {
	old := t.slots
	t.tags, t.slots, t.n = make([]uint8, size), make([]*lease, size), 0
	for _, x := range old {
		if x != nil {
			t.put(x, hash(x.id))
		}
	}
}
