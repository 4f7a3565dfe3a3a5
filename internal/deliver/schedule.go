package deliver

import (
	"math/rand/v2"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// DefaultWindow is how long delivery is tried for, from acceptance: what
// records of SES show. ses-guide:event-publishing-retrieving-sns-contents
const DefaultWindow = 14 * time.Hour

// A Schedule says when a temporary failure is tried again.
type Schedule struct {
	// Steps are the waits after the first, second … failed attempt; the last
	// one repeats. At least one.
	Steps []time.Duration
	// Jitter is the share of a step, 0 to 1, by which it is made longer or
	// shorter at random, so that what failed together does not return together.
	Jitter float64
	// Window is how long delivery is tried for, from acceptance.
	Window time.Duration
}

// DevSchedule retries soon: someone is watching.
func DevSchedule() Schedule {
	return Schedule{
		Steps: []time.Duration{
			5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
			time.Minute, 2 * time.Minute, 5 * time.Minute,
		},
		Jitter: 0.1, Window: DefaultWindow,
	}
}

// ServeSchedule is for real receivers. rfc5321#4.5.4.1
func ServeSchedule() Schedule {
	return Schedule{
		Steps: []time.Duration{
			time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute,
			time.Hour, 90 * time.Minute, 2 * time.Hour,
		},
		Jitter: 0.1, Window: DefaultWindow,
	}
}

// Delay returns the wait after the n-th failed attempt, n from 1.
func (s Schedule) Delay(n int) time.Duration {
	step := s.Steps[min(max(n, 1), len(s.Steps))-1]
	if s.Jitter <= 0 {
		return step
	}
	return time.Duration(float64(step) * (1 + s.Jitter*(2*rand.Float64()-1)))
}

// expiry returns when delivery of something accepted at a moment ends, how long
// after acceptance that is, and whether the configuration set's
// MaxDeliverySeconds makes it so.
func (s Schedule) expiry(accepted time.Time, set *sestina.ConfigurationSet) (at time.Time, window time.Duration, custom bool) {
	window = s.Window
	if set != nil && set.Delivery != nil && set.Delivery.MaxDeliverySeconds > 0 {
		if most := time.Duration(set.Delivery.MaxDeliverySeconds) * time.Second; most < window {
			window, custom = most, true
		}
	}
	return accepted.Add(window), window, custom
}
