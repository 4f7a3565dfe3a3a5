package ses

import (
	"context"
	"strings"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// validName reports whether s is made of ASCII letters, digits, '_' and '-'.
func validName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return false
		}
	}
	return s != ""
}

func checkSetName(name string) error {
	if len(name) > sestina.MaxNameLength {
		return sestina.SESErrorf("InvalidConfigurationSet", "BadRequestException",
			"Configuration set name cannot exceed %d characters.", sestina.MaxNameLength)
	}
	if !validName(name) {
		return sestina.SESErrorf("InvalidConfigurationSet", "BadRequestException",
			"Invalid configuration set name <%s>: only alphanumeric ASCII characters, '_', and '-' are allowed.", name)
	}
	return nil
}

func noSet(name string) error {
	return sestina.SESErrorf("ConfigurationSetDoesNotExist", "NotFoundException", "Configuration set <%s> does not exist.", name)
}

// createSet stores a new configuration set.
func (s *Service) createSet(ctx context.Context, scope sestina.Scope, set sestina.ConfigurationSet) error {
	if err := checkSetName(set.Name); err != nil {
		return err
	}
	if err := checkResourceTags(set.Tags); err != nil {
		return err
	}
	set.CreatedAt = s.Clock.Now()
	_, err := s.Sets.Change(ctx, scope, set.Name, func(tx store.Tx, cur *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) {
		if cur != nil {
			return nil, sestina.SESErrorf("ConfigurationSetAlreadyExists", "AlreadyExistsException", "Configuration set <%s> already exists.", set.Name)
		}
		if n, err := s.Sets.Count(tx, scope); err != nil {
			return nil, err
		} else if n >= sestina.MaxConfigurationSets {
			return nil, sestina.SESErrorf("LimitExceeded", "LimitExceededException", "A maximum of %d configuration sets is allowed.", sestina.MaxConfigurationSets)
		}
		return &set, nil
	})
	return err
}

// changeSet changes an existing configuration set.
func (s *Service) changeSet(ctx context.Context, scope sestina.Scope, name string, fn func(tx store.Tx, set *sestina.ConfigurationSet) error) error {
	_, err := s.Sets.Change(ctx, scope, name, func(tx store.Tx, cur *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) {
		if cur == nil {
			return nil, noSet(name)
		}
		return cur, fn(tx, cur)
	})
	return err
}

// deleteSet deletes a configuration set with its event destinations. What was
// queued for them becomes dead letters when its turn comes.
func (s *Service) deleteSet(ctx context.Context, scope sestina.Scope, name string) error {
	var gone []sestina.EventDestination
	_, err := s.Sets.Change(ctx, scope, name, func(_ store.Tx, cur *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) {
		if cur == nil {
			return nil, noSet(name)
		}
		gone = cur.Destinations
		return nil, nil
	})
	if err == nil {
		for _, d := range gone {
			s.wake(d.ID)
		}
	}
	return err
}

// wake makes the publications of an event destination be looked at now.
func (s *Service) wake(destination sestina.ID) {
	if s.WakeLane != nil {
		s.WakeLane(destination.String())
	}
}

// getSet returns a configuration set, to read.
func (s *Service) getSet(ctx context.Context, scope sestina.Scope, name string) (*sestina.ConfigurationSet, error) {
	set, err := s.Sets.Find(ctx, scope, name)
	if err == nil && set == nil {
		err = noSet(name)
	}
	return set, err
}

// The checks of the option groups, with the texts of ses-guide:configuration sets.

func oneOf(member, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]",
		member, strings.Join(allowed, ", "))
}

// checkTracking checks tracking options. at is where in the input they are: ""
// or "trackingOptions.".
func (s *Service) checkTracking(scope sestina.Scope, at string, t *sestina.TrackingOptions) error {
	if t.CustomRedirectDomain == "" {
		return invalid("CustomRedirectDomain must be specified.")
	}
	if t.HTTPSPolicy != "" {
		if err := oneOf(at+"httpsPolicy", t.HTTPSPolicy, "OPTIONAL", "REQUIRE", "REQUIRE_OPEN_ONLY"); err != nil {
			return err
		}
	}
	if !s.domainVerified(scope, t.CustomRedirectDomain) {
		return sestina.SESErrorf("InvalidTrackingOptions", "BadRequestException", "Domain <%s> is not verified under this account.", t.CustomRedirectDomain)
	}
	return nil
}

// checkDelivery checks delivery options. at is where in the input they are:
// "" or "deliveryOptions.". The range of MaxDeliverySeconds is in the model.
func (s *Service) checkDelivery(scope sestina.Scope, at string, d *sestina.DeliveryOptions, poolGiven bool) error {
	if d.TLSPolicy != "" {
		if err := oneOf(at+"tlsPolicy", d.TLSPolicy, "OPTIONAL", "REQUIRE"); err != nil {
			return err
		}
	}
	if !poolGiven {
		return nil
	}
	if strings.TrimSpace(d.SendingPoolName) == "" {
		return invalid("sendingPoolName can't be blank.")
	}
	if !s.poolExists(scope, d.SendingPoolName) {
		return invalid("SendingPool <%s> doesn't exist", d.SendingPoolName)
	}
	return nil
}

// checkSuppression checks what the model cannot say: a scope without reasons
// would leave open what is suppressed in it.
func checkSuppression(o *sestina.SuppressionOptions) error {
	if o.Scope != "" && o.Reasons == nil {
		return invalid("SuppressionScope and SuppressedReasons must be specified together.")
	}
	return nil
}

// setSending turns sending with a set on or off, and remembers a fresh start of
// its reputation figures.
func (s *Service) setSending(set *sestina.ConfigurationSet, enabled bool) {
	if set.SendingOff && enabled {
		set.LastFreshStart = s.Clock.Now()
	}
	set.SendingOff = !enabled
}

// Limits of resource tags. ses-guide:quotas
const (
	maxResourceTags  = 50
	maxResourceKey   = 128
	maxResourceValue = 256
)

func checkResourceTags(tags []sestina.Tag) error {
	if len(tags) > maxResourceTags {
		return invalid("A resource can have at most %d tags.", maxResourceTags)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Name == "" || len(t.Name) > maxResourceKey:
			return invalid("A tag key must have 1 to %d characters.", maxResourceKey)
		case len(t.Value) > maxResourceValue:
			return invalid("The value of tag %s cannot exceed %d characters.", t.Name, maxResourceValue)
		case seen[t.Name]:
			return invalid("The tag key %s is given twice.", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}
