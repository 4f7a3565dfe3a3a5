package awswire

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// A validator checks decoded input against the constraints of the model and
// words what it finds as AWS does.
type validator struct {
	shapes  []awsapi.Shape
	profile *profile
	found   []string
	missing *fault // the first missing member, where the profile words it
	proto   awsapi.Protocol
}

// maxViolations bounds the list in one answer.
const maxViolations = 32

// validate returns nil, or what the client did wrong.
func validate(s *service, p awsapi.Protocol, shape int32, in reflect.Value) *fault {
	v := validator{shapes: s.Shapes, profile: &s.profile, proto: p}
	v.structure(&s.Shapes[shape], in, place{})
	if v.missing != nil {
		return v.missing
	}
	if len(v.found) == 0 {
		return nil
	}
	noun := "errors"
	if len(v.found) == 1 {
		noun = "error"
	}
	return s.profile.invalid.fault(p, fmt.Sprintf("%d validation %s detected: %s", len(v.found), noun, strings.Join(v.found, "; ")))
}

// A place is where in the input a value is, in the two ways AWS prints it.
type place struct {
	path  string // tags.1.member.key
	query string // Tags.member.1.Key, as the query protocol writes it
}

func (p place) member(m *awsapi.Member) place {
	return place{join(p.path, lowerFirst(m.Name)), join(p.query, m.QueryParam())}
}

func (p place) element(i int, flattened bool) place {
	n := strconv.Itoa(i + 1)
	if flattened {
		return place{p.path + "." + n + ".member", p.query + "." + n}
	}
	return place{p.path + "." + n + ".member", p.query + ".member." + n}
}

