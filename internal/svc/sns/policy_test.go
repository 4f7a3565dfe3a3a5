package sns

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestRetrySchedules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, policy string
		want         []float64 // seconds
	}{
		{"Default", `{}`, []float64{20, 20, 20}},
		{"None", `{"numRetries":0}`, nil},
		{"Phases", `{"numRetries":8,"numNoDelayRetries":2,"numMinDelayRetries":2,"numMaxDelayRetries":1,"minDelayTarget":5,"maxDelayTarget":15}`,
			[]float64{0, 0, 5, 5, 5, 10, 15, 15}},
		{"OneGrowing", `{"numRetries":1,"minDelayTarget":5,"maxDelayTarget":15}`, []float64{5}},
		{"Linear", `{"numRetries":5,"minDelayTarget":10,"maxDelayTarget":50,"backoffFunction":"linear"}`, []float64{10, 20, 30, 40, 50}},
		{"Arithmetic", `{"numRetries":5,"minDelayTarget":10,"maxDelayTarget":50,"backoffFunction":"arithmetic"}`, []float64{10, 14, 22, 34, 50}},
		{"Geometric", `{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":8,"backoffFunction":"geometric"}`, []float64{1, 2, 4, 8}},
		{"Exponential", `{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":8,"backoffFunction":"exponential"}`, []float64{1, 2, 4, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := parseSubPolicy(`{"healthyRetryPolicy":` + c.policy + `}`)
			if err != nil {
				t.Fatal(err)
			}
			var got []float64
			for i := 0; ; i++ {
				d, more := p.Retry.delay(i)
				if !more {
					break
				}
				got = append(got, d.Seconds())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestDeliveryPolicyErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ policy, want string }{
		{`x`, "DeliveryPolicy: failed to parse JSON"},
		{`null`, "DeliveryPolicy: failed to parse JSON"},
		{`{"x":1}`, "DeliveryPolicy: Unexpected JSON member: x"},
		{`{"healthyRetryPolicy":{"numRetries":101}}`, "DeliveryPolicy: healthyRetryPolicy.numRetries must be less than or equal to 100"},
		{`{"healthyRetryPolicy":{"numRetries":-1}}`, "DeliveryPolicy: healthyRetryPolicy.numRetries must be greater than or equal to 0"},
		{`{"healthyRetryPolicy":{"minDelayTarget":30,"maxDelayTarget":20}}`, "DeliveryPolicy: healthyRetryPolicy.minDelayTarget must be less than or equal to 20"},
		{`{"healthyRetryPolicy":{"maxDelayTarget":3601}}`, "DeliveryPolicy: healthyRetryPolicy.maxDelayTarget must be less than or equal to 3600"},
		{`{"healthyRetryPolicy":{"numRetries":1,"numNoDelayRetries":2}}`, "DeliveryPolicy: healthyRetryPolicy.numRetries must be greater than or equal to the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries"},
		{`{"healthyRetryPolicy":{"backoffFunction":"cubic"}}`, "DeliveryPolicy: healthyRetryPolicy.backoffFunction must be one of linear, arithmetic, geometric or exponential"},
		{`{"healthyRetryPolicy":{"numRetries":100,"minDelayTarget":37,"maxDelayTarget":37}}`, "DeliveryPolicy: healthyRetryPolicy: the delays of all retries together must not exceed 3600 seconds"},
		{`{"healthyRetryPolicy":{"numRetries":"3"}}`, "DeliveryPolicy: numRetries has a value of the wrong type"},
		{`{"throttlePolicy":{"maxReceivesPerSecond":0}}`, "DeliveryPolicy: throttlePolicy.maxReceivesPerSecond must be greater than or equal to 1"},
		{`{"requestPolicy":{"headerContentType":"image/png"}}`, "DeliveryPolicy: requestPolicy.headerContentType is not supported: image/png"},
		{`{"requestPolicy":{"headerContentType":"text/plain\r\nX: y"}}`, "DeliveryPolicy: requestPolicy.headerContentType is not supported: text/plainX: y"},
	} {
		if _, err := parseSubPolicy(c.policy); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.policy, err, c.want)
		}
	}
	_, err := parseTopicPolicy(`{"http":{"defaultHealthyRetryPolicy":{"numRetries":500}}}`)
	if want := "DeliveryPolicy: http.defaultHealthyRetryPolicy.numRetries must be less than or equal to 100"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEffectivePolicies(t *testing.T) {
	t.Parallel()
	const fresh = `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,` +
		`"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,` +
		`"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`
	if got := (topicPolicy{}).effective(); got != fresh {
		t.Errorf("got %s", got)
	}
	topic, err := parseTopicPolicy(`{"http":{"defaultHealthyRetryPolicy":{"numRetries":7},"defaultThrottlePolicy":{"maxReceivesPerSecond":5}}}`)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := parseSubPolicy(`{"healthyRetryPolicy":{"numRetries":1},"requestPolicy":{"headerContentType":"application/json"},"guaranteed":false,"sicklyRetryPolicy":null}`)
	if err != nil {
		t.Fatal(err)
	}
	if p := sub.under(topic); p.Retry.NumRetries != 1 || p.Throttle.MaxReceivesPerSecond != 5 || p.Request.HeaderContentType != "application/json" {
		t.Errorf("the subscription does not override: %s", p.effective())
	}
	topic.DisableOverrides = true
	if p := sub.under(topic); p.Retry.NumRetries != 7 || p.Request != nil {
		t.Errorf("the subscription overrides: %s", p.effective())
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(sub.effective()), &v); err != nil || len(v) != 5 {
		t.Errorf("effective policy %s: %v", sub.effective(), err)
	}
	if p := (subPolicy{}).under(topicPolicy{}); p.Retry != nil {
		t.Error("without a policy there is one")
	}
}

// FuzzDeliveryPolicy checks that what is accepted has a schedule within bounds.
func FuzzDeliveryPolicy(f *testing.F) {
	f.Add(`{"healthyRetryPolicy":{"numRetries":10,"minDelayTarget":1,"maxDelayTarget":60,"backoffFunction":"exponential"}}`)
	f.Add(`{"healthyRetryPolicy":{"numRetries":100,"numMaxDelayRetries":3},"throttlePolicy":{"maxReceivesPerSecond":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseSubPolicy(text)
		if err != nil || p.Retry == nil {
			return
		}
		var total time.Duration
		i := 0
		for ; ; i++ {
			d, more := p.Retry.delay(i)
			if !more {
				break
			}
			if d < 0 || d > maxDelay*time.Second {
				t.Fatalf("retry %d waits %s", i, d)
			}
			total += d
		}
		if i > maxRetries || total > maxTotalDelay*time.Second {
			t.Fatalf("%d retries in %s", i, total)
		}
		again, err := parseRetry("x", mustJSON(p.Retry))
		if err != nil || *again != *p.Retry {
			t.Fatalf("written anew: %v, %v", again, err)
		}
	})
}
