package awswire

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A cborDecoder decodes CBOR into the Go types of a service.
type cborDecoder struct {
	cborReader
	shapes []awsapi.Shape
}

// decodeCBOR decodes one data item into the structure out. No bytes at all are
// an empty structure.
func decodeCBOR(s *service, shape int32, data []byte, out reflect.Value) error {
	if len(data) == 0 {
		return nil
	}
	d := cborDecoder{cborReader: cborReader{data: data}, shapes: s.Shapes}
	it, err := d.item()
	if err != nil {
		return err
	}
	if it.isBreak() {
		return errCBOR
	}
	if !it.isNull() {
		if err := d.value(shape, it, out, 0); err != nil {
			return err
		}
	}
	if d.pos < len(data) {
		return errCBOR
	}
	return nil
}

// value decodes the item, whose head was consumed, into v.
func (d *cborDecoder) value(shape int32, it item, v reflect.Value, depth int) error {
	s := &d.shapes[shape]
	switch s.Kind {
	case awsapi.KindStructure:
		if it.major != cborMap {
			return d.wrong(it, depth, "Expected structure or null")
		}
		return d.structure(s, it, v, depth)
	case awsapi.KindList:
		if it.major != cborArray {
			return d.wrong(it, depth, "Expected list or null")
		}
		return d.list(s, it, v, depth)
	case awsapi.KindMap:
		if it.major != cborMap {
			return d.wrong(it, depth, "Expected map or null")
		}
		return d.mapping(s, it, v, depth)
	}
	switch it.major {
	case cborMap:
		return d.wrong(it, depth, "Start of structure or map found where not expected.")
	case cborArray:
		return d.wrong(it, depth, "Start of list found where not expected")
	}
	return d.scalar(s.Kind, it, v)
}

// wrong returns a type error, or that this is not CBOR at all.
func (d *cborDecoder) wrong(it item, depth int, text string) error {
	if err := d.skip(it, depth); err != nil {
		return err
	}
	return typeError(text)
}

func (d *cborDecoder) structure(s *awsapi.Shape, it item, v reflect.Value, depth int) error {
	at := 0
	return d.members(it, depth, func(key []byte, value item) error {
		i := memberIndex(s, key, at)
		if i < 0 {
			return d.skip(value, depth+1)
		}
		at = i + 1
		if value.isNull() {
			return nil
		}
		return d.value(s.Members[i].Shape, value, settable(v.Field(i)), depth+1)
	})
}

func (d *cborDecoder) list(s *awsapi.Shape, it item, v reflect.Value, depth int) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.elements(it, depth, func(e item) error {
		if e.isNull() {
			return nil
		}
		return d.value(s.Elem, e, grow(v), depth+1)
	})
}

