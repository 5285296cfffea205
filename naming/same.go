package naming

import (
	"bytes"
	"reflect"
)

// Same reports whether two objects are equal in every field, times and
// revisions included. A list that is empty equals one that is not there: some
// sources of an object give this, others that.
func Same(a, b Object) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Type() == y.Type() && same(x, y)
}

// same walks two values of one type.
func same(x, y reflect.Value) bool {
	switch x.Kind() {
	case reflect.Pointer:
		if x.IsNil() || y.IsNil() || x.Pointer() == y.Pointer() {
			return x.IsNil() == y.IsNil()
		}
		return same(x.Elem(), y.Elem())
	case reflect.Struct:
		for n := range x.NumField() {
			if !same(x.Field(n), y.Field(n)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if x.Len() != y.Len() {
			return false
		}
		if x.Type().Elem().Kind() == reflect.Uint8 {
			return bytes.Equal(x.Bytes(), y.Bytes())
		}
		for n := range x.Len() {
			if !same(x.Index(n), y.Index(n)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if x.Len() != y.Len() {
			return false
		}
		for at := x.MapRange(); at.Next(); {
			if v := y.MapIndex(at.Key()); !v.IsValid() || !same(at.Value(), v) {
				return false
			}
		}
		return true
	default:
		return x.Equal(y)
	}
}
