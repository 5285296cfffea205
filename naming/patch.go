package naming

import "maps"

// Patch changes single keys of metadata; a nil value removes its key. It is
// applied inside the transaction, so two patches of different keys never undo
// each other.
type Patch map[string]*string

// maxPatch bounds a patch: every pair may be removed and as many be added.
const maxPatch = 2 * MaxMetadataPairs

func (p Patch) check() error {
	if n := len(p); n > maxPatch {
		return Errorf(Invalid, FieldMetadata, "metadata: %d changes, at most %d are allowed at once", n, maxPatch)
	}
	return nil
}

// apply returns the patched metadata; m itself when there is nothing to do.
func (p Patch) apply(m Metadata) Metadata {
	if len(p) == 0 {
		return m
	}
	out := m.Map()
	for key, value := range p {
		if value == nil {
			delete(out, key)
			continue
		}
		out[key] = *value
	}
	if maps.Equal(out, m.Map()) {
		return m
	}
	return NewMetadata(out)
}

// checkServiceMetadata holds a service's metadata to its bounds, and the
// settings in it to theirs.
func checkServiceMetadata(m Metadata) error {
	if err := checkMetadata(m); err != nil {
		return err
	}
	_, err := ParseSettings(m)
	return err
}

// checkMetadataOf holds an instance's metadata to its bounds.
func checkMetadataOf(i *Instance) error {
	if err := checkMetadata(i.Metadata); err != nil {
		return err
	}
	_, err := AdditionalAddresses(i)
	return err
}
