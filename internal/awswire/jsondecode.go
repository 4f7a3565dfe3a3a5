package awswire

import (
	"encoding/base64"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A typeError says that a value is not of the kind the schema wants; its text
// is what AWS answers.
type typeError string

func (e typeError) Error() string { return string(e) }

// A jsonDecoder decodes JSON into the Go types of a service.
type jsonDecoder struct {
	jsonReader
	shapes        []awsapi.Shape
	stringNumbers bool
	// body restricts structures at the top to members that are in the body.
	bodyOnly bool
}

// decodeJSON decodes a whole document into the structure out. An empty
// document is an empty structure.
func decodeJSON(s *service, shape int32, data []byte, out reflect.Value, bodyOnly bool) error {
	d := jsonDecoder{jsonReader: jsonReader{data: data}, shapes: s.Shapes, stringNumbers: s.profile.stringNumbers, bodyOnly: bodyOnly}
	if d.peek() == 0 {
		if d.pos < len(data) {
			return errJSON
		}
		return nil
	}
	if isNull, err := d.null(); err != nil {
		return err
	} else if !isNull {
		if err := d.value(shape, awsapi.TimeDefault, out, 0); err != nil {
			return err
		}
	}
	d.peek()
	if d.pos < len(data) {
		return errJSON
	}
	return nil
}

var timeType = reflect.TypeFor[time.Time]()

// value decodes the next value into v, which has the shape's element type.
func (d *jsonDecoder) value(shape int32, format awsapi.TimeFormat, v reflect.Value, depth int) error {
	s := &d.shapes[shape]
	c := d.peek()
	switch s.Kind {
	case awsapi.KindStructure:
		if c != '{' {
			return d.wrong("Expected structure or null", c)
		}
		return d.structure(s, v, depth)
	case awsapi.KindList:
		if c != '[' {
			return d.wrong("Expected list or null", c)
		}
		return d.list(s, v, depth)
	case awsapi.KindMap:
		if c != '{' {
			return d.wrong("Expected map or null", c)
		}
		return d.mapping(s, v, depth)
	}
	switch c {
	case '{':
		return d.wrong("Start of structure or map found where not expected.", c)
	case '[':
		return d.wrong("Start of list found where not expected", c)
	}
	return d.scalar(s.Kind, c, v)
}

// wrong returns a type error, or that this is not JSON at all.
func (d *jsonDecoder) wrong(text string, c byte) error {
	back := d.pos
	err := d.skip(0)
	d.pos = back
	if err != nil || c == 0 {
		return errJSON
	}
	return typeError(text)
}

// null consumes null and reports whether it was there.
func (d *jsonDecoder) null() (bool, error) {
	if d.peek() != 'n' {
		return false, nil
	}
	return true, d.literal("null")
}

func (d *jsonDecoder) structure(s *awsapi.Shape, v reflect.Value, depth int) error {
	at := 0 // members mostly come in the model's order
	bodyOnly := d.bodyOnly
	d.bodyOnly = false
	return d.members(depth, func(key []byte) error {
		i := memberIndex(s, key, at)
		if i < 0 || bodyOnly && s.Members[i].Location != awsapi.LocationBody {
			return d.skip(depth + 1)
		}
		at = i + 1
		m := &s.Members[i]
		if isNull, err := d.null(); isNull || err != nil {
			return err
		}
		return d.value(m.Shape, m.Format, settable(v.Field(i)), depth+1)
	})
}

// memberIndex finds the member with the wire name, beginning at a guess.
func memberIndex(s *awsapi.Shape, key []byte, guess int) int {
	for n := range s.Members {
		i := guess + n
		if i >= len(s.Members) {
			i -= len(s.Members)
		}
		if s.Members[i].WireName() == string(key) {
			return i
		}
	}
	return -1
}

// settable returns the value to decode into: a fresh one behind a pointer, or
// the field itself, emptied.
func settable(field reflect.Value) reflect.Value {
	if field.Kind() != reflect.Pointer {
		field.SetZero()
		return field
	}
	p := reflect.New(field.Type().Elem())
	field.Set(p)
	return p.Elem()
}

func (d *jsonDecoder) list(s *awsapi.Shape, v reflect.Value, depth int) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.elements(depth, func() error {
		if isNull, err := d.null(); isNull || err != nil {
			return err
		}
		return d.value(s.Elem, awsapi.TimeDefault, grow(v), depth+1)
	})
}

// grow appends a zero element to the slice and returns it.
func grow(v reflect.Value) reflect.Value {
	n := v.Len()
	if n == v.Cap() {
		v.Grow(max(4, n))
	}
	v.SetLen(n + 1)
	e := v.Index(n)
	e.SetZero()
	return e
}

