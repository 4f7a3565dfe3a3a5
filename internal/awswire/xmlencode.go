package awswire

import (
	"encoding/base64"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// An xmlEncoder appends the XML of query responses. Responses are the only XML
// this package knows: it never parses any.
type xmlEncoder struct {
	shapes []awsapi.Shape
	buf    []byte
}

// encodeQueryResponse returns the whole response document of an operation.
func encodeQueryResponse(api *awsapi.Service, op *awsapi.OperationInfo, out reflect.Value, requestID string) []byte {
	e := xmlEncoder{shapes: api.Shapes}
	e.buf = append(e.buf, "<"+op.Name+`Response xmlns="`+api.XMLNamespace+`">`...)
	if op.Wrapper != "" {
		e.open(op.Wrapper)
		e.structure(&api.Shapes[op.Output], out)
		e.close(op.Wrapper)
	}
	e.buf = append(e.buf, "<ResponseMetadata><RequestId>"+requestID+"</RequestId></ResponseMetadata>"...)
	e.close(op.Name + "Response")
	return e.buf
}

// encodeQueryError returns the error document.
func encodeQueryError(namespace string, f *fault, requestID string) []byte {
	e := xmlEncoder{}
	e.buf = append(e.buf, "<ErrorResponse"...)
	if namespace != "" {
		e.buf = append(e.buf, ` xmlns="`+namespace+`"`...)
	}
	e.buf = append(e.buf, "><Error>"...)
	e.element("Type", faultType(f))
	e.element("Code", f.query)
	e.element("Message", f.message)
	e.buf = append(e.buf, "</Error>"...)
	e.element("RequestId", requestID)
	e.close("ErrorResponse")
	return e.buf
}

func faultType(f *fault) string {
	if f.server {
		return "Receiver"
	}
	return "Sender"
}

func (e *xmlEncoder) open(name string)  { e.buf = append(append(append(e.buf, '<'), name...), '>') }
func (e *xmlEncoder) close(name string) { e.buf = append(append(append(e.buf, "</"...), name...), '>') }

func (e *xmlEncoder) element(name, text string) {
	e.open(name)
	e.buf = appendXMLText(e.buf, text)
	e.close(name)
}

func (e *xmlEncoder) structure(s *awsapi.Shape, v reflect.Value) {
	for i := range s.Members {
		m := &s.Members[i]
		f := v.Field(i)
		if f.IsNil() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		e.member(m, f)
	}
}

func (e *xmlEncoder) member(m *awsapi.Member, v reflect.Value) {
	s, name := &e.shapes[m.Shape], m.QueryParam()
	switch {
	case s.Kind == awsapi.KindList && m.Flattened:
		e.list(s, name, v)
	case s.Kind == awsapi.KindMap && m.Flattened:
		e.mapping(s, name, v)
	default:
		e.open(name)
		e.content(m.Shape, m.Format, v)
		e.close(name)
	}
}

// content appends what stands between the tags of an element.
func (e *xmlEncoder) content(shape int32, format awsapi.TimeFormat, v reflect.Value) {
	s := &e.shapes[shape]
	switch s.Kind {
	case awsapi.KindStructure:
		e.structure(s, v)
	case awsapi.KindList:
		e.list(s, "member", v)
	case awsapi.KindMap:
		e.mapping(s, "entry", v)
	case awsapi.KindString:
		e.buf = appendXMLText(e.buf, v.String())
	case awsapi.KindBoolean:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case awsapi.KindInteger, awsapi.KindLong:
		e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
	case awsapi.KindDouble:
		e.buf = appendXMLFloat(e.buf, v.Float())
	case awsapi.KindTimestamp:
		if t := v.Interface().(time.Time); format == awsapi.TimeUnix || s.Format == awsapi.TimeUnix {
			e.buf = appendEpoch(e.buf, t)
		} else {
			e.buf = appendISO(e.buf, t)
		}
	case awsapi.KindBlob:
		e.buf = base64.StdEncoding.AppendEncode(e.buf, v.Bytes())
	}
}

func (e *xmlEncoder) list(s *awsapi.Shape, name string, v reflect.Value) {
	for i := range v.Len() {
		e.open(name)
		e.content(s.Elem, awsapi.TimeDefault, v.Index(i))
		e.close(name)
	}
}

func (e *xmlEncoder) mapping(s *awsapi.Shape, name string, v reflect.Value) {
	keyName, valName := mapNames(s)
	for _, k := range sortedKeys(v) {
		e.open(name)
		e.element(keyName, k.String())
		e.open(valName)
		e.content(s.Elem, awsapi.TimeDefault, v.MapIndex(k))
		e.close(valName)
		e.close(name)
	}
}

// appendXMLFloat appends a number as AWS prints it: 3.0, 0.25, 1.0E10.
func appendXMLFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, strings.Trim(string(appendJSONFloat(nil, f)), `"`)...)
	}
	form := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		form = 'E'
	}
	text := strconv.FormatFloat(f, form, -1, 64)
	mantissa, exponent, isE := strings.Cut(text, "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	b = append(b, mantissa...)
	if isE {
		n, _ := strconv.Atoi(exponent)
		b = append(b, 'E')
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return b
}

// appendXMLText appends character data. Quotes and carriage returns are
// escaped so that they survive a round trip; characters that XML cannot carry
// become the replacement character.
func appendXMLText(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\r':
			b = append(b, "&#xD;"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff, r == utf8.RuneError && size == 1:
			b = append(b, "\ufffd"...)
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}
