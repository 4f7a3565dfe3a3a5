package awswire

import (
	"context"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sdkcloudwatch "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sdkeventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	sdkfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	sdkpinpoint "github.com/aws/aws-sdk-go-v2/service/pinpoint"
	sdkses "github.com/aws/aws-sdk-go-v2/service/ses"
	sdksesv2 "github.com/aws/aws-sdk-go-v2/service/sesv2"
	sdksns "github.com/aws/aws-sdk-go-v2/service/sns"
	sdksqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/sestina-mail/sestina/internal/awsapi/awsapitest"
)

// notSigned are the operations that clients do not sign and that are therefore
// refused.
var notSigned = map[string]bool{"AssumeRoleWithSAML": true, "AssumeRoleWithWebIdentity": true}

// TestSDKRoundTrip calls every operation with the official client, all members
// set: the input must arrive and the output must come back whole.
func TestSDKRoundTrip(t *testing.T) {
	t.Parallel()
	type exchange struct{ in, out any }
	var last exchange // one call at a time
	m := NewMux(Options{Credentials: testKeys})
	for _, op := range awsapitest.Operations() {
		s := m.serviceOf(op.Service)
		s.handlers[op.Index] = handler{newInput: op.NewInput, call: func(_ context.Context, in any) (any, error) {
			out := op.NewOutput()
			fillValue(reflect.ValueOf(out).Elem())
			last = exchange{in, out}
			return out, nil
		}}
	}
	for _, s := range m.services {
		s.profile.rules = 0 // the members hold values that no service would accept
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	cfg := sdkConfig(server.URL)
	clients := map[string]any{
		"sesv2": sdksesv2.NewFromConfig(cfg), "ses": sdkses.NewFromConfig(cfg), "sns": sdksns.NewFromConfig(cfg),
		"sqs":        sdksqs.NewFromConfig(cfg, func(o *sdksqs.Options) { o.DisableMessageChecksumValidation = true }),
		"cloudwatch": sdkcloudwatch.NewFromConfig(cfg), "firehose": sdkfirehose.NewFromConfig(cfg),
		"pinpoint": sdkpinpoint.NewFromConfig(cfg), "eventbridge": sdkeventbridge.NewFromConfig(cfg), "sts": sdksts.NewFromConfig(cfg),
	}
	for _, op := range awsapitest.Operations() {
		name := op.Service.Name + "." + op.Info().Name
		if notSigned[op.Info().Name] {
			continue
		}
		method := reflect.ValueOf(clients[op.Service.Name]).MethodByName(op.Info().Name)
		if !method.IsValid() {
			t.Errorf("%s: the client has no such method", name)
			continue
		}
		in := reflect.New(method.Type().In(1).Elem())
		fillValue(in.Elem())
		result := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
		if err, _ := result[1].Interface().(error); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := difference(in.Elem(), reflect.ValueOf(last.in).Elem(), "input"); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := difference(result[0].Elem(), reflect.ValueOf(last.out).Elem(), "output"); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// unions are the structures of which one member may be set. The client has
// them as interfaces.
var unions = map[string]bool{"SigningScheme": true, "EvaluationCriteria": true, "EvaluationWindow": true}

// fillValue sets everything that is settable. A type inside itself is left
// out. Both sides are filled alike except for unions.
func fillValue(v reflect.Value, within ...reflect.Type) {
	switch v.Kind() {
	case reflect.Pointer:
		if !slices.Contains(within, v.Type().Elem()) {
			v.Set(reflect.New(v.Type().Elem()))
			fillValue(v.Elem(), within...)
		}
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(testTime))
			return
		}
		within = append(slices.Clip(within), v.Type())
		for i := range v.NumField() {
			f := v.Type().Field(i)
			// An endpoint id makes clients of these sign for other hosts.
			regional := f.Name == "EndpointId" && f.Type.Kind() == reflect.Pointer && !strings.HasSuffix(v.Type().PkgPath(), "pinpoint")
			if f.IsExported() && f.Name != "ResultMetadata" && !regional {
				fillValue(v.Field(i), within...)
			}
			if unions[v.Type().Name()] {
				return
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("\x00\xffblob"))
			return
		}
		if slices.Contains(within, v.Type().Elem()) {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillValue(v.Index(0), within...)
		fillValue(v.Index(1), within...)
	case reflect.Map:
		if slices.Contains(within, v.Type().Elem()) {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fillValue(e, within...)
		v.SetMapIndex(reflect.ValueOf("k <ü>&\"").Convert(v.Type().Key()), e)
	case reflect.String:
		v.SetString("v <ü>&\"+ %2F/\r\n😀")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1<<31 - 1)
	case reflect.Float64:
		v.SetFloat(-12345678.25)
	}
}

// difference compares a client's value with ours, member by member, and says
// where they differ.
func difference(sdk, ours reflect.Value, path string) string {
	if sdk.Kind() == reflect.Interface {
		return "" // a union
	}
	sdk, ours = indirect(sdk), indirect(ours)
	if !sdk.IsValid() || !ours.IsValid() {
		if sdk.IsValid() != ours.IsValid() {
			return fmt.Sprintf("%s: the client has %v, we have %v", path, sdk, ours)
		}
		return ""
	}
	switch {
	case sdk.Type() == timeType:
		if a, b := sdk.Interface().(time.Time), ours.Interface().(time.Time); !a.Equal(b) {
			return fmt.Sprintf("%s: the client has %v, we have %v", path, a, b)
		}
		return ""
	case sdk.Kind() == reflect.Struct:
		return structDifference(sdk, ours, path)
	case sdk.Kind() == reflect.Slice && sdk.Type().Elem().Kind() != reflect.Uint8, sdk.Kind() == reflect.Map:
		return collectionDifference(sdk, ours, path)
	}
	if a, b := fmt.Sprint(sdk), fmt.Sprint(ours); a != b {
		return fmt.Sprintf("%s: the client has %s, we have %s", path, a, b)
	}
	return ""
}

func structDifference(sdk, ours reflect.Value, path string) string {
	for i := range ours.NumField() {
		name := ours.Type().Field(i).Name
		f := sdk.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
		if !f.IsValid() {
			return path + ": the client has no " + name
		}
		if d := difference(f, ours.Field(i), path+"."+name); d != "" {
			return d
		}
	}
	return ""
}

func collectionDifference(sdk, ours reflect.Value, path string) string {
	if sdk.Len() != ours.Len() {
		return fmt.Sprintf("%s: the client has %d, we have %d", path, sdk.Len(), ours.Len())
	}
	if sdk.Kind() == reflect.Slice {
		for i := range sdk.Len() {
			if d := difference(sdk.Index(i), ours.Index(i), fmt.Sprintf("%s[%d]", path, i)); d != "" {
				return d
			}
		}
		return ""
	}
	for _, k := range ours.MapKeys() {
		if d := difference(sdk.MapIndex(k.Convert(sdk.Type().Key())), ours.MapIndex(k), path+"{}"); d != "" {
			return d
		}
	}
	return ""
}

func indirect(v reflect.Value) reflect.Value {
	for v.IsValid() && v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v
}
