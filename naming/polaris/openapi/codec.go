package openapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Defaults are there, unset wrappers are null, fields that we do not know are
// passed over: as Polaris does it.
var (
	writing = protojson.MarshalOptions{EmitUnpopulated: true}
	reading = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// encode is the JSON of an answer. protojson varies its spaces on purpose;
// equal answers are to have equal bytes.
func encode(m proto.Message) ([]byte, error) {
	text, err := writing.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(len(text) + 1)
	if err := json.Compact(&out, text); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// message is a pointer to a T that is a message.
type message[T any] interface {
	*T
	proto.Message
}

// object reads the one message of a body.
func object[T any, P message[T]](r *http.Request) (P, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, parseError(err)
	}
	out := P(new(T))
	if err := reading.Unmarshal(text, out); err != nil {
		return nil, parseError(err)
	}
	return out, nil
}

// maxItems of one batch.
const maxItems = 100

// array reads the messages of a body.
func array[T any, P message[T]](r *http.Request) ([]P, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, parseError(err)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, parseError(err)
	}
	switch n := len(items); {
	case n == 0:
		return nil, errEmpty
	case n > maxItems:
		return nil, errSize
	}
	out := make([]P, len(items))
	for n, item := range items {
		out[n] = new(T)
		if err := reading.Unmarshal(item, out[n]); err != nil {
			return nil, parseError(err)
		}
	}
	return out, nil
}
