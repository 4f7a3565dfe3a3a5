package sns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A retryPolicy says how often and when a delivery to an HTTP endpoint is tried
// again. sns-guide:sns-message-delivery-retries
type retryPolicy struct {
	MinDelayTarget     int    `json:"minDelayTarget"` // seconds
	MaxDelayTarget     int    `json:"maxDelayTarget"` // seconds
	NumRetries         int    `json:"numRetries"`     // in all phases together
	NumMaxDelayRetries int    `json:"numMaxDelayRetries"`
	NumNoDelayRetries  int    `json:"numNoDelayRetries"`
	NumMinDelayRetries int    `json:"numMinDelayRetries"`
	BackoffFunction    string `json:"backoffFunction"`
}

var defaultRetryPolicy = retryPolicy{MinDelayTarget: 20, MaxDelayTarget: 20, NumRetries: 3, BackoffFunction: "linear"}

const defaultContentType = "text/plain; charset=UTF-8"

// Limits of a retry policy.
const (
	maxRetries    = 100
	maxDelay      = 3600 // seconds, of one delay
	maxTotalDelay = 3600 // seconds, of all delays of a policy together
)

type throttlePolicy struct {
	MaxReceivesPerSecond int `json:"maxReceivesPerSecond"`
}

type requestPolicy struct {
	HeaderContentType string `json:"headerContentType"`
}

// A topicPolicy is a topic's DeliveryPolicy. The zero value is none.
type topicPolicy struct {
	Retry            *retryPolicy
	DisableOverrides bool
	Throttle         *throttlePolicy
	Request          *requestPolicy
}

// A subPolicy is a subscription's DeliveryPolicy. The zero value is none.
type subPolicy struct {
	Retry    *retryPolicy
	Throttle *throttlePolicy
	Request  *requestPolicy
}

// delay returns the wait before retry i, 0 for the first, and false when there
// are no more retries. The phases are: without delay, with the least delay,
// growing from the least to the greatest, with the greatest.
func (p *retryPolicy) delay(i int) (time.Duration, bool) {
	if i >= p.NumRetries {
		return 0, false
	}
	if i < p.NumNoDelayRetries {
		return 0, true
	}
	i -= p.NumNoDelayRetries
	if i < p.NumMinDelayRetries {
		return seconds(float64(p.MinDelayTarget)), true
	}
	i -= p.NumMinDelayRetries
	growing := p.NumRetries - p.NumNoDelayRetries - p.NumMinDelayRetries - p.NumMaxDelayRetries
	if i >= growing {
		return seconds(float64(p.MaxDelayTarget)), true
	}
	return seconds(p.backoff(i, growing)), true
}

// backoff is retry i of n in the growing phase, in seconds. AWS names the four
// functions without saying what they are; these differ in how late they grow.
func (p *retryPolicy) backoff(i, n int) float64 {
	low, high := float64(p.MinDelayTarget), float64(p.MaxDelayTarget)
	if n < 2 || low == high {
		return low
	}
	x, last := float64(i), float64(n-1)
	switch p.BackoffFunction {
	case "arithmetic":
		return low + (high-low)*x*(x+1)/(last*(last+1))
	case "geometric":
		return low * math.Pow(high/low, x/last)
	case "exponential":
		return low + (high-low)*(math.Exp2(x)-1)/(math.Exp2(last)-1)
	}
	return low + (high-low)*x/last
}

func seconds(f float64) time.Duration {
	return time.Duration(math.Round(f*1000)) * time.Millisecond
}