func (d *cborDecoder) mapping(s *awsapi.Shape, it item, v reflect.Value, depth int) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(it, depth, func(key []byte, value item) error {
		k := reflect.ValueOf(string(key))
		if value.isNull() {
			return nil
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(s.Elem, value, e, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(k, e)
		return nil
	})
}

// scalar decodes a string, number, boolean or byte string.
func (d *cborDecoder) scalar(k awsapi.Kind, it item, v reflect.Value) error {
	switch it.major {
	case cborText:
		text, err := d.text(it)
		if err != nil {
			return err
		}
		return cborFromText(k, string(text), v)
	case cborBytes:
		b, err := d.bytes(it)
		if err != nil {
			return err
		}
		if k != awsapi.KindBlob {
			return cannotConvert("BLOB_VALUE", k)
		}
		v.SetBytes(append([]byte{}, b...))
		return nil
	case cborUint, cborNegInt:
		return cborFromInteger(k, it, v)
	}
	if it.info == cborTrue || it.info == cborFalse {
		if k != awsapi.KindBoolean {
			return cannotConvert("BOOLEAN_VALUE", k)
		}
		v.SetBool(it.info == cborTrue)
		return nil
	}
	f, ok := it.float()
	if !ok {
		return cannotConvert("SIMPLE_VALUE", k)
	}
	return cborFromFloat(k, f, v)
}

func cborFromText(k awsapi.Kind, text string, v reflect.Value) error {
	switch k {
	case awsapi.KindString:
		v.SetString(text)
		return nil
	case awsapi.KindTimestamp:
		if t, err := parseTime(text); err == nil {
			v.Set(reflect.ValueOf(t))
			return nil
		}
	}
	return cannotConvert("STRING_VALUE", k)
}

func cborFromInteger(k awsapi.Kind, it item, v reflect.Value) error {
	f := float64(it.arg)
	if it.major == cborNegInt {
		f = -1 - f
	}
	if k != awsapi.KindInteger && k != awsapi.KindLong {
		return cborFromFloat(k, f, v)
	}
	if it.arg > math.MaxInt64 {
		return cannotConvert("NUMBER_VALUE", k)
	}
	n := int64(it.arg)
	if it.major == cborNegInt {
		n = -1 - n
	}
	if v.OverflowInt(n) {
		return cannotConvert("NUMBER_VALUE", k)
	}
	v.SetInt(n)
	return nil
}

func cborFromFloat(k awsapi.Kind, f float64, v reflect.Value) error {
	switch k {
	case awsapi.KindDouble:
		v.SetFloat(f)
		return nil
	case awsapi.KindInteger, awsapi.KindLong:
		if n, err := integerOf(f); err == nil && !v.OverflowInt(n) {
			v.SetInt(n)
			return nil
		}
	case awsapi.KindTimestamp:
		if t, err := epochTime(f); err == nil {
			v.Set(reflect.ValueOf(t))
			return nil
		}
	}
	return cannotConvert("NUMBER_VALUE", k)
}

// A cborEncoder appends the CBOR form of values, with definite lengths.
type cborEncoder struct {
	shapes []awsapi.Shape
	buf    []byte
}

func encodeCBOR(shapes []awsapi.Shape, shape int32, v reflect.Value, buf []byte) []byte {
	e := cborEncoder{shapes: shapes, buf: buf}
	e.value(shape, v)
	return e.buf
}

func (e *cborEncoder) value(shape int32, v reflect.Value) {
	s := &e.shapes[shape]
	switch s.Kind {
	case awsapi.KindStructure:
		e.structure(s, v)
	case awsapi.KindList:
		e.head(cborArray, uint64(v.Len()))
		for i := range v.Len() {
			e.value(s.Elem, v.Index(i))
		}
	case awsapi.KindMap:
		e.head(cborMap, uint64(v.Len()))
		for _, k := range sortedKeys(v) {
			e.text(k.String())
			e.value(s.Elem, v.MapIndex(k))
		}
	case awsapi.KindString:
		e.text(v.String())
	case awsapi.KindBoolean:
		e.buf = append(e.buf, cborSimple<<5|cborFalse)
		if v.Bool() {
			e.buf[len(e.buf)-1] = cborSimple<<5 | cborTrue
		}
	case awsapi.KindInteger, awsapi.KindLong:
		e.integer(v.Int())
	case awsapi.KindDouble:
		e.float(v.Float())
	case awsapi.KindTimestamp:
		// Tag 1 with a double, to the millisecond.
		e.head(cborTag, 1)
		e.float(float64(v.Interface().(time.Time).UnixMilli()) / 1000)
	case awsapi.KindBlob:
		e.head(cborBytes, uint64(v.Len()))
		e.buf = append(e.buf, v.Bytes()...)
	}
}

func (e *cborEncoder) structure(s *awsapi.Shape, v reflect.Value) {
	n := 0
	for i := range s.Members {
		if _, ok := present(e.shapes, &s.Members[i], v.Field(i)); ok {
			n++
		}
	}
	e.head(cborMap, uint64(n))
	for i := range s.Members {
		m := &s.Members[i]
		if f, ok := present(e.shapes, m, v.Field(i)); ok {
			e.text(m.WireName())
			e.value(m.Shape, f)
		}
	}
}

func (e *cborEncoder) head(major byte, arg uint64) {
	b := major << 5
	switch {
	case arg < 24:
		e.buf = append(e.buf, b|byte(arg))
	case arg <= math.MaxUint8:
		e.buf = append(e.buf, b|24, byte(arg))
	case arg <= math.MaxUint16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, b|25), uint16(arg))
	case arg <= math.MaxUint32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, b|26), uint32(arg))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, b|27), arg)
	}
}

func (e *cborEncoder) integer(n int64) {
	if n < 0 {
		e.head(cborNegInt, uint64(-1-n))
		return
	}
	e.head(cborUint, uint64(n))
}

func (e *cborEncoder) float(f float64) {
	e.buf = binary.BigEndian.AppendUint64(append(e.buf, cborSimple<<5|cborFloat64), math.Float64bits(f))
}

func (e *cborEncoder) text(s string) {
	s = strings.ToValidUTF8(s, "\ufffd")
	e.head(cborText, uint64(len(s)))
	e.buf = append(e.buf, s...)
}
