package awswire

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// kinds is a structure with a member of every kind, and kindsShapes its table.
type kinds struct {
	S  *string
	B  *bool
	I  *int32
	L  *int64
	D  *float64
	T  *time.Time
	X  []byte
	Ls []string
	M  map[string]string
	N  *kinds
	Ns []kinds
	Mn map[string]kinds
	Ti *time.Time
}

var kindsShapes = []awsapi.Shape{
	0: {Name: "Kinds", Kind: awsapi.KindStructure, Members: []awsapi.Member{
		{Name: "S", Shape: 1},
		{Name: "B", Shape: 2},
		{Name: "I", Shape: 3},
		{Name: "L", Shape: 4},
		{Name: "D", Shape: 5},
		{Name: "T", Shape: 6},
		{Name: "X", Shape: 7},
		{Name: "Ls", Shape: 8},
		{Name: "M", Shape: 9},
		{Name: "N", Shape: 0},
		{Name: "Ns", Shape: 10},
		{Name: "Mn", Shape: 11},
		{Name: "Ti", Shape: 6, Format: awsapi.TimeISO8601},
	}},
	1: {Kind: awsapi.KindString}, 2: {Kind: awsapi.KindBoolean}, 3: {Kind: awsapi.KindInteger}, 4: {Kind: awsapi.KindLong},
	5: {Kind: awsapi.KindDouble}, 6: {Kind: awsapi.KindTimestamp}, 7: {Kind: awsapi.KindBlob},
	8: {Kind: awsapi.KindList, Elem: 1}, 9: {Kind: awsapi.KindMap, Key: 1, Elem: 1},
	10: {Kind: awsapi.KindList, Elem: 0}, 11: {Kind: awsapi.KindMap, Key: 1, Elem: 0},
}

func kindsService() *service { return &service{Service: &awsapi.Service{Shapes: kindsShapes}} }

func decodeKinds(data string, strings bool) (*kinds, error) {
	s := kindsService()
	s.profile.stringNumbers = strings
	var k kinds
	err := decodeJSON(s, 0, []byte(data), reflect.ValueOf(&k).Elem(), false)
	return &k, err
}

func TestJSONDecode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 500e6, time.UTC)
	for in, want := range map[string]kinds{
		``:             {},
		" \r\n":        {},
		`null`:         {},
		`{}`:           {},
		`{"S":null}`:   {},
		`{"s":"case"}`: {},
		`{"Unknown":{"a":[1,{"b":null}]},"S":"x"}`:          {S: new("x")},
		`{"S":"a","S":"b"}`:                                 {S: new("b")},
		`{"S":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x"}`: {S: new("\"\\/\b\f\n\r\té😀\ufffdx")},
		`{"\u0053":"escaped key"}`:                          {S: new("escaped key")},
		`{"B":true,"I":-7,"L":9007199254740993,"D":1e3}`:    {B: new(true), I: new(int32(-7)), L: new(int64(9007199254740993)), D: new(1000.0)},
		`{"I":5.0,"L":1e3,"D":5}`:                           {I: new(int32(5)), L: new(int64(1000)), D: new(5.0)},
		`{"D":"-Infinity"}`:                                 {D: new(math.Inf(-1))},
		`{"T":1769860800.5,"Ti":"2026-01-31T12:00:00.5Z"}`:  {T: &at, Ti: &at},
		`{"T":"2026-01-31T13:00:00.500+01:00"}`:             {T: &at},
		`{"X":"AAE="}`:                                      {X: []byte{0, 1}},
		`{"X":"AAE"}`:                                       {X: []byte{0, 1}},
		`{"X":"\/\/8="}`:                                    {X: []byte{0xff, 0xff}},
		`{"X":""}`:                                          {X: []byte{}},
		`{"Ls":[]}`:                                         {Ls: []string{}},
		`{"Ls":["a",null,"b"]}`:                             {Ls: []string{"a", "b"}},
		`{"M":{"a":"b","c":null,"a":"d"}}`:                  {M: map[string]string{"a": "d"}},
		`{"N":{"N":{"S":"x"}},"Ns":[{"S":"y"},{}]}`:         {N: &kinds{N: &kinds{S: new("x")}}, Ns: []kinds{{S: new("y")}, {}}},
		`{"Mn":{"k":{"B":false}}}`:                          {Mn: map[string]kinds{"k": {B: new(false)}}},
	} {
		got, err := decodeKinds(in, false)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %s %v", in, encodeJSON(kindsShapes, 0, reflect.ValueOf(got).Elem(), nil), err)
		}
	}
}