// check checks the ranges; at is the path of the policy for messages.
func (p *retryPolicy) check(at string) error {
	bound := func(name string, v, low, high int) error {
		switch {
		case v < low:
			return fmt.Errorf("DeliveryPolicy: %s.%s must be greater than or equal to %d", at, name, low)
		case v > high:
			return fmt.Errorf("DeliveryPolicy: %s.%s must be less than or equal to %d", at, name, high)
		}
		return nil
	}
	err := errors.Join(
		bound("numRetries", p.NumRetries, 0, maxRetries),
		bound("maxDelayTarget", p.MaxDelayTarget, 1, maxDelay),
		bound("minDelayTarget", p.MinDelayTarget, 1, max(p.MaxDelayTarget, 1)),
		bound("numNoDelayRetries", p.NumNoDelayRetries, 0, maxRetries),
		bound("numMinDelayRetries", p.NumMinDelayRetries, 0, maxRetries),
		bound("numMaxDelayRetries", p.NumMaxDelayRetries, 0, maxRetries),
	)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(first)
	}
	if p.NumNoDelayRetries+p.NumMinDelayRetries+p.NumMaxDelayRetries > p.NumRetries {
		return fmt.Errorf("DeliveryPolicy: %s.numRetries must be greater than or equal to the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries", at)
	}
	if !slices.Contains([]string{"linear", "arithmetic", "geometric", "exponential"}, p.BackoffFunction) {
		return fmt.Errorf("DeliveryPolicy: %s.backoffFunction must be one of linear, arithmetic, geometric or exponential", at)
	}
	var total time.Duration
	for i := range p.NumRetries {
		d, _ := p.delay(i)
		total += d
	}
	if total > maxTotalDelay*time.Second {
		return fmt.Errorf("DeliveryPolicy: %s: the delays of all retries together must not exceed %d seconds", at, maxTotalDelay)
	}
	return nil
}

// members decodes a JSON object whose members must be among those that out
// takes. A null member is as if it was absent.
func members(raw json.RawMessage, out map[string]any) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return errors.New("DeliveryPolicy: failed to parse JSON")
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		v, ok := out[name]
		if !ok {
			return fmt.Errorf("DeliveryPolicy: Unexpected JSON member: %s", name)
		}
		if bytes.Equal(bytes.TrimSpace(m[name]), []byte("null")) {
			continue
		}
		if err := json.Unmarshal(m[name], v); err != nil {
			return fmt.Errorf("DeliveryPolicy: %s has a value of the wrong type", name)
		}
	}
	return nil
}

// parseTopicPolicy reads the DeliveryPolicy of a topic.
func parseTopicPolicy(text string) (topicPolicy, error) {
	var http, retry, sickly, throttle, request json.RawMessage
	var p topicPolicy
	if err := members(json.RawMessage(text), map[string]any{"http": &http}); err != nil {
		return topicPolicy{}, err
	}
	if http == nil {
		return p, nil
	}
	err := members(http, map[string]any{
		"defaultHealthyRetryPolicy": &retry, "defaultSicklyRetryPolicy": &sickly, "disableSubscriptionOverrides": &p.DisableOverrides,
		"defaultThrottlePolicy": &throttle, "defaultRequestPolicy": &request,
	})
	if err != nil {
		return topicPolicy{}, err
	}
	if p.Retry, err = parseRetry("http.defaultHealthyRetryPolicy", retry); err != nil {
		return topicPolicy{}, err
	}
	if p.Throttle, err = parseThrottle("http.defaultThrottlePolicy", throttle); err != nil {
		return topicPolicy{}, err
	}
	if p.Request, err = parseRequest("http.defaultRequestPolicy", request); err != nil {
		return topicPolicy{}, err
	}
	return p, nil
}

// parseSubPolicy reads the DeliveryPolicy of a subscription.
func parseSubPolicy(text string) (subPolicy, error) {
	var retry, sickly, throttle, request json.RawMessage
	var guaranteed bool
	var p subPolicy
	err := members(json.RawMessage(text), map[string]any{
		"healthyRetryPolicy": &retry, "sicklyRetryPolicy": &sickly, "throttlePolicy": &throttle,
		"requestPolicy": &request, "guaranteed": &guaranteed,
	})
	if err != nil {
		return subPolicy{}, err
	}
	if p.Retry, err = parseRetry("healthyRetryPolicy", retry); err != nil {
		return subPolicy{}, err
	}
	if p.Throttle, err = parseThrottle("throttlePolicy", throttle); err != nil {
		return subPolicy{}, err
	}
	if p.Request, err = parseRequest("requestPolicy", request); err != nil {
		return subPolicy{}, err
	}
	return p, nil
}

