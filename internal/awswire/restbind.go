package awswire

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// decodeREST decodes a restJson1 request into the structure out: labels, query
// string and headers where the model binds members to them, and the body, which
// is either one payload member or all unbound members.
func decodeREST(s *service, m *match, r *http.Request, body []byte, out reflect.Value) error {
	shape := s.Operations[m.op].Input
	in := &s.Shapes[shape]
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return typeError("The query string is malformed")
	}
	payload := -1
	for i := range in.Members {
		mem := &in.Members[i]
		field := out.Field(i)
		switch mem.Location {
		case awsapi.LocationURI:
			if v, ok := m.value(mem.WireName()); ok {
				err = bindText(s, mem, []string{v}, field)
			}
		case awsapi.LocationQuery:
			if v, ok := query[mem.WireName()]; ok {
				err = bindText(s, mem, v, field)
			}
		case awsapi.LocationHeader:
			if v := r.Header.Values(mem.WireName()); len(v) > 0 {
				err = bindText(s, mem, v, field)
			}
		case awsapi.LocationPayload:
			payload = i
		}
		if err != nil {
			return err
		}
	}
	if payload >= 0 {
		return decodePayload(s, &in.Members[payload], body, out.Field(payload))
	}
	bodyOnly := !m.route.Body
	return decodeJSON(s, shape, body, out, bodyOnly)
}

// decodePayload decodes a body that is one member. An empty body leaves it
// unset.
func decodePayload(s *service, mem *awsapi.Member, body []byte, field reflect.Value) error {
	if len(body) == 0 {
		return nil
	}
	switch s.Shapes[mem.Shape].Kind {
	case awsapi.KindBlob, awsapi.KindString:
		return setPayloadText(body, settable(field))
	}
	return decodeJSON(s, mem.Shape, body, settable(field), false)
}

func setPayloadText(body []byte, v reflect.Value) error {
	if v.Kind() == reflect.String {
		v.SetString(string(body))
		return nil
	}
	v.SetBytes(append([]byte{}, body...))
	return nil
}

// bindText sets a member from its text values; lists take all of them.
func bindText(s *service, mem *awsapi.Member, values []string, field reflect.Value) error {
	shape := &s.Shapes[mem.Shape]
	v := settable(field)
	if shape.Kind != awsapi.KindList {
		if err := setText(shape.Kind, values[0], v); err != nil {
			return cannotConvert("STRING_VALUE", shape.Kind)
		}
		return nil
	}
	if mem.Location == awsapi.LocationHeader {
		values = strings.Split(strings.Join(values, ","), ",")
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(values)))
	elem := s.Shapes[shape.Elem].Kind
	for _, text := range values {
		if err := setText(elem, text, grow(v)); err != nil {
			return cannotConvert("STRING_VALUE", elem)
		}
	}
	return nil
}

// encodeREST returns the body of a restJson1 response.
func encodeREST(api *awsapi.Service, op *awsapi.OperationInfo, out reflect.Value) []byte {
	shape := &api.Shapes[op.Output]
	for i := range shape.Members {
		m := &shape.Members[i]
		if m.Location != awsapi.LocationPayload {
			continue
		}
		f, ok := present(api.Shapes, m, out.Field(i))
		if !ok {
			return []byte("{}")
		}
		e := jsonEncoder{shapes: api.Shapes}
		e.value(m.Shape, m.Format, f)
		return e.buf
	}
	return encodeJSON(api.Shapes, op.Output, out, nil)
}
