package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// A model is the part of a C2J model that the generator uses.
type model struct {
	Metadata   metadata              `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type metadata struct {
	APIVersion      string    `json:"apiVersion"`
	EndpointPrefix  string    `json:"endpointPrefix"`
	SigningName     string    `json:"signingName"`
	Protocol        string    `json:"protocol"`
	Protocols       []string  `json:"protocols"`
	JSONVersion     string    `json:"jsonVersion"`
	TargetPrefix    string    `json:"targetPrefix"`
	XMLNamespace    string    `json:"xmlNamespace"`
	Namespace       string    `json:"namespace"` // overlay only
	QueryCompatible *struct{} `json:"awsQueryCompatible"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		route
		ResponseCode int     `json:"responseCode"`
		Also         []route `json:"also"` // overlay only: routes of newer clients
	} `json:"http"`
	Input  *shapeRef `json:"input"`
	Output *shapeRef `json:"output"`
}

type route struct {
	Method     string `json:"method"`
	RequestURI string `json:"requestUri"`
}

type shapeRef struct {
	Shape           string `json:"shape"`
	ResultWrapper   string `json:"resultWrapper"`
	Location        string `json:"location"`
	LocationName    string `json:"locationName"`
	QueryName       string `json:"queryName"`
	TimestampFormat string `json:"timestampFormat"`
	Flattened       bool   `json:"flattened"`
}

type shape struct {
	Type            string   `json:"type"`
	Required        []string `json:"required"`
	Members         members  `json:"members"`
	Member          shapeRef `json:"member"`
	Key             shapeRef `json:"key"`
	Value           shapeRef `json:"value"`
	Payload         string   `json:"payload"`
	Enum            []string `json:"enum"`
	Min             *float64 `json:"min"`
	Max             *float64 `json:"max"`
	Pattern         string   `json:"pattern"`
	TimestampFormat string   `json:"timestampFormat"`
	Flattened       bool     `json:"flattened"`
	Exception       bool     `json:"exception"`
	Fault           bool     `json:"fault"`
	Error           struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
		SenderFault    bool   `json:"senderFault"`
	} `json:"error"`
}

// members keeps the model's order, which is the order of the Go fields.
type members []member

type member struct {
	Name string
	shapeRef
}

// UnmarshalJSON reads a JSON object as an ordered list.
func (m *members) UnmarshalJSON(b []byte) error {
	keys, values, err := orderedObject(b)
	if err != nil {
		return err
	}
	*m = nil
	for i, k := range keys {
		var ref shapeRef
		if err := json.Unmarshal(values[i], &ref); err != nil {
			return fmt.Errorf("member %s: %w", k, err)
		}
		*m = append(*m, member{Name: k, shapeRef: ref})
	}
	return nil
}

// loadModel reads a model with its overlay merged over it. overlay may be nil.
func loadModel(raw, overlay []byte) (*model, error) {
	if overlay != nil {
		merged, err := merge(raw, overlay)
		if err != nil {
			return nil, fmt.Errorf("merge overlay: %w", err)
		}
		raw = merged
	}
	var m model
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return &m, m.check()
}

// merge lays one JSON value over another: objects merge member by member,
// arrays are appended to, anything else is replaced. Order is kept.
func merge(base, over []byte) ([]byte, error) {
	switch {
	case isKind(base, '{') && isKind(over, '{'):
		return mergeObjects(base, over)
	case isKind(base, '[') && isKind(over, '['):
		var a, b []json.RawMessage
		if err := json.Unmarshal(base, &a); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(over, &b); err != nil {
			return nil, err
		}
		return json.Marshal(append(a, b...))
	}
	return over, nil
}

func mergeObjects(base, over []byte) ([]byte, error) {
	keys, values, err := orderedObject(base)
	if err != nil {
		return nil, err
	}
	overKeys, overValues, err := orderedObject(over)
	if err != nil {
		return nil, err
	}
	for i, k := range overKeys {
		at := slices.Index(keys, k)
		if at < 0 {
			keys, values = append(keys, k), append(values, overValues[i])
			continue
		}
		if values[at], err = merge(values[at], overValues[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(values[i])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func isKind(b []byte, first byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == first
}

// orderedObject splits a JSON object into its keys and values, in order.
func orderedObject(b []byte) (keys []string, values []json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("want an object, got %v: %w", t, err)
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, k.(string)), append(values, v)
	}
	return keys, values, nil
}

// check refuses a model that refers to shapes it does not have or requires
// members it does not have.
func (m *model) check() error {
	has := func(where, name string) error {
		if _, ok := m.Shapes[name]; !ok {
			return fmt.Errorf("%s: no shape %q", where, name)
		}
		return nil
	}
	for name, o := range m.Operations {
		for _, ref := range []*shapeRef{o.Input, o.Output} {
			if ref == nil || ref.Shape == "" {
				continue
			}
			if err := has(name, ref.Shape); err != nil {
				return err
			}
		}
	}
	for name, s := range m.Shapes {
		for _, r := range s.Required {
			if !slices.ContainsFunc(s.Members, func(x member) bool { return x.Name == r }) {
				return fmt.Errorf("%s requires %s, which it does not have", name, r)
			}
		}
		for _, ref := range s.refs() {
			if err := has(name, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// refs returns the names of the shapes that s refers to.
func (s *shape) refs() []string {
	switch s.Type {
	case "structure":
		var out []string
		for _, m := range s.Members {
			out = append(out, m.Shape)
		}
		return out
	case "list":
		return []string{s.Member.Shape}
	case "map":
		return []string{s.Key.Shape, s.Value.Shape}
	}
	return nil
}