// TestJSONTypeErrors checks the texts of wrong kinds; reference: SES errors.
func TestJSONTypeErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"S":1}`:           "NUMBER_VALUE can not be converted to a String",
		`{"S":true}`:        "TRUE_VALUE can not be converted to a String",
		`{"S":false}`:       "FALSE_VALUE can not be converted to a String",
		`{"S":{}}`:          "Start of structure or map found where not expected.",
		`{"S":[]}`:          "Start of list found where not expected",
		`{"Ls":"x"}`:        "Expected list or null",
		`{"Ls":{}}`:         "Expected list or null",
		`{"Ls":[1]}`:        "NUMBER_VALUE can not be converted to a String",
		`{"N":"x"}`:         "Expected structure or null",
		`{"M":[]}`:          "Expected map or null",
		`{"B":"true"}`:      "STRING_VALUE can not be converted to a Boolean",
		`{"I":"5"}`:         "STRING_VALUE can not be converted to an Integer",
		`{"I":2147483648}`:  "NUMBER_VALUE can not be converted to an Integer",
		`{"I":1.5}`:         "NUMBER_VALUE can not be converted to an Integer",
		`{"L":1e30}`:        "NUMBER_VALUE can not be converted to a Long",
		`{"D":1e999}`:       "NUMBER_VALUE can not be converted to a Double",
		`{"T":1e300}`:       "NUMBER_VALUE can not be converted to a Timestamp",
		`{"T":"yesterday"}`: "STRING_VALUE can not be converted to a Timestamp",
		`{"X":"*"}`:         "STRING_VALUE can not be converted to a Blob",
		`{"X":5}`:           "NUMBER_VALUE can not be converted to a Blob",
		`[]`:                "Expected structure or null",
		`"x"`:               "Expected structure or null",
		`{"M":{"a":["b"]}}`: "Start of list found where not expected",
		`{"Ns":[{"S":["x"`:  "",
		`{"S":"x"`:          "",
		`{"S":"x",}`:        "",
		`{S:"x"}`:           "",
		`{"S":"x"} x`:       "",
		`{"S":'x'}`:         "",
		"{\"S\":\"a\nb\"}":  "",
		"{\"S\":\"a\xff\"}": "",
		`{"S":"\x"}`:        "",
		`{"S":"\u12"}`:      "",
		`{"I":01}`:          "",
		`{"I":-}`:           "",
		`{"I":1.}`:          "",
		`{"B":tru}`:         "",
		`{"S":nul}`:         "",
		"\x00":              "",
		`{"X":` + "\"\\u00": "",
		strings.Repeat(`{"N":`, 100) + "{}" + strings.Repeat("}", 100): "",
		`{"U":` + strings.Repeat("[", 1<<16):                           "",
	} {
		_, err := decodeKinds(in, false)
		text := ""
		if e, ok := err.(typeError); ok { // never wrapped
			text = string(e)
		} else if err != errJSON { // never wrapped
			t.Errorf("%s: %v", printable(in), err)
		}
		if text != want {
			t.Errorf("%s: %q, want %q", printable(in), text, want)
		}
	}
}

func TestJSONStringNumbers(t *testing.T) {
	t.Parallel()
	got, err := decodeKinds(`{"I":"5","L":"-6","B":"true","D":"1.5"}`, true)
	if err != nil || *got.I != 5 || *got.L != -6 || !*got.B || *got.D != 1.5 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := decodeKinds(`{"I":"five"}`, true); err == nil {
		t.Error("a word passed as a number")
	}
}

func TestJSONEncode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	late := at.Add(1250 * time.Millisecond)
	for want, in := range map[string]kinds{
		`{}`:                             {},
		`{"S":"\"\\\n\r\t\u0001é😀<&>�"}`: {S: new("\"\\\n\r\t\x01é😀<&>\xff")},
		`{"B":false,"I":0,"L":-1,"D":5}`: {B: new(false), I: new(int32(0)), L: new(int64(-1)), D: new(5.0)},
		`{"D":0.1}`:                      {D: new(0.1)},
		`{"D":1e+300}`:                   {D: new(1e300)},
		`{"D":"NaN"}`:                    {D: new(math.NaN())},
		`{"T":1769860800,"Ti":"2026-01-31T12:00:01.250Z"}`: {T: &at, Ti: &late},
		`{"T":1769860801.250,"Ti":"2026-01-31T12:00:00Z"}`: {T: &late, Ti: &at},
		`{"X":"AAE="}`:                          {X: []byte{0, 1}},
		`{"Ls":[],"M":{}}`:                      {Ls: []string{}, M: map[string]string{}},
		`{"Ls":["a","b"],"M":{"a":"1","b":""}}`: {Ls: []string{"a", "b"}, M: map[string]string{"b": "", "a": "1"}},
		`{"N":{},"Ns":[{},{"S":""}]}`:           {N: &kinds{}, Ns: []kinds{{}, {S: new("")}}},
	} {
		if got := string(encodeJSON(kindsShapes, 0, reflect.ValueOf(in), nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// FuzzJSON compares with encoding/json: what decodes must be JSON there too,
// valid JSON must never be called malformed, and what was decoded must survive
// encoding and decoding.
func FuzzJSON(f *testing.F) {
	f.Add(`{"S":"\ud83d\ude00","I":1,"Ls":["a"],"M":{"a":"b"},"N":{"B":true},"X":"AAE=","T":1.5,"D":-0.5e1}`)
	f.Add(`{"Ns":[{"Mn":{"k":{}}}],"Ti":"2026-01-31T12:00:00Z"}`)
	f.Add(`{"Unknown":[1,2,{"x":null}]}`)
	f.Add(`[[[`)
	f.Fuzz(func(t *testing.T, in string) {
		k, err := decodeKinds(in, false)
		if err == errJSON { // never wrapped
			if json.Valid([]byte(in)) && isUTF8(in) && depthOf(in) < maxDepth {
				t.Fatalf("%q is JSON", in)
			}
			return
		}
		if err != nil {
			return
		}
		if strings.TrimSpace(in) != "" && !json.Valid([]byte(in)) {
			t.Fatalf("%q is not JSON", in)
		}
		out := encodeJSON(kindsShapes, 0, reflect.ValueOf(k).Elem(), nil)
		again, err := decodeKinds(string(out), false)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if b := encodeJSON(kindsShapes, 0, reflect.ValueOf(again).Elem(), nil); !bytes.Equal(out, b) {
			t.Errorf("%s\n%s", out, b)
		}
	})
}

func isUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }

// depthOf is an upper bound of the nesting.
func depthOf(s string) int { return strings.Count(s, "{") + strings.Count(s, "[") }

func TestCBORDecode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 500e6, time.UTC)
	text := func(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }
	pair := func(k string, v ...byte) []byte { return append(append([]byte{0xa1}, text(k)...), v...) }
	float64of := func(f float64) []byte {
		e := cborEncoder{}
		e.float(f)
		return e.buf
	}
	for name, c := range map[string]struct {
		in   []byte
		want kinds
	}{
		"Nothing":           {nil, kinds{}},
		"Empty":             {[]byte{0xa0}, kinds{}},
		"EmptyIndefinite":   {[]byte{0xbf, 0xff}, kinds{}},
		"Null":              {pair("S", 0xf6), kinds{}},
		"Undefined":         {pair("S", 0xf7), kinds{}},
		"Text":              {pair("S", 0x61, 'x'), kinds{S: new("x")}},
		"TextInChunks":      {pair("S", 0x7f, 0x61, 'x', 0x62, 'y', 'z', 0xff), kinds{S: new("xyz")}},
		"Tagged":            {pair("S", 0xd8, 99, 0xc2, 0x61, 'x'), kinds{S: new("x")}},
		"Integer":           {pair("I", 0x39, 0x01, 0x00), kinds{I: new(int32(-257))}},
		"LongWidthForSmall": {pair("I", 0x1b, 0, 0, 0, 0, 0, 0, 0, 5), kinds{I: new(int32(5))}},
		"IntegerAsHalf":     {pair("I", 0xf9, 0x45, 0x00), kinds{I: new(int32(5))}},
		"LongMin":           {pair("L", 0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), kinds{L: new(int64(math.MinInt64))}},
		"DoubleAsInteger":   {pair("D", 0x05), kinds{D: new(5.0)}},
		"DoubleAsSingle":    {pair("D", 0xfa, 0x3f, 0xc0, 0, 0), kinds{D: new(1.5)}},
		"DoubleAsSubnormal": {pair("D", 0xf9, 0x00, 0x01), kinds{D: new(math.Ldexp(1, -24))}},
		"Infinity":          {pair("D", 0xf9, 0xfc, 0x00), kinds{D: new(math.Inf(-1))}},
		"TimeAsDouble":      {pair("T", append([]byte{0xc1}, float64of(1769860800.5)...)...), kinds{T: &at}},
		"TimeAsText":        {pair("T", append([]byte{0x76}, "2026-01-31T12:00:00.5Z"...)...), kinds{T: &at}},
		"Blob":              {pair("X", 0x42, 0, 1), kinds{X: []byte{0, 1}}},
		"BlobInChunks":      {pair("X", 0x5f, 0x41, 0, 0x41, 1, 0xff), kinds{X: []byte{0, 1}}},
		"List":              {pair("Ls", 0x9f, 0x61, 'a', 0xf6, 0x61, 'b', 0xff), kinds{Ls: []string{"a", "b"}}},
		"Map":               {pair("M", 0xbf, 0x61, 'a', 0x61, 'b', 0xff), kinds{M: map[string]string{"a": "b"}}},
		"Unknown":           {append([]byte{0xa2}, append(append(text("U"), 0xbf, 0x01, 0x82, 0x01, 0xa1, 0x40, 0xf4, 0xff), append(text("B"), 0xf5)...)...), kinds{B: new(true)}},
	} {
		var got kinds
		if err := decodeCBOR(kindsService(), 0, c.in, reflect.ValueOf(&got).Elem()); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestCBORErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   []byte
		want string // empty: malformed
	}{
		"NumberForText":   {[]byte{0xa1, 0x61, 'S', 0x05}, "NUMBER_VALUE can not be converted to a String"},
		"TextForNumber":   {[]byte{0xa1, 0x61, 'I', 0x61, '5'}, "STRING_VALUE can not be converted to an Integer"},
		"TextForBlob":     {[]byte{0xa1, 0x61, 'X', 0x61, '5'}, "STRING_VALUE can not be converted to a Blob"},
		"BlobForText":     {[]byte{0xa1, 0x61, 'S', 0x41, '5'}, "BLOB_VALUE can not be converted to a String"},
		"TooLarge":        {[]byte{0xa1, 0x61, 'I', 0x1a, 0xff, 0xff, 0xff, 0xff}, "NUMBER_VALUE can not be converted to an Integer"},
		"TooLargeLong":    {[]byte{0xa1, 0x61, 'L', 0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "NUMBER_VALUE can not be converted to a Long"},
		"NotATime":        {[]byte{0xa1, 0x61, 'T', 0xf9, 0x7e, 0x00}, "NUMBER_VALUE can not be converted to a Timestamp"},
		"ListForText":     {[]byte{0xa1, 0x61, 'S', 0x80}, "Start of list found where not expected"},
		"TextForList":     {[]byte{0xa1, 0x62, 'L', 's', 0x60}, "Expected list or null"},
		"ListAtTheTop":    {[]byte{0x80}, "Expected structure or null"},
		"Truncated":       {[]byte{0xa1, 0x61, 'S', 0x65, 'x'}, ""},
		"TruncatedHead":   {[]byte{0xa1, 0x61, 'I', 0x1b, 0}, ""},
		"LengthOverflows": {[]byte{0xa1, 0x61, 'S', 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ""},
		"ManyElements":    {[]byte{0xa1, 0x62, 'L', 's', 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ""},
		"ReservedInfo":    {[]byte{0xa1, 0x61, 'I', 0x1c}, ""},
		"BadUTF8":         {[]byte{0xa1, 0x61, 'S', 0x61, 0xff}, ""},
		"KeyIsNoText":     {[]byte{0xa1, 0x01, 0x01}, ""},
		"BreakAlone":      {[]byte{0xff}, ""},
		"BreakInDefinite": {[]byte{0xa1, 0x62, 'L', 's', 0x81, 0xff}, ""},
		"BreakForValue":   {[]byte{0xbf, 0x61, 'S', 0xff}, ""},
		"ChunkOfOther":    {[]byte{0xa1, 0x61, 'S', 0x7f, 0x41, 'x', 0xff}, ""},
		"Trailing":        {[]byte{0xa0, 0x00}, ""},
		"TrailingNull":    {[]byte{0xf6, 0x30}, ""},
		"TaggedBreak":     {[]byte{0xbf, 0xc2, 0xff}, ""},
		"Deep":            {append(append([]byte{0xa1, 0x61, 'U'}, bytes.Repeat([]byte{0x81}, 100000)...), 0x00), ""},
		"DeepKnown":       {append(bytes.Repeat([]byte{0xa1, 0x61, 'N'}, 1000), 0xa0), ""},
	} {
		var got kinds
		err := decodeCBOR(kindsService(), 0, c.in, reflect.ValueOf(&got).Elem())
		if e, ok := err.(typeError); ok && string(e) == c.want { // never wrapped
			continue
		}
		if c.want != "" || err != errCBOR { // never wrapped
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzCBOR compares with the CBOR library: what decodes must be well-formed
// there, what we encode must decode there, and values must survive both ways.
func FuzzCBOR(f *testing.F) {
	at := time.UnixMilli(1769860800500).UTC()
	seed := kinds{
		S: new("x"), B: new(true), I: new(int32(-5)), L: new(int64(1 << 40)), D: new(1.5), T: &at, X: []byte{1},
		Ls: []string{"a"}, M: map[string]string{"a": "b"}, N: &kinds{}, Ns: []kinds{{}}, Mn: map[string]kinds{"k": {}},
	}
	f.Add(encodeCBOR(kindsShapes, 0, reflect.ValueOf(seed), nil))
	f.Add([]byte{0xbf, 0x61, 'S', 0x7f, 0x61, 'x', 0xff, 0xff})
	f.Add([]byte{0xa1, 0x61, 'D', 0xf9, 0x3c, 0x00})
	lib, err := cbor.DecOptions{MaxNestedLevels: 2 * maxDepth}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var k kinds
		if decodeCBOR(kindsService(), 0, in, reflect.ValueOf(&k).Elem()) != nil {
			return
		}
		if len(in) > 0 {
			if err := lib.Wellformed(in); err != nil {
				t.Fatalf("%x: %v", in, err)
			}
		}
		out := encodeCBOR(kindsShapes, 0, reflect.ValueOf(k), nil)
		if err := lib.Wellformed(out); err != nil {
			t.Fatalf("encoded %x: %v", out, err)
		}
		var again kinds
		if err := decodeCBOR(kindsService(), 0, out, reflect.ValueOf(&again).Elem()); err != nil {
			t.Fatalf("%x: %v", out, err)
		}
		if b := encodeCBOR(kindsShapes, 0, reflect.ValueOf(again), nil); !bytes.Equal(out, b) {
			t.Errorf("%x\n%x", out, b)
		}
	})
}

func TestHalfFloat(t *testing.T) {
	t.Parallel()
	for h := range uint32(1 << 16) {
		in := []byte{0xf9, byte(h >> 8), byte(h)}
		var want float64
		if err := cbor.Unmarshal(in, &want); err != nil {
			t.Fatal(err)
		}
		if got := halfFloat(uint16(h)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x: %v, want %v", h, got, want)
		}
	}
}

func decodeKindsForm(query string) (*kinds, error) {
	f, err := parseForm("", query)
	if err != nil {
		return nil, err
	}
	var k kinds
	return &k, decodeQuery(kindsService(), 0, f, reflect.ValueOf(&k).Elem())
}

func TestQueryDecode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]kinds{
		"":                                   {},
		"S=a+b%26&Unknown=1&B=true":          {S: new("a b&"), B: new(true)},
		"S=a&S=b":                            {S: new("b")},
		"S=":                                 {S: new("")},
		"S=x\r\n":                            {S: new("x")},
		"I=5&L=-6&D=1.5&T=2026-01-31T12:00Z": {I: new(int32(5)), L: new(int64(-6)), D: new(1.5), T: &at},
		"T=2026-01-31T12:00:00%2B00:00":      {T: &at},
		"X=AAE%3D":                           {X: []byte{0, 1}},
		"Ls=":                                {Ls: []string{}},
		"Ls.member.2=b&Ls.member.10=c&Ls.member.1=a": {Ls: []string{"a", "b", "c"}},
		"M.entry.1.key=a&M.entry.1.value=b":          {M: map[string]string{"a": "b"}},
		"M.entry.1.key=a":                            {M: map[string]string{"a": ""}},
		"N.N.S=x&N.S-y=z":                            {N: &kinds{N: &kinds{S: new("x")}}},
		"Ns.member.1.S=x&Ns.member.3.B=false":        {Ns: []kinds{{S: new("x")}, {B: new(false)}}},
		"Mn.entry.1.key=k&Mn.entry.1.value.S=v":      {Mn: map[string]kinds{"k": {S: new("v")}}},
	} {
		got, err := decodeKindsForm(in)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %s %v", in, encodeJSON(kindsShapes, 0, reflect.ValueOf(got).Elem(), nil), err)
		}
	}
	for _, in := range []string{
		"I=five", "I=2147483648", "B=yes", "T=now", "X=*", "Ls.member.x=a", "Ls.member.1.x=a", "Ls.member.=a", "Ls.member.9999999999=a",
		"M.entry.1.value=x", "S.x=1", "%zz=1", "S=%", strings.Repeat("N.", 100) + "S=x",
	} {
		if got, err := decodeKindsForm(in); err == nil {
			t.Errorf("%s was accepted: %+v", in, got)
		}
	}
}

// FuzzQuery checks that what was decoded from a form says the same when it is
// written as a form again.
func FuzzQuery(f *testing.F) {
	f.Add("S=a&Ls.member.1=b&M.entry.1.key=c&M.entry.1.value=d&N.I=5")
	f.Add("Ns.member.2.S=x&Ns.member.1.B=true")
	f.Add("Ls=&X=AA%3D%3D&T=2026-01-31T12:00:00Z")
	f.Fuzz(func(t *testing.T, in string) {
		k, err := decodeKindsForm(in)
		if err != nil {
			return
		}
		values := map[string][]string{}
		encodeForm(kindsService(), 0, reflect.ValueOf(k).Elem(), "", values)
		form := form{}
		for name, v := range values {
			form = form.with(name, v[0])
		}
		var again kinds
		if err := decodeQuery(kindsService(), 0, form, reflect.ValueOf(&again).Elem()); err != nil {
			t.Fatalf("%v: %v", values, err)
		}
		second := map[string][]string{}
		encodeForm(kindsService(), 0, reflect.ValueOf(&again).Elem(), "", second)
		if !reflect.DeepEqual(values, second) {
			t.Errorf("%v\n%v", values, second)
		}
	})
}
