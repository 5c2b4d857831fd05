package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Key is a typed name of a value in a session. Declare keys once, as package
// variables:
//
//	var Basket = session.NewKey[BasketV1]("basket", session.CarryOver)
//
// Values of type []byte and string are kept as they are, others as JSON, unless
// another [Codec] is given. Every value is decoded by itself and only when it is
// asked for, so that one that no longer decodes does not affect the others.
//
// Getting, setting and deleting work on the request's view of the session; what
// changed is stored once, before the first byte of the response. Update and Pop
// are stored at once.
type Key[V any] struct {
	name  string
	flags byte
	codec Codec // nil for values that are kept as they are
}

// KeyOption changes how the values of a key are kept.
type KeyOption func(*keyOptions)

type keyOptions struct {
	flags byte
	codec Codec
}

// CarryOver marks values that a visitor keeps when signing in, such as a
// basket. All others are left behind at login.
func CarryOver(o *keyOptions) { o.flags |= flagCarryOver }

// Flash marks values that vanish when they have been read once.
func Flash(o *keyOptions) { o.flags |= flagFlash }

// WithCodec replaces the codec of a key.
func WithCodec(c Codec) KeyOption { return func(o *keyOptions) { o.codec = c } }

// Codec turns values into bytes and back. It is called concurrently.
type Codec interface {
	// ID is kept with every value; a value with another ID is not decoded.
	// IDs below 64 are taken.
	ID() byte
	Encode(v any) ([]byte, error)
	// Decode stores into the value that v points to.
	Decode(data []byte, v any) error
}

// ErrUndecodable says that a stored value does not decode as the key's type.
// Setting the key replaces it.
var ErrUndecodable = errors.New("session: value does not decode")

// NewKey returns a key. It panics if the name is empty or longer than 255 bytes,
// because that is a mistake in the program.
func NewKey[V any](name string, options ...KeyOption) Key[V] {
	if name == "" || len(name) > 255 {
		panic(fmt.Sprintf("session: NewKey: name %q is not 1 to 255 bytes long", name))
	}
	var o keyOptions
	for _, option := range options {
		option(&o)
	}
	switch any((*V)(nil)).(type) {
	case *[]byte, *string:
	default:
		if o.codec == nil {
			o.codec = jsonCodec{}
		}
	}
	return Key[V]{name: name, flags: o.flags, codec: o.codec}
}

// Get returns the value, and whether there is one that could be read. See
// [Key.Lookup] for the reason why not.
func (k Key[V]) Get(s *Session) (V, bool) {
	v, ok, _ := k.Lookup(s)
	return v, ok
}

// Lookup returns the value and whether there is one. Errors: ErrUnavailable,
// ErrLocked, ErrUndecodable.
func (k Key[V]) Lookup(s *Session) (v V, ok bool, err error) {
	flash := k.flags&flagFlash != 0
	found, held, err := s.read(k.name, !flash)
	defer held.letGo()
	if err != nil || held == nil {
		return v, false, err
	}
	if v, err = k.decode(found); err != nil {
		return v, false, err
	}
	if flash {
		// Shown once: gone with this response. Where two requests race for it
		// both may show it; Pop gives it to one.
		err = s.set(slot{name: k.name, shown: bytes.Clone(found.value)})
	}
	return v, true, err
}

// Set changes the value. The last writer wins, unless this request has read the
// key and somebody else has changed it since: then storing the session fails
// with ErrConflict. Errors: ErrTooLarge and everything that keeps a session from
// being changed, see [Session.Err].
func (k Key[V]) Set(s *Session, v V) error {
	changed, err := k.encode(v)
	if err != nil {
		return err
	}
	return s.set(changed)
}

// Delete removes the value.
func (k Key[V]) Delete(s *Session) error {
	return s.set(slot{name: k.name})
}

// Update changes the value in place and stores it before it returns, whatever
// other requests do at the same time: no change is lost. The function gets the
// stored value, or the zero value if there is none, and may run several times;
// if it returns an error, nothing is changed. It must not change the session
// itself.
func (k Key[V]) Update(ctx context.Context, s *Session, change func(*V) error) error {
	return s.update(ctx, k.name, func(found slot, ok bool) (slot, error) {
		var v V
		if ok {
			var err error
			if v, err = k.decode(found); err != nil {
				return slot{}, err
			}
		}
		if err := change(&v); err != nil {
			return slot{}, err
		}
		return k.encode(v)
	})
}

// Pop returns the value and removes it before it returns. Of several that pop one
// value at the same time, one gets it.
func (k Key[V]) Pop(ctx context.Context, s *Session) (v V, ok bool, err error) {
	if s.isOver() {
		return v, false, nil
	}
	err = s.update(ctx, k.name, func(found slot, present bool) (slot, error) {
		var zero V
		v, ok = zero, false
		if !present {
			return slot{}, errNoChange
		}
		var err error
		if v, err = k.decode(found); err != nil {
			return slot{}, err
		}
		ok = true
		return slot{name: k.name}, nil
	})
	if err != nil {
		var zero V
		return zero, false, err
	}
	return v, ok, nil
}

// encode returns the slot of a value. The session copies what it keeps of it.
func (k Key[V]) encode(v V) (changed slot, err error) {
	changed.name, changed.flags, changed.codec = k.name, k.flags, k.codecID()
	if k.codec == nil {
		changed.value, err = encodeRaw(v)
	} else {
		changed.value, err = k.codec.Encode(v)
	}
	if err != nil {
		return slot{}, fmt.Errorf("session: encoding %q: %w", k.name, err)
	}
	if changed.value == nil {
		changed.value = []byte{} // nil would mean "removed"
	}
	return changed, nil
}

// decode returns the value of a slot, which does not point into it.
func (k Key[V]) decode(found slot) (v V, err error) {
	if found.codec != k.codecID() {
		return v, fmt.Errorf("session: decoding %q: stored by codec %d, read by %d: %w",
			k.name, found.codec, k.codecID(), ErrUndecodable)
	}
	if k.codec == nil {
		v, err = decodeRaw[V](found.value)
	} else {
		v, err = decodeWith[V](k.codec, found.value)
	}
	if err != nil {
		var zero V
		// The decoder's own text may quote the value.
		return zero, fmt.Errorf("session: decoding %q: %w", k.name, ErrUndecodable)
	}
	return v, nil
}

// rawID is the codec of []byte and string, which are kept as they are.
const rawID = 1

func (k Key[V]) codecID() byte {
	if k.codec == nil {
		return rawID
	}
	return k.codec.ID()
}

// errNotRaw says that a key was not made by NewKey.
var errNotRaw = errors.New("neither []byte nor string")

func encodeRaw[V any](v V) ([]byte, error) {
	switch v := any(v).(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, errNotRaw
}

func decodeRaw[V any](data []byte) (v V, err error) {
	switch p := any(&v).(type) {
	case *[]byte:
		*p = bytes.Clone(data)
	case *string:
		*p = string(data)
	default:
		err = errNotRaw
	}
	return v, err
}

// decodeWith gives the codec a copy, because what it returns may point into it.
func decodeWith[V any](c Codec, data []byte) (v V, err error) {
	err = c.Decode(bytes.Clone(data), &v)
	return v, err
}

// jsonCodec is encoding/json.
type jsonCodec struct{}

func (jsonCodec) ID() byte                        { return 2 }
func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }
