package awswire

import (
	"reflect"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A queryDecoder decodes form parameters into the Go types of a service.
type queryDecoder struct{ shapes []awsapi.Shape }

// decodeQuery decodes the parameters into the structure out.
func decodeQuery(s *service, shape int32, f form, out reflect.Value) error {
	d := queryDecoder{shapes: s.Shapes}
	return d.structure(&d.shapes[shape], f, "", out, 0)
}

// value decodes what the form has for name into v.
func (d *queryDecoder) value(shape int32, flattened bool, f form, name string, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return typeError("Parameters are nested too deeply")
	}
	s := &d.shapes[shape]
	switch s.Kind {
	case awsapi.KindStructure:
		return d.structure(s, f, name+".", v, depth)
	case awsapi.KindList:
		return d.list(s, flattened, f, name, v, depth)
	case awsapi.KindMap:
		return d.mapping(s, flattened, f, name, v, depth)
	}
	text, ok := f.get(name)
	if !ok {
		return typeError("Unexpected complex element termination")
	}
	if err := setText(s.Kind, text, v); err != nil {
		return cannotConvert("STRING_VALUE", s.Kind)
	}
	return nil
}

func (d *queryDecoder) structure(s *awsapi.Shape, f form, prefix string, v reflect.Value, depth int) error {
	if len(f) == 0 {
		return nil
	}
	for i := range s.Members {
		m := &s.Members[i]
		name := prefix + m.QueryParam()
		if !f.has(name) {
			continue
		}
		if err := d.value(m.Shape, m.Flattened, f, name, settable(v.Field(i)), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// list decodes Name.member.N, or Name.N if it is flattened. Name alone is an
// empty list.
func (d *queryDecoder) list(s *awsapi.Shape, flattened bool, f form, name string, v reflect.Value, depth int) error {
	prefix := name + ".member."
	if flattened {
		prefix = name + "."
	}
	elements, err := f.list(prefix)
	if err != nil {
		return typeError("Key is not a list index in " + name)
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(elements)))
	for _, e := range elements {
		if err := d.value(s.Elem, false, e.form, e.name, grow(v), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// mapping decodes Name.entry.N.key and .value, or Name.N.key if it is
// flattened, with the element names of the model.
func (d *queryDecoder) mapping(s *awsapi.Shape, flattened bool, f form, name string, v reflect.Value, depth int) error {
	prefix := name + ".entry."
	if flattened {
		prefix = name + "."
	}
	entries, err := f.list(prefix)
	if err != nil {
		return typeError("Key is not a list index in " + name)
	}
	keyName, valName := mapNames(s)
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, e := range entries {
		key, ok := e.form.get(e.name + "." + keyName)
		if !ok {
			return typeError("Map entry without a key in " + name)
		}
		val := reflect.New(v.Type().Elem()).Elem()
		if at := e.name + "." + valName; e.form.has(at) {
			if err := d.value(s.Elem, false, e.form, at, val, depth+1); err != nil {
				return err
			}
		}
		v.SetMapIndex(reflect.ValueOf(key), val)
	}
	return nil
}

func mapNames(s *awsapi.Shape) (key, value string) {
	if s.KeyName != "" {
		return s.KeyName, s.ValName
	}
	return "key", "value"
}
