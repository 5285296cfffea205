package codec

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"polestar/naming"
	"polestar/proto/storepb"
)

// Instances are read field by field: millions of them are loaded at start, and
// generated messages in between cost a multiple of the time and of the garbage.
// The numbers are those of proto/storepb/store.proto; a test holds both readers
// to the same result.

const fieldMetadata = 16 // repeated, so counted beforehand

var (
	errUTF8  = errors.New("a text is not valid UTF-8")
	errField = errors.New("a field number is out of range")
)

// field is one field of a record: a number or, when text is not nil, bytes that
// belong to the record.
type field struct {
	num    protowire.Number
	number uint64
	text   []byte
}

// next reads the first field of record and returns what follows it. A field of
// a wire type that we do not write has number and text empty and the number 0,
// which nobody knows: protobuf passes over what it does not know.
func next(record []byte) (field, []byte, error) {
	num, typ, n := protowire.ConsumeTag(record)
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	if num > protowire.MaxValidNumber {
		return field{}, nil, errField
	}
	record = record[n:]
	f := field{num: num}
	switch typ {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(record)
	case protowire.BytesType:
		if f.text, n = protowire.ConsumeBytes(record); f.text == nil {
			f.text = []byte{}
		}
	default:
		f.num = 0
		n = protowire.ConsumeFieldValue(num, typ, record)
	}
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	return f, record[n:], nil
}

func decodeInstance(record []byte, in Interner) (*naming.Instance, error) {
	i := &naming.Instance{}
	if n := count(record, fieldMetadata); n > 0 {
		i.Metadata = make(naming.Metadata, 0, n)
	}
	for len(record) > 0 {
		f, rest, err := next(record)
		if err != nil {
			return nil, err
		}
		if f.text == nil {
			setNumber(i, f)
		} else if err := setText(i, f, in); err != nil {
			return nil, fmt.Errorf("field %d: %w", f.num, err)
		}
		record = rest
	}
	return i, nil
}

// count says how many fields of bytes with this number a record has, so that
// their list is made once and in its size. It stops at damage.
func count(record []byte, num protowire.Number) (n int) {
	for len(record) > 0 {
		f, rest, err := next(record)
		if err != nil {
			return n
		}
		if f.num == num && f.text != nil {
			n++
		}
		record = rest
	}
	return n
}

func setNumber(i *naming.Instance, f field) {
	switch int(f.num) {
	case 5:
		i.Port = uint32(f.number)
	case 10:
		i.Priority = uint32(f.number)
	case 11:
		i.Weight = uint32(f.number)
	case 12:
		i.Healthy = f.number != 0
	case 13:
		i.Isolated = f.number != 0
	case 14:
		i.TTL = uint32(f.number)
	case 17:
		i.Created = naming.Micros(f.number)
	case 18:
		i.Modified = naming.Micros(f.number)
	case 19:
		i.Revision = naming.Revision(f.number)
	}
}

func setText(i *naming.Instance, f field, in Interner) (err error) {
	switch int(f.num) {
	case 1:
		i.ID, err = own(f.text)
	case 2:
		i.Service.Namespace, err = in.shared(f.text)
	case 3:
		i.Service.Name, err = in.shared(f.text)
	case 4:
		i.Host, err = own(f.text)
	case 6:
		i.VpcID, err = in.shared(f.text)
	case 7:
		i.Protocol, err = in.shared(f.text)
	case 8:
		i.Version, err = in.shared(f.text)
	case 9:
		i.LogicSet, err = in.shared(f.text)
	case 15:
		var parts [4]*string
		parts[1], parts[2], parts[3] = &i.Location.Region, &i.Location.Zone, &i.Location.Campus
		err = setTexts(f.text, in, parts[:])
	case fieldMetadata:
		var p naming.Pair
		err = setTexts(f.text, in, []*string{nil, &p.Key, &p.Value})
		i.Metadata = append(i.Metadata, p)
	case 20: // rare: an operator interfered
		m := operator(i.Operator) // protobuf merges a message that comes twice
		if m == nil {
			m = &storepb.Operator{}
		}
		if err = (proto.UnmarshalOptions{Merge: true}).Unmarshal(f.text, m); err == nil {
			i.Operator = operatorOf(m)
		}
	}
	return err
}

// setTexts reads a message of texts; into has a place for each field number.
func setTexts(record []byte, in Interner, into []*string) error {
	for len(record) > 0 {
		f, rest, err := next(record)
		if err != nil {
			return err
		}
		if n := int(f.num); f.text != nil && n > 0 && n < len(into) {
			if *into[n], err = in.shared(f.text); err != nil {
				return err
			}
		}
		record = rest
	}
	return nil
}

// shared returns b as text that shares its memory with equal ones.
func (in Interner) shared(b []byte) (string, error) {
	if old, ok := in[string(b)]; ok { // the compiler makes no string for this
		return old, nil
	}
	s, err := own(b)
	if err != nil {
		return "", err
	}
	return in.str(s), nil
}

// own returns b as text in memory of its own.
func own(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", errUTF8
	}
	return string(b), nil
}
