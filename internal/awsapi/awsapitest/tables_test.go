package awsapitest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

// TestTypesFollowTables checks that the Go types have the fields that the
// tables say, in their order: the codecs rely on nothing else.
func TestTypesFollowTables(t *testing.T) {
	t.Parallel()
	for _, op := range Operations() {
		seen := map[reflect.Type]bool{}
		same(t, op.Service, op.Info().Input, reflect.TypeOf(op.NewInput()).Elem(), op.Info().Name, seen)
		same(t, op.Service, op.Info().Output, reflect.TypeOf(op.NewOutput()).Elem(), op.Info().Name, seen)
	}
}

var scalars = map[awsapi.Kind]reflect.Type{
	awsapi.KindString: reflect.TypeFor[string](), awsapi.KindBoolean: reflect.TypeFor[bool](), awsapi.KindInteger: reflect.TypeFor[int32](),
	awsapi.KindLong: reflect.TypeFor[int64](), awsapi.KindDouble: reflect.TypeFor[float64](), awsapi.KindTimestamp: reflect.TypeFor[time.Time](),
	awsapi.KindBlob: reflect.TypeFor[[]byte](),
}

func same(t *testing.T, s *awsapi.Service, shape int32, typ reflect.Type, path string, seen map[reflect.Type]bool) {
	sh := &s.Shapes[shape]
	switch sh.Kind {
	case awsapi.KindList:
		if typ.Kind() != reflect.Slice {
			t.Fatalf("%s.%s is %s, want a slice", s.Name, path, typ)
		}
		same(t, s, sh.Elem, typ.Elem(), path+"[]", seen)
	case awsapi.KindMap:
		if typ.Kind() != reflect.Map || typ.Key().Kind() != reflect.String || s.Shapes[sh.Key].Kind != awsapi.KindString {
			t.Fatalf("%s.%s is %s, want a map", s.Name, path, typ)
		}
		same(t, s, sh.Elem, typ.Elem(), path+"{}", seen)
	case awsapi.KindStructure:
		if seen[typ] {
			return
		}
		seen[typ] = true
		if typ.NumField() != len(sh.Members) {
			t.Fatalf("%s.%s has %d fields, %d members", s.Name, path, typ.NumField(), len(sh.Members))
		}
		for i, m := range sh.Members {
			f := typ.Field(i)
			if f.Name != strings.ToUpper(m.Name[:1])+m.Name[1:] {
				t.Errorf("%s.%s: field %s stands for member %s", s.Name, path, f.Name, m.Name)
			}
			ft := f.Type
			if k := s.Shapes[m.Shape].Kind; k != awsapi.KindList && k != awsapi.KindMap && k != awsapi.KindBlob {
				if ft.Kind() != reflect.Pointer {
					t.Fatalf("%s.%s.%s is %s, want a pointer", s.Name, path, f.Name, ft)
				}
				ft = ft.Elem()
			}
			same(t, s, m.Shape, ft, path+"."+f.Name, seen)
		}
	default:
		if typ != scalars[sh.Kind] {
			t.Errorf("%s.%s is %s", s.Name, path, typ)
		}
	}
}

// TestTables checks what lookups and codecs assume of every table.
func TestTables(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, op := range Operations() {
		s := op.Service
		count[s.Name]++
		info := op.Info()
		if s.OperationIndex(info.Name) != op.Index {
			t.Errorf("%s.%s is not found by its name", s.Name, info.Name)
		}
		if s.Protocols&awsapi.ProtocolREST != 0 && len(info.Routes) == 0 {
			t.Errorf("%s.%s has no route", s.Name, info.Name)
		}
		if s.Protocols&awsapi.ProtocolQuery != 0 && s.XMLNamespace == "" {
			t.Errorf("%s has no XML namespace", s.Name)
		}
		if s.OperationIndex(info.Name+"x") != -1 {
			t.Errorf("%s has an operation %sx", s.Name, info.Name)
		}
		for i, e := range s.Errors {
			if s.ErrorByShape(e.Shape) != &s.Errors[i] || s.ErrorByCode(e.Code).Code != e.Code {
				t.Errorf("%s: error %s is not found", s.Name, e.Shape)
			}
			if e.Status < 400 || e.Status > 599 {
				t.Errorf("%s: error %s has status %d", s.Name, e.Shape, e.Status)
			}
		}
		if !slices.IsSortedFunc(s.Errors, func(a, b awsapi.Error) int { return strings.Compare(a.Shape, b.Shape) }) {
			t.Errorf("%s: errors are not sorted", s.Name)
		}
	}
	want := map[string]int{
		"sesv2": 116, "ses": 71, "sns": 42, "sqs": 23, "cloudwatch": 55, "firehose": 12, "pinpoint": 122, "eventbridge": 57, "sts": 11,
	}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("operations: %v, want %v", count, want)
	}
}
