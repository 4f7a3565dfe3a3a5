package awswire

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A jsonEncoder appends the JSON form of values.
type jsonEncoder struct {
	shapes []awsapi.Shape
	buf    []byte
}

// encodeJSON appends the structure v to buf. Members that the model puts
// elsewhere than into the body are left out.
func encodeJSON(shapes []awsapi.Shape, shape int32, v reflect.Value, buf []byte) []byte {
	e := jsonEncoder{shapes: shapes, buf: buf}
	e.structure(&shapes[shape], v, true)
	return e.buf
}

func (e *jsonEncoder) value(shape int32, format awsapi.TimeFormat, v reflect.Value) {
	s := &e.shapes[shape]
	switch s.Kind {
	case awsapi.KindStructure:
		e.structure(s, v, false)
	case awsapi.KindList:
		e.buf = append(e.buf, '[')
		for i := range v.Len() {
			if i > 0 {
				e.buf = append(e.buf, ',')
			}
			e.value(s.Elem, awsapi.TimeDefault, v.Index(i))
		}
		e.buf = append(e.buf, ']')
	case awsapi.KindMap:
		e.mapping(s, v)
	case awsapi.KindString:
		e.buf = appendJSONString(e.buf, v.String())
	case awsapi.KindBoolean:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case awsapi.KindInteger, awsapi.KindLong:
		e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
	case awsapi.KindDouble:
		e.buf = appendJSONFloat(e.buf, v.Float())
	case awsapi.KindTimestamp:
		e.timestamp(s, format, v.Interface().(time.Time))
	case awsapi.KindBlob:
		e.buf = append(e.buf, '"')
		e.buf = base64.StdEncoding.AppendEncode(e.buf, v.Bytes())
		e.buf = append(e.buf, '"')
	}
}

func (e *jsonEncoder) timestamp(s *awsapi.Shape, format awsapi.TimeFormat, t time.Time) {
	if format == awsapi.TimeDefault {
		format = s.Format
	}
	if format == awsapi.TimeISO8601 {
		e.buf = append(e.buf, '"')
		e.buf = appendISO(e.buf, t)
		e.buf = append(e.buf, '"')
		return
	}
	e.buf = appendEpoch(e.buf, t)
}

func (e *jsonEncoder) structure(s *awsapi.Shape, v reflect.Value, top bool) {
	e.buf = append(e.buf, '{')
	first := true
	for i := range s.Members {
		m := &s.Members[i]
		if top && m.Location != awsapi.LocationBody {
			continue
		}
		f, ok := present(e.shapes, m, v.Field(i))
		if !ok {
			continue
		}
		if !first {
			e.buf = append(e.buf, ',')
		}
		first = false
		e.buf = appendJSONString(e.buf, m.WireName())
		e.buf = append(e.buf, ':')
		e.value(m.Shape, m.Format, f)
	}
	e.buf = append(e.buf, '}')
}

// present returns a member's value behind its pointer, and whether it is to be
// written: set members are, and required lists and maps always are, because
// some SDKs do not expect them to be missing.
func present(shapes []awsapi.Shape, m *awsapi.Member, f reflect.Value) (reflect.Value, bool) {
	if !f.IsNil() {
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		return f, true
	}
	kind := shapes[m.Shape].Kind
	return f, m.Required && (kind == awsapi.KindList || kind == awsapi.KindMap)
}

func (e *jsonEncoder) mapping(s *awsapi.Shape, v reflect.Value) {
	e.buf = append(e.buf, '{')
	for i, k := range sortedKeys(v) {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.buf = appendJSONString(e.buf, k.String())
		e.buf = append(e.buf, ':')
		e.value(s.Elem, awsapi.TimeDefault, v.MapIndex(k))
	}
	e.buf = append(e.buf, '}')
}

// sortedKeys returns the keys of a map with string keys, sorted, so that
// responses are the same for the same content.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.String() < b.String():
			return -1
		case a.String() > b.String():
			return 1
		}
		return 0
	})
	return keys
}

// appendJSONFloat appends a number, or a string for what JSON has no number
// for.
func appendJSONFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	form := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(b, f, form, -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends a quoted string. Invalid UTF-8 becomes the
// replacement character.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendJSONEscape(b, c)
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendJSONEscape(b []byte, c byte) []byte {
	switch {
	case c >= utf8.RuneSelf:
		return append(b, "\ufffd"...)
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, '\\', 'n')
	case c == '\r':
		return append(b, '\\', 'r')
	case c == '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