func (d *jsonDecoder) mapping(s *awsapi.Shape, v reflect.Value, depth int) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(depth, func(key []byte) error {
		k := reflect.ValueOf(string(key))
		if isNull, err := d.null(); isNull || err != nil {
			return err
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(s.Elem, awsapi.TimeDefault, e, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(k, e)
		return nil
	})
}

// kindNames are how AWS names kinds in conversion errors.
var kindNames = map[awsapi.Kind]string{
	awsapi.KindString: "a String", awsapi.KindBoolean: "a Boolean", awsapi.KindInteger: "an Integer",
	awsapi.KindLong: "a Long", awsapi.KindDouble: "a Double", awsapi.KindTimestamp: "a Timestamp", awsapi.KindBlob: "a Blob",
}

func cannotConvert(token string, k awsapi.Kind) error {
	return typeError(token + " can not be converted to " + kindNames[k])
}

// scalar decodes a string, number or boolean that begins with c.
func (d *jsonDecoder) scalar(k awsapi.Kind, c byte, v reflect.Value) error {
	switch {
	case c == '"':
		text, err := d.text()
		if err != nil {
			return err
		}
		return d.fromString(k, text, v)
	case c == 't' || c == 'f':
		word := "true"
		if c == 'f' {
			word = "false"
		}
		if err := d.literal(word); err != nil {
			return err
		}
		if k != awsapi.KindBoolean {
			return cannotConvert(map[byte]string{'t': "TRUE_VALUE", 'f': "FALSE_VALUE"}[c], k)
		}
		v.SetBool(c == 't')
		return nil
	case c == 'n':
		return d.literal("null") // an element of a list: stays zero
	}
	text, err := d.number()
	if err != nil {
		return err
	}
	if err := setNumber(k, string(text), v); err != nil {
		return cannotConvert("NUMBER_VALUE", k)
	}
	return nil
}

func (d *jsonDecoder) fromString(k awsapi.Kind, text []byte, v reflect.Value) error {
	switch k {
	case awsapi.KindString:
		v.SetString(string(text))
		return nil
	case awsapi.KindBlob:
		b, err := decodeBase64(text)
		if err != nil {
			return cannotConvert("STRING_VALUE", k)
		}
		v.SetBytes(b)
		return nil
	case awsapi.KindTimestamp:
		t, err := parseTime(string(text))
		if err != nil {
			return cannotConvert("STRING_VALUE", k)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	case awsapi.KindDouble:
		if f, ok := specialFloat(string(text)); ok {
			v.SetFloat(f)
			return nil
		}
	}
	if d.stringNumbers {
		if setText(k, string(text), v) == nil {
			return nil
		}
	}
	return cannotConvert("STRING_VALUE", k)
}

// specialFloat reads the numbers that JSON writes as strings.
func specialFloat(s string) (float64, bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// decodeBase64 decodes standard base64; padding and line ends may be missing
// or present.
func decodeBase64(text []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil && len(text)%4 != 0 {
		out = make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
		n, err = base64.RawStdEncoding.Decode(out, text)
	}
	return out[:n], err
}

var errNumber = errors.New("not a number of this kind")

// setNumber sets v from the text of a JSON number.
func setNumber(k awsapi.Kind, text string, v reflect.Value) error {
	switch k {
	case awsapi.KindInteger, awsapi.KindLong:
		n, err := parseInteger(text)
		if err != nil || v.OverflowInt(n) {
			return errNumber
		}
		v.SetInt(n)
		return nil
	case awsapi.KindDouble:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errNumber
		}
		v.SetFloat(f)
		return nil
	case awsapi.KindTimestamp:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errNumber
		}
		t, err := epochTime(f)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	return errNumber
}

// parseInteger reads an integer, also one written as 5.0 or 5e3.
func parseInteger(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errNumber
	}
	return integerOf(f)
}

// integerOf converts a float without loss.
func integerOf(f float64) (int64, error) {
	if f != math.Trunc(f) || f < -1<<53 || f > 1<<53 {
		return 0, errNumber
	}
	return int64(f), nil
}

// setText sets v from the text form that the query protocol, query strings and
// headers use.
func setText(k awsapi.Kind, text string, v reflect.Value) error {
	switch k {
	case awsapi.KindString:
		v.SetString(text)
	case awsapi.KindBoolean:
		switch text {
		case "true", "True", "TRUE", "1":
			v.SetBool(true)
		case "false", "False", "FALSE", "0":
			v.SetBool(false)
		default:
			return errNumber
		}
	case awsapi.KindTimestamp:
		t, err := parseTime(text)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(t))
	case awsapi.KindBlob:
		b, err := decodeBase64([]byte(text))
		if err != nil {
			return err
		}
		v.SetBytes(b)
	case awsapi.KindDouble:
		if f, ok := specialFloat(text); ok {
			v.SetFloat(f)
			return nil
		}
		return setNumber(k, text, v)
	default:
		return setNumber(k, text, v)
	}
	return nil
}