func (p place) entry(key string) place {
	return place{p.path + "." + key + ".member", p.query + "." + key}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func (v *validator) structure(s *awsapi.Shape, in reflect.Value, at place) {
	for i := range s.Members {
		m := &s.Members[i]
		rules := v.rules(s, m)
		f := in.Field(i)
		if f.IsNil() {
			if m.Required && rules&ruleRequired != 0 {
				v.null(at.member(m))
			}
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		// The place costs an allocation: make it only where it may be printed.
		if v.mayFail(m.Shape, rules, 0) {
			v.value(m.Shape, m.Flattened, rules, f, at.member(m))
		}
		if len(v.found) >= maxViolations {
			return
		}
	}
}

func (v *validator) rules(s *awsapi.Shape, m *awsapi.Member) rule {
	r := v.profile.rules
	if len(v.profile.except) > 0 {
		r &^= v.profile.except[s.Name+"$"+m.Name]
	}
	return r
}

// mayFail reports whether a value of the shape can violate a constraint.
func (v *validator) mayFail(shape int32, rules rule, depth int) bool {
	s := &v.shapes[shape]
	switch {
	case s.Limits != nil && rules&^ruleRequired != 0, s.Kind == awsapi.KindStructure, depth > 4:
		return true
	case s.Kind == awsapi.KindList:
		return v.mayFail(s.Elem, rules, depth+1)
	case s.Kind == awsapi.KindMap:
		return v.mayFail(s.Elem, rules, depth+1) || v.mayFail(s.Key, rules, depth+1)
	}
	return false
}

func (v *validator) null(at place) {
	if v.profile.missing == nil {
		v.found = append(v.found, v.profile.valueNull+" at '"+at.path+"' failed to satisfy constraint: Member must not be null")
		return
	}
	if v.missing == nil {
		code, text := v.profile.missing(at.query)
		v.missing = code.fault(v.proto, text)
	}
}

func (v *validator) value(shape int32, flattened bool, rules rule, in reflect.Value, at place) {
	s := &v.shapes[shape]
	for _, c := range v.violations(s, rules, in) {
		v.found = append(v.found, v.valueOf(s, in)+" at '"+at.path+"' failed to satisfy constraint: "+c)
	}
	switch s.Kind {
	case awsapi.KindStructure:
		v.structure(s, in, at)
	case awsapi.KindList:
		v.list(s, flattened, rules, in, at)
	case awsapi.KindMap:
		v.mapping(s, rules, in, at)
	}
}

func (v *validator) list(s *awsapi.Shape, flattened bool, rules rule, in reflect.Value, at place) {
	elem := &v.shapes[s.Elem]
	if isScalar(elem) {
		for i := range in.Len() {
			if len(v.violations(elem, rules, in.Index(i))) > 0 {
				v.found = append(v.found, v.valueOf(s, in)+" at '"+at.path+"' failed to satisfy constraint: Member must satisfy constraint: ["+
					strings.Join(v.constraints(elem, rules), ", ")+"]")
				return
			}
		}
		return
	}
	for i := range in.Len() {
		if len(v.found) >= maxViolations {
			return
		}
		v.value(s.Elem, false, rules, in.Index(i), at.element(i, flattened))
	}
}

func (v *validator) mapping(s *awsapi.Shape, rules rule, in reflect.Value, at place) {
	key, elem := &v.shapes[s.Key], &v.shapes[s.Elem]
	badKey, badValue := false, false
	for _, k := range sortedKeys(in) {
		badKey = badKey || len(v.violations(key, rules, k)) > 0
		if isScalar(elem) {
			badValue = badValue || len(v.violations(elem, rules, in.MapIndex(k))) > 0
		} else if len(v.found) < maxViolations {
			v.value(s.Elem, false, rules, in.MapIndex(k), at.entry(k.String()))
		}
	}
	if badKey {
		v.found = append(v.found, v.valueOf(s, in)+" at '"+at.path+"' failed to satisfy constraint: Map keys must satisfy constraint: ["+
			strings.Join(v.constraints(key, rules), ", ")+"]")
	}
	if badValue {
		v.found = append(v.found, v.valueOf(s, in)+" at '"+at.path+"' failed to satisfy constraint: Map value must satisfy constraint: ["+
			strings.Join(v.constraints(elem, rules), ", ")+"]")
	}
}

func isScalar(s *awsapi.Shape) bool { return s.Kind >= awsapi.KindString }

// violations returns the constraints that the value itself violates.
func (v *validator) violations(s *awsapi.Shape, rules rule, in reflect.Value) []string {
	l := s.Limits
	if l == nil || rules&^ruleRequired == 0 {
		return nil
	}
	var out []string
	size, isNumber, ok := measure(s, in)
	if ok && rules&sizeRule(isNumber) != 0 {
		if l.HasMax && size > float64(l.Max) {
			out = append(out, maxText(l, isNumber))
		}
		if l.HasMin && size < float64(l.Min) || math.IsNaN(size) {
			out = append(out, minText(l, isNumber))
		}
	}
	if s.Kind != awsapi.KindString {
		return out
	}
	if l.Pattern != "" && rules&rulePattern != 0 && !matches(l.Pattern, in.String()) {
		out = append(out, patternText(l))
	}
	if len(l.Enum) > 0 && rules&ruleEnum != 0 && !slices.Contains(l.Enum, in.String()) {
		out = append(out, v.enumText(s))
	}
	return out
}

// constraints returns all constraints of a shape, as lists and maps of scalars
// print them.
func (v *validator) constraints(s *awsapi.Shape, rules rule) []string {
	var out []string
	l := s.Limits
	_, isNumber, ok := measure(s, reflect.Value{})
	if ok && rules&sizeRule(isNumber) != 0 {
		if l.HasMax {
			out = append(out, maxText(l, isNumber))
		}
		if l.HasMin {
			out = append(out, minText(l, isNumber))
		}
	}
	if l.Pattern != "" && rules&rulePattern != 0 {
		out = append(out, patternText(l))
	}
	if len(l.Enum) > 0 && rules&ruleEnum != 0 {
		out = append(out, v.enumText(s))
	}
	return out
}

func sizeRule(isNumber bool) rule {
	if isNumber {
		return ruleRange
	}
	return ruleLength
}

// measure returns the number that a shape's limits are about: the value, or
// the length. With no value it only says what kind of number that is.
func measure(s *awsapi.Shape, in reflect.Value) (size float64, isNumber, ok bool) {
	set := in.IsValid()
	switch s.Kind {
	case awsapi.KindString:
		if set {
			size = float64(utf8.RuneCountInString(in.String()))
		}
		return size, false, true
	case awsapi.KindBlob, awsapi.KindList, awsapi.KindMap:
		if set {
			size = float64(in.Len())
		}
		return size, false, true
	case awsapi.KindInteger, awsapi.KindLong:
		if set {
			size = float64(in.Int())
		}
		return size, true, true
	case awsapi.KindDouble:
		if set {
			size = in.Float()
		}
		return size, true, true
	}
	return 0, false, false
}

func maxText(l *awsapi.Limits, isNumber bool) string {
	if isNumber {
		return "Member must have value less than or equal to " + strconv.FormatInt(l.Max, 10)
	}
	return "Member must have length less than or equal to " + strconv.FormatInt(l.Max, 10)
}

func minText(l *awsapi.Limits, isNumber bool) string {
	if isNumber {
		return "Member must have value greater than or equal to " + strconv.FormatInt(l.Min, 10)
	}
	return "Member must have length greater than or equal to " + strconv.FormatInt(l.Min, 10)
}

func patternText(l *awsapi.Limits) string {
	return "Member must satisfy regular expression pattern: " + l.Pattern
}

// enumText lists the values in the order that the service prints them, which
// for some enums is not the model's.
func (v *validator) enumText(s *awsapi.Shape) string {
	list := strings.Join(s.Limits.Enum, ", ")
	if printed, ok := v.profile.enumOrder[list]; ok {
		list = printed
	}
	return "Member must satisfy enum value set: [" + list + "]"
}

// valueOf begins the sentence about a value.
func (v *validator) valueOf(s *awsapi.Shape, in reflect.Value) string {
	if v.profile.hideValues {
		return "Value"
	}
	return "Value '" + printValue(s, in) + "'"
}

// maxPrinted bounds how much of a wrong value is repeated to the client, in
// bytes.
const maxPrinted = 1024

// printValue writes a value as AWS repeats it in error texts: Java's toString.
func printValue(s *awsapi.Shape, in reflect.Value) string {
	text := ""
	switch s.Kind {
	case awsapi.KindBlob:
		text = fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", in.Len(), in.Len())
	case awsapi.KindMap:
		var b strings.Builder
		for _, k := range sortedKeys(in) {
			if b.Len() > maxPrinted {
				break
			}
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s=%v", k.String(), printScalar(in.MapIndex(k)))
		}
		text = "{" + b.String() + "}"
	case awsapi.KindList:
		var b strings.Builder
		for i := range in.Len() {
			if b.Len() > maxPrinted {
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(printScalar(in.Index(i)))
		}
		text = "[" + b.String() + "]"
	default:
		text = printScalar(in)
	}
	if len(text) > maxPrinted {
		text = strings.ToValidUTF8(text[:maxPrinted], "") + "..."
	}
	return text
}

func printScalar(in reflect.Value) string {
	switch in.Kind() {
	case reflect.String:
		return in.String()
	case reflect.Struct:
		if t, ok := in.Interface().(time.Time); ok {
			return t.Format(time.RFC3339)
		}
		return in.Type().Name()
	case reflect.Slice, reflect.Map:
		return fmt.Sprintf("(%d)", in.Len())
	}
	return fmt.Sprint(in.Interface())
}

// patterns caches compiled patterns by their model text: nil where RE2 cannot
// express them. The models bound its size.
var patterns sync.Map

// matches reports whether the whole value matches a pattern of the models,
// which are Java regular expressions. Patterns that RE2 cannot express are not
// checked.
func matches(pattern, value string) bool {
	re, ok := patterns.Load(pattern)
	if !ok {
		re, _ = patterns.LoadOrStore(pattern, compilePattern(pattern))
	}
	c, _ := re.(*regexp.Regexp)
	return c == nil || c.MatchString(value)
}

// javaEscape finds what Java spells \uXXXX.
var javaEscape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\\u([0-9a-fA-F]{4})`) })

// compilePattern returns nil if RE2 cannot express the pattern.
func compilePattern(pattern string) *regexp.Regexp {
	re, err := regexp.Compile(`\A(?:` + javaEscape().ReplaceAllString(pattern, `\x{$1}`) + `)\z`)
	if err != nil {
		return nil
	}
	return re
}
