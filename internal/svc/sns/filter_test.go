package sns

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestFilterAttributes(t *testing.T) {
	t.Parallel()
	m := func(kv ...string) *message {
		m := &message{}
		for i := 0; i < len(kv); i += 3 {
			m.Attributes = append(m.Attributes, attribute{Name: kv[i], Type: kv[i+1], Value: kv[i+2]})
		}
		return m
	}
	for _, c := range []struct {
		name, policy string
		message      *message
		want         bool
	}{
		{"Exact", `{"a":["x","y"]}`, m("a", "String", "y"), true},
		{"ExactOther", `{"a":["x"]}`, m("a", "String", "X"), false},
		{"Missing", `{"a":["x"]}`, m("b", "String", "x"), false},
		{"AllKeys", `{"a":["x"],"b":["y"]}`, m("a", "String", "x"), false},
		{"NumberFormsAreEqual", `{"a":[300.0]}`, m("a", "Number", "3.0e2"), true},
		{"CustomNumberType", `{"a":[5]}`, m("a", "Number.int", "5"), true},
		{"QuotedNumberIsString", `{"a":["5"]}`, m("a", "Number", "5"), false},
		{"QuotedNumberAndString", `{"a":["5"]}`, m("a", "String", "5"), true},
		{"NumberAndString", `{"a":[5]}`, m("a", "String", "5"), false},
		{"CustomStringType", `{"a":["x"]}`, m("a", "String.kind", "x"), true},
		{"BinaryIsIgnored", `{"a":["eA=="]}`, m("a", "Binary", "eA=="), false},
		{"BinaryDoesNotExist", `{"a":[{"exists":false}]}`, m("a", "Binary", "eA=="), true},
		{"ArrayAnyElement", `{"a":["y"]}`, m("a", "String.Array", `["x","y"]`), true},
		{"ArrayNumber", `{"a":[2]}`, m("a", "String.Array", `["x",2]`), true},
		{"ArrayNull", `{"a":[null]}`, m("a", "String.Array", `[null]`), true},
		{"ArrayTrue", `{"a":[true]}`, m("a", "String.Array", `[true]`), true},
		{"ArrayBroken", `{"a":["x"]}`, m("a", "String.Array", `["x"`), false},
		{"Prefix", `{"a":[{"prefix":"mail."}]}`, m("a", "String", "mail.x"), true},
		{"PrefixOfNumber", `{"a":[{"prefix":"1"}]}`, m("a", "Number", "12"), false},
		{"Suffix", `{"a":[{"suffix":"@example.com"}]}`, m("a", "String", "x@example.com"), true},
		{"SuffixOther", `{"a":[{"suffix":"@example.com"}]}`, m("a", "String", "x@example.org"), false},
		{"IgnoreCase", `{"a":[{"equals-ignore-case":"Bounce"}]}`, m("a", "String", "bOUNCE"), true},
		{"AnythingBut", `{"a":[{"anything-but":["x","y"]}]}`, m("a", "String", "z"), true},
		{"AnythingButListed", `{"a":[{"anything-but":["x","y"]}]}`, m("a", "String", "y"), false},
		{"AnythingButSingle", `{"a":[{"anything-but":"x"}]}`, m("a", "String", "x"), false},
		{"AnythingButNumber", `{"a":[{"anything-but":[100]}]}`, m("a", "Number", "100.0"), false},
		{"AnythingButMissing", `{"a":[{"anything-but":["x"]}]}`, m(), false},
		{"AnythingButPrefix", `{"a":[{"anything-but":{"prefix":"x"}}]}`, m("a", "String", "xy"), false},
		{"AnythingButPrefixOther", `{"a":[{"anything-but":{"prefix":"x"}}]}`, m("a", "String", "y"), true},
		{"AnythingButArrayAnyElement", `{"a":[{"anything-but":["x"]}]}`, m("a", "String.Array", `["x","y"]`), true},
		{"NumericEquals", `{"a":[{"numeric":["=",301.5]}]}`, m("a", "Number", "301.5"), true},
		{"NumericLow", `{"a":[{"numeric":[">",0,"<=",150]}]}`, m("a", "Number", "0"), false},
		{"NumericHigh", `{"a":[{"numeric":[">",0,"<=",150]}]}`, m("a", "Number", "150"), true},
		{"NumericAbove", `{"a":[{"numeric":[">",0,"<=",150]}]}`, m("a", "Number", "150.00001"), false},
		{"NumericAtLeast", `{"a":[{"numeric":[">=",-5]}]}`, m("a", "Number", "-5"), true},
		{"NumericLess", `{"a":[{"numeric":["<",-5]}]}`, m("a", "Number", "-5"), false},
		{"NumericString", `{"a":[{"numeric":["<",5]}]}`, m("a", "String", "1"), false},
		{"Exists", `{"a":[{"exists":true}]}`, m("a", "String", "x"), true},
		{"ExistsMissing", `{"a":[{"exists":true}]}`, m(), false},
		{"ExistsNot", `{"a":[{"exists":false}]}`, m(), true},
		{"ExistsNotPresent", `{"a":[{"exists":false}]}`, m("a", "String", "x"), false},
		{"ExistsNotOrValue", `{"a":[{"exists":false},"x"]}`, m("a", "String", "x"), true},
		{"CIDR", `{"a":[{"cidr":"10.0.0.0/24"}]}`, m("a", "String", "10.0.0.255"), true},
		{"CIDROutside", `{"a":[{"cidr":"10.0.0.0/24"}]}`, m("a", "String", "10.0.1.0"), false},
		{"CIDR6", `{"a":[{"cidr":"2001:db8::/32"}]}`, m("a", "String", "2001:db8::1"), true},
		{"CIDRNoAddress", `{"a":[{"cidr":"10.0.0.0/24"}]}`, m("a", "String", "x"), false},
		{"Wildcard", `{"a":[{"wildcard":"*.example.*"}]}`, m("a", "String", "www.example.com"), true},
		{"WildcardOther", `{"a":[{"wildcard":"*.example.*"}]}`, m("a", "String", "www.example"), false},
		{"WildcardOverlap", `{"a":[{"wildcard":"ab*ba"}]}`, m("a", "String", "aba"), false},
		{"WildcardEscaped", `{"a":[{"wildcard":"a\\*b"}]}`, m("a", "String", "a*b"), true},
		{"WildcardEscapedOther", `{"a":[{"wildcard":"a\\*b"}]}`, m("a", "String", "axb"), false},
		{"Or", `{"$or":[{"a":["x"]},{"b":["y"]}]}`, m("b", "String", "y"), true},
		{"OrNone", `{"$or":[{"a":["x"]},{"b":["y"]}]}`, m("b", "String", "x"), false},
		{"OrAnd", `{"c":["z"],"$or":[{"a":["x"]},{"b":["y"]}]}`, m("b", "String", "y"), false},
		{"OrWithReservedKeyIsPlain", `{"$or":[{"prefix":"x"},{"suffix":"y"}]}`, m("$or", "String", "xa"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := parseFilter(c.policy, scopeAttributes)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.matches(c.message); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestFilterBody(t *testing.T) {
	t.Parallel()
	const bounce = `{"eventType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"a@x","status":"5.1.1"},{"emailAddress":"b@y","status":"4.4.7"}]},` +
		`"mail":{"tags":{"ses:configuration-set":["prod"],"n":["1","2"]},"headersTruncated":false,"size":3e2},"none":null,"empty":[]}`
	for _, c := range []struct {
		name, policy string
		want         bool
	}{
		{"EventType", `{"eventType":["Bounce","Complaint"]}`, true},
		{"Other", `{"eventType":["Complaint"]}`, false},
		{"Nested", `{"mail":{"tags":{"ses:configuration-set":["prod"]}}}`, true},
		{"NestedOther", `{"mail":{"tags":{"ses:configuration-set":["dev"]}}}`, false},
		{"ArrayOfObjects", `{"bounce":{"bouncedRecipients":{"emailAddress":[{"suffix":"@y"}]}}}`, true},
		{"SameElement", `{"bounce":{"bouncedRecipients":{"emailAddress":["b@y"],"status":["4.4.7"]}}}`, true},
		{"NotAcrossElements", `{"bounce":{"bouncedRecipients":{"emailAddress":["a@x"],"status":["4.4.7"]}}}`, false},
		{"DottedKey", `{"bounce.bounceType":["Permanent"]}`, true},
		{"DottedKeyThroughArray", `{"bounce.bouncedRecipients.status":["5.1.1"]}`, true},
		{"DottedKeyMissing", `{"bounce.nothing":[{"exists":false}]}`, true},
		{"Boolean", `{"mail":{"headersTruncated":[false]}}`, true},
		{"Number", `{"mail":{"size":[300]}}`, true},
		{"Null", `{"none":[null]}`, true},
		{"NullExists", `{"none":[{"exists":true}]}`, true},
		{"NullIsAnythingBut", `{"none":[{"anything-but":["x"]}]}`, true},
		{"EmptyArrayDoesNotExist", `{"empty":[{"exists":true}]}`, false},
		{"ObjectIsNoLeaf", `{"mail":[{"exists":true}]}`, false},
		{"MissingParent", `{"complaint":{"x":[{"exists":false}]}}`, true},
		{"MissingParentExists", `{"complaint":{"x":[{"exists":true}]}}`, false},
		{"ScalarParent", `{"eventType":{"x":["y"]}}`, false},
		{"NestedOr", `{"bounce":{"$or":[{"bounceType":["Transient"]},{"bouncedRecipients":{"status":["5.1.1"]}}]}}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := parseFilter(c.policy, scopeBody)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.matches(&message{Message: bounce + "\n"}); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
	p, err := parseFilter(`{"a":[{"exists":false}]}`, scopeBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"plain", "[]", `"x"`, "{} {}", ""} {
		if p.matches(&message{Message: text}) {
			t.Errorf("%q is no object but matches", text)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	t.Parallel()
	values := func(n int) string {
		var v []string
		for i := range n {
			v = append(v, fmt.Sprintf(`"v%d"`, i))
		}
		return "[" + strings.Join(v, ",") + "]"
	}
	for _, c := range []struct{ policy, scope, want string }{
		{`{"a":["x"]`, scopeAttributes, "failed to parse JSON. unexpected EOF"},
		{`["x"]`, scopeAttributes, "failed to parse JSON. Filter is not an object"},
		{`{"a":["x"]} x`, scopeAttributes, "failed to parse JSON. there is text after the JSON value"},
		{`{"a":"x"}`, scopeAttributes, `"a" must be an object or an array`},
		{`{"a":[]}`, scopeAttributes, "Empty arrays are not allowed"},
		{`{"a":{}}`, scopeBody, "Empty objects are not allowed"},
		{`{"a":{"b":["x"]}}`, scopeAttributes, "Filter policy scope MessageAttributes does not support nested filter policy"},
		{`{"a":[["x"]]}`, scopeAttributes, "Match value must be String, number, true, false, or null"},
		{`{"a":[{"suffix":"x","prefix":"y"}]}`, scopeAttributes, "Only one key allowed in match expression"},
		{`{"a":[{"wrong":true}]}`, scopeAttributes, "Unrecognized match type wrong"},
		{`{"a":[{"suffix":100}]}`, scopeAttributes, "suffix match pattern must be a string"},
		{`{"a":[{"suffix":null}]}`, scopeAttributes, "suffix match pattern must be a string"},
		{`{"a":[{"prefix":["x"]}]}`, scopeAttributes, "prefix match pattern must be a string"},
		{`{"a":[{"cidr":5}]}`, scopeAttributes, "prefix match pattern must be a string"},
		{`{"a":[{"cidr":"10.0.0.0"}]}`, scopeAttributes, "Malformed CIDR, one '/' required"},
		{`{"a":[{"cidr":"10.0.0.0/2/4"}]}`, scopeAttributes, "Malformed CIDR, one '/' required"},
		{`{"a":[{"cidr":"10.0.0.0/x"}]}`, scopeAttributes, "Malformed CIDR, mask bits must be an integer"},
		{`{"a":[{"cidr":"10.0.0/8"}]}`, scopeAttributes, "Nonstandard IP address: 10.0.0"},
		{`{"a":[{"cidr":"10.0.0.0/33"}]}`, scopeAttributes, "IPv4 mask bits must be < 32"},
		{`{"a":[{"exists":"no"}]}`, scopeAttributes, "exists match pattern must be either true or false."},
		{`{"a":[{"exists":null}]}`, scopeAttributes, "exists match pattern must be either true or false."},
		{`{"a":[{"numeric":5}]}`, scopeAttributes, "Value of numeric must be an array."},
		{`{"a":[{"numeric":[]}]}`, scopeAttributes, "Invalid member in numeric match: ]"},
		{`{"a":[{"numeric":["operator"]}]}`, scopeAttributes, "Unrecognized numeric range operator: operator"},
		{`{"a":[{"numeric":[1,"<="]}]}`, scopeAttributes, "Invalid member in numeric match: 1"},
		{`{"a":[{"numeric":["=","000"]}]}`, scopeAttributes, "Value of equals must be numeric"},
		{`{"a":[{"numeric":[">="]}]}`, scopeAttributes, "Value of >= must be numeric"},
		{`{"a":[{"numeric":["<",100,">",10]}]}`, scopeAttributes, "Too many elements in numeric expression"},
		{`{"a":[{"numeric":[">=",1,">",2]}]}`, scopeAttributes, "Bad numeric range operator: >"},
		{`{"a":[{"numeric":[">",3,"<",1]}]}`, scopeAttributes, "Bottom must be less than top"},
		{`{"a":[{"numeric":[">",20,"<="]}]}`, scopeAttributes, "Value of <= must be numeric"},
		{`{"a":[{"numeric":[">",20,30]}]}`, scopeAttributes, "Bad value in numeric range: 30"},
		{`{"a":[{"numeric":[">",20,"test"]}]}`, scopeAttributes, "Bad numeric range operator: test"},
		{`{"a":[{"numeric":[">",20,"<",30,"<",50]}]}`, scopeAttributes, "Too many terms in numeric range expression"},
		{`{"a":[{"numeric":["=",1000000001]}]}`, scopeAttributes, "Value must be between -1.0E9 and 1.0E9, inclusive, not 1.000000001e+09"},
		{`{"a":[{"anything-but":{"suffix":"x"}}]}`, scopeAttributes, "Unsupported anything-but pattern: suffix"},
		{`{"a":[{"anything-but":{"prefix":false}}]}`, scopeAttributes, "prefix match pattern must be a string"},
		{`{"a":[{"anything-but":[]}]}`, scopeAttributes, "Empty arrays are not allowed"},
		{`{"a":[{"anything-but":[null]}]}`, scopeAttributes, "Inside anything but list, start|null|boolean is not supported."},
		{`{"a":[{"anything-but":true}]}`, scopeAttributes, "Value of anything-but must be an array or single string/number value."},
		{`{"a":[{"wildcard":"a**b"}]}`, scopeAttributes, "Consecutive wildcard characters at pos 1"},
		{`{"a":{"suffix":"x"}}`, scopeBody, `"suffix" must be an object or an array`},
		{`{"a":` + values(151) + `}`, scopeAttributes, "Filter policy is too complex"},
		{`{"a":` + values(100) + `,"b":` + values(51) + `}`, scopeAttributes, "Filter policy is too complex"},
		{`{"a":{"b":{"c":` + values(51) + `}}}`, scopeBody, "Filter policy is too complex"}, // 51 × 3
		{`{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"],"f":["x"]}`, scopeAttributes, "Filter policy can not have more than 5 keys"},
		{`{"s":` + values(4) + `,"$or":[{"m":` + values(6) + `},{"t":` + values(4) + `,"$or":[{"i":` + values(4) + `},{"p":` + values(4) + `}]}]}`, scopeAttributes, "Filter policy is too complex"}, // 24+64+64
		{`{"a":["` + strings.Repeat("x", 256<<10) + `"]}`, scopeAttributes, "Filter policy is too long"},
	} {
		_, err := parseFilter(c.policy, c.scope)
		if err == nil || err.Error() != c.want {
			t.Errorf("%.80s: got %v, want %s", c.policy, err, c.want)
		}
	}
	for _, ok := range []string{
		`{"a":` + values(150) + `}`, `{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"]}`,
		`{"s":` + values(4) + `,"$or":[{"m":` + values(5) + `},{"t":` + values(4) + `,"$or":[{"i":` + values(4) + `},{"p":` + values(4) + `}]}]}`, // 20+64+64
	} {
		if _, err := parseFilter(ok, scopeAttributes); err != nil {
			t.Errorf("%.80s: %v", ok, err)
		}
	}
	for _, empty := range []string{"", "{}", " {} "} {
		if p, err := parseFilter(empty, scopeBody); p != nil || err != nil {
			t.Errorf("%q: %v, %v", empty, p, err)
		}
	}
}

// FuzzFilter checks that no policy and no message makes the parser or the
// matcher panic, that a policy reads the same when its JSON is written anew, and
// that wrapping a policy's object in an array of the message changes nothing.
func FuzzFilter(f *testing.F) {
	for _, p := range []string{
		`{"a":["x",5,null,true]}`, `{"a":{"b":[{"prefix":"x"}]}}`, `{"$or":[{"a":["x"]},{"b.c":[{"exists":false}]}]}`,
		`{"a":[{"numeric":[">",1,"<=",2]}]}`, `{"a":[{"cidr":"::/0"}]}`, `{"a":[{"wildcard":"a*\\*"}]}`, `{"a":[{"anything-but":{"prefix":"p"}}]}`,
	} {
		f.Add(p, `{"a":"x","b":{"c":[1,{"d":null}]}}`)
	}
	f.Fuzz(func(t *testing.T, policy, text string) {
		for _, scope := range []string{scopeBody, scopeAttributes} {
			p, err := parseFilter(policy, scope)
			if err != nil || p == nil {
				continue
			}
			m := &message{Message: text, Attributes: []attribute{{"a", "String", text}, {"b", "String.Array", text}, {"c", "Number", text}}}
			got := p.matches(m)
			var v any
			if err := json.Unmarshal([]byte(policy), &v); err != nil {
				t.Fatalf("a policy was accepted that is no JSON: %v", err)
			}
			again, err := parseFilter(string(mustJSON(v)), scope)
			if err != nil {
				t.Fatalf("written anew it is refused: %v", err)
			}
			if again.matches(m) != got {
				t.Fatalf("written anew it matches differently")
			}
			if body, ok := m.object(); ok && scope == scopeBody && p.root.match([]any{body}) != got {
				t.Fatalf("in an array it matches differently")
			}
		}
	})
}

func BenchmarkFilterBody(b *testing.B) {
	p, err := parseFilter(`{"eventType":["Bounce"],"mail":{"tags":{"ses:configuration-set":["spring"]}}}`, scopeBody)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.matches(&message{Message: record}) {
			b.Fatal("does not match")
		}
	}
}
