package health

// slots of the wheel. What is due later than that stands in the last slot and
// is moved on from there.
const slots = 512

// wheel keeps the leases of a shard in lists, by the tick in which to look at
// them. Lists are linked through the leases: moving one allocates nothing, and
// a forgotten lease leaves nothing behind.
type wheel struct {
	at    int64 // the last tick that was swept
	heads [slots]*lease
}

// put places x into the given tick, or into the next one when that has passed.
// A lease that stands in an earlier slot stays there: it is moved on when that
// is swept, so that a beat need not touch the wheel.
func (w *wheel) put(x *lease, tick int64) {
	ahead := min(max(tick-w.at, 1), slots-1)
	if x.slot != 0 {
		if w.ahead(x) <= ahead {
			return
		}
		w.remove(x)
	}
	n := (w.at + ahead) % slots
	x.slot = uint16(n) + 1
	x.next = w.heads[n]
	if x.next != nil {
		x.next.prev = x
	}
	w.heads[n] = x
}

// ahead is how many ticks after the last swept one x stands.
func (w *wheel) ahead(x *lease) int64 {
	return (int64(x.slot-1) - w.at%slots + slots) % slots
}

// remove takes x out of its slot, if it stands in one.
func (w *wheel) remove(x *lease) {
	switch {
	case x.slot == 0:
		return
	case x.prev != nil:
		x.prev.next = x.next
	default:
		w.heads[x.slot-1] = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.next, x.prev, x.slot = nil, nil, 0
}

// turn goes on by one tick and calls look for each lease that stood in it,
// taken out of the wheel; look may put it back.
func (w *wheel) turn(look func(*lease)) {
	w.at++
	n := w.at % slots
	for x := w.heads[n]; x != nil; x = w.heads[n] {
		w.remove(x)
		look(x)
	}
}
