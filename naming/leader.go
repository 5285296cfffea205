package naming

// Leader is the server that has a duty: what one server does for the whole
// cluster.
type Leader struct {
	Duty  string // 1…128 characters
	ID    string // of the server; empty: nobody has it
	Epoch uint64 // counts up with each holder
	Since Micros // by the clock of the database
}

// Fence is what a holder's writes carry, so that none of them is done after
// another server took the duty over.
func (l Leader) Fence() Fence { return Fence{l.Duty, l.Epoch} }

// Fence names a duty and the epoch of a holder.
type Fence struct {
	Duty  string // empty: no fence
	Epoch uint64
}

// Fenced is a write of a duty's holder: it is refused once the duty has another
// epoch, whatever its writer believes.
type Fenced struct {
	Write
	Fence Fence
}

// Needs implements [Write].
func (w *Fenced) Needs() Needs {
	n := w.Write.Needs()
	n.Duties = append(n.Duties, w.Fence.Duty)
	return n
}

func (w *Fenced) decide(o *overlay) (Result, error) {
	epoch, err := o.view.Epoch(w.Fence.Duty)
	if err != nil {
		return Result{}, err
	}
	if epoch != w.Fence.Epoch {
		return Result{Err: w.Fence.Check(epoch)}, nil
	}
	return w.Write.decide(o)
}

// Check returns an error of kind Conflict unless the duty's epoch, as it is
// stored, is that of the fence.
func (f Fence) Check(stored uint64) error {
	if stored != f.Epoch {
		return Errorf(Conflict, FieldEpoch, "another server has taken the duty %s over (epoch %d, now %d); nothing was done", f.Duty, f.Epoch, stored)
	}
	return nil
}

// FieldEpoch is the field of the error that a fence gives.
const FieldEpoch = "epoch"