func parseRetry(at string, raw json.RawMessage) (*retryPolicy, error) {
	if raw == nil {
		return nil, nil
	}
	p := defaultRetryPolicy
	err := members(raw, map[string]any{
		"minDelayTarget": &p.MinDelayTarget, "maxDelayTarget": &p.MaxDelayTarget, "numRetries": &p.NumRetries,
		"numMaxDelayRetries": &p.NumMaxDelayRetries, "numNoDelayRetries": &p.NumNoDelayRetries,
		"numMinDelayRetries": &p.NumMinDelayRetries, "backoffFunction": &p.BackoffFunction,
	})
	if err != nil {
		return nil, err
	}
	return &p, p.check(at)
}

func parseThrottle(at string, raw json.RawMessage) (*throttlePolicy, error) {
	if raw == nil {
		return nil, nil
	}
	var n *int
	if err := members(raw, map[string]any{"maxReceivesPerSecond": &n}); err != nil {
		return nil, err
	}
	if n == nil {
		return nil, nil
	}
	if *n < 1 {
		return nil, fmt.Errorf("DeliveryPolicy: %s.maxReceivesPerSecond must be greater than or equal to 1", at)
	}
	return &throttlePolicy{*n}, nil
}

// contentTypes are the media types that headerContentType may name.
var contentTypes = []string{
	"text/css", "text/csv", "text/html", "text/plain", "text/xml", "application/atom+xml", "application/json",
	"application/octet-stream", "application/soap+xml", "application/x-www-form-urlencoded", "application/xhtml+xml", "application/xml",
}

func parseRequest(at string, raw json.RawMessage) (*requestPolicy, error) {
	if raw == nil {
		return nil, nil
	}
	p := requestPolicy{defaultContentType}
	if err := members(raw, map[string]any{"headerContentType": &p.HeaderContentType}); err != nil {
		return nil, err
	}
	media, _, _ := strings.Cut(p.HeaderContentType, ";")
	if !slices.Contains(contentTypes, strings.ToLower(strings.TrimSpace(media))) || strings.ContainsFunc(p.HeaderContentType, isControl) {
		return nil, fmt.Errorf("DeliveryPolicy: %s.headerContentType is not supported: %s", at, strings.Map(dropControl, p.HeaderContentType))
	}
	return &p, nil
}

func dropControl(r rune) rune {
	if isControl(r) {
		return -1
	}
	return r
}

// effective is the topic's EffectiveDeliveryPolicy, as compact JSON.
func (p topicPolicy) effective() string {
	type http struct {
		Retry    retryPolicy     `json:"defaultHealthyRetryPolicy"`
		Disable  bool            `json:"disableSubscriptionOverrides"`
		Throttle *throttlePolicy `json:"defaultThrottlePolicy,omitempty"`
		Request  requestPolicy   `json:"defaultRequestPolicy"`
	}
	return string(mustJSON(map[string]http{"http": {
		Retry: or(p.Retry, defaultRetryPolicy), Disable: p.DisableOverrides, Throttle: p.Throttle,
		Request: or(p.Request, requestPolicy{defaultContentType}),
	}}))
}

func or[T any](p *T, d T) T {
	if p == nil {
		return d
	}
	return *p
}

// under merges a subscription's policy with its topic's.
func (p subPolicy) under(t topicPolicy) subPolicy {
	if t.DisableOverrides {
		p = subPolicy{}
	}
	if p.Retry == nil {
		p.Retry = t.Retry
	}
	if p.Throttle == nil {
		p.Throttle = t.Throttle
	}
	if p.Request == nil {
		p.Request = t.Request
	}
	return p
}

// effective is the subscription's EffectiveDeliveryPolicy, as compact JSON, of
// a policy that was merged with the topic's.
func (p subPolicy) effective() string {
	return string(mustJSON(struct {
		Retry      retryPolicy     `json:"healthyRetryPolicy"`
		Sickly     *retryPolicy    `json:"sicklyRetryPolicy"`
		Throttle   *throttlePolicy `json:"throttlePolicy"`
		Request    requestPolicy   `json:"requestPolicy"`
		Guaranteed bool            `json:"guaranteed"`
	}{or(p.Retry, defaultRetryPolicy), nil, p.Throttle, or(p.Request, requestPolicy{defaultContentType}), false}))
}
