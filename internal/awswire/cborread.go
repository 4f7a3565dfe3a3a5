package awswire

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// A cborReader reads CBOR data items from memory, definite and indefinite
// lengths alike. rfc8949
//
// It exists beside the CBOR library, which can decode only into Go values, not
// item by item: decoding by schema skips what it does not know without making
// anything of it, so a request takes no more memory than its members.
type cborReader struct {
	data []byte
	pos  int
}

// errCBOR means that the bytes are not well-formed CBOR.
var errCBOR = errors.New("malformed CBOR")

// Major types and simple values. rfc8949#3.1
const (
	cborUint   = 0
	cborNegInt = 1
	cborBytes  = 2
	cborText   = 3
	cborArray  = 4
	cborMap    = 5
	cborTag    = 6
	cborSimple = 7

	cborFalse     = 20
	cborTrue      = 21
	cborNull      = 22
	cborUndefined = 23
	cborFloat16   = 25
	cborFloat32   = 26
	cborFloat64   = 27
	cborIndef     = 31
)

// An item is the head of a data item.
type item struct {
	major byte
	info  byte   // the five low bits: which float or simple value
	arg   uint64 // the value, length or bits of a float
}

func (i item) indefinite() bool { return i.info == cborIndef }

// isBreak reports whether the item ends an indefinite length.
func (i item) isBreak() bool { return i.major == cborSimple && i.info == cborIndef }

// isNull reports whether the item stands for an absent value.
func (i item) isNull() bool {
	return i.major == cborSimple && (i.info == cborNull || i.info == cborUndefined)
}

// item consumes the head of the next data item, without tags.
func (r *cborReader) item() (item, error) {
	for tagged := false; ; tagged = true {
		it, err := r.head()
		if err != nil {
			return it, err
		}
		if tagged && it.isBreak() {
			return it, errCBOR
		}
		if it.major != cborTag {
			return it, nil
		}
	}
}

func (r *cborReader) head() (item, error) {
	if r.pos >= len(r.data) {
		return item{}, errCBOR
	}
	b := r.data[r.pos]
	r.pos++
	it := item{major: b >> 5, info: b & 31}
	switch {
	case it.info < 24:
		it.arg = uint64(it.info)
	case it.info <= 27:
		n := 1 << (it.info - 24)
		if len(r.data)-r.pos < n {
			return it, errCBOR
		}
		var wide [8]byte
		copy(wide[8-n:], r.data[r.pos:])
		it.arg = binary.BigEndian.Uint64(wide[:])
		r.pos += n
	case it.info == cborIndef && it.major != cborUint && it.major != cborNegInt && it.major != cborTag:
	default:
		return it, errCBOR
	}
	if it.major == cborSimple && it.info == 24 && it.arg < 32 {
		return it, errCBOR // reserved. rfc8949#3.3
	}
	return it, nil
}

// text returns the content of a text string whose head was consumed. The
// result is part of the input unless it came in chunks.
func (r *cborReader) text(it item) ([]byte, error) { return r.chunks(it, cborText) }

// bytes returns the content of a byte string whose head was consumed.
func (r *cborReader) bytes(it item) ([]byte, error) { return r.chunks(it, cborBytes) }

func (r *cborReader) chunks(it item, major byte) ([]byte, error) {
	if !it.indefinite() {
		return r.chunk(it)
	}
	out := []byte{}
	for {
		it, err := r.head()
		if err != nil {
			return nil, err
		}
		if it.isBreak() {
			return out, nil
		}
		if it.major != major || it.indefinite() {
			return nil, errCBOR
		}
		c, err := r.chunk(it)
		if err != nil {
			return nil, err
		}
		out = append(out, c...)
	}
}

func (r *cborReader) chunk(it item) ([]byte, error) {
	if it.arg > uint64(len(r.data)-r.pos) {
		return nil, errCBOR
	}
	b := r.data[r.pos : r.pos+int(it.arg)]
	r.pos += len(b)
	if it.major == cborText && !utf8.Valid(b) {
		return nil, errCBOR
	}
	return b, nil
}

// elements calls f for each item in an array whose head was consumed; f gets
// the element's head.
func (r *cborReader) elements(it item, depth int, f func(item) error) error {
	if depth > maxDepth {
		return errCBOR
	}
	for n := uint64(0); it.indefinite() || n < it.arg; n++ {
		e, err := r.item()
		if err != nil {
			return err
		}
		if e.isBreak() {
			if it.indefinite() {
				return nil
			}
			return errCBOR
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// members calls f for each pair of a map whose head was consumed; f gets the
// key and the value's head. Keys must be text.
func (r *cborReader) members(it item, depth int, f func(key []byte, value item) error) error {
	return r.elements(it, depth, func(k item) error {
		if k.major != cborText {
			return errCBOR
		}
		key, err := r.text(k)
		if err != nil {
			return err
		}
		v, err := r.item()
		if err != nil {
			return err
		}
		if v.isBreak() {
			return errCBOR
		}
		return f(key, v)
	})
}

// skip consumes the rest of an item whose head was consumed.
func (r *cborReader) skip(it item, depth int) error {
	switch it.major {
	case cborText, cborBytes:
		_, err := r.chunks(it, it.major)
		return err
	case cborArray:
		return r.elements(it, depth, func(e item) error { return r.skip(e, depth+1) })
	case cborMap:
		return r.skipMap(it, depth)
	}
	return nil
}

// skipMap is like members but keys of any kind do: nobody looks at them.
func (r *cborReader) skipMap(it item, depth int) error {
	return r.elements(it, depth, func(k item) error {
		if err := r.skip(k, depth+1); err != nil {
			return err
		}
		v, err := r.item()
		if err != nil {
			return err
		}
		if v.isBreak() {
			return errCBOR
		}
		return r.skip(v, depth+1)
	})
}

// float returns the value of a float item, and whether it is one.
func (i item) float() (float64, bool) {
	if i.major != cborSimple {
		return 0, false
	}
	switch i.info {
	case cborFloat16:
		return halfFloat(uint16(i.arg)), true
	case cborFloat32:
		return float64(math.Float32frombits(uint32(i.arg))), true
	case cborFloat64:
		return math.Float64frombits(i.arg), true
	}
	return 0, false
}

// halfFloat widens an IEEE 754 binary16. rfc8949#appendix-D
func halfFloat(h uint16) float64 {
	exp, mant := int(h>>10&31), float64(h&1023)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		f = math.Inf(1)
		if mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return f
}
