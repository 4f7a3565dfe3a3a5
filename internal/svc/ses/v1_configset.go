package ses

import (
	"context"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func (s *Service) v1CreateSet(ctx context.Context, in *ses.CreateConfigurationSetInput) (*ses.CreateConfigurationSetOutput, error) {
	return &ses.CreateConfigurationSetOutput{}, s.createSet(ctx, scopeOf(ctx), sestina.ConfigurationSet{Name: *in.ConfigurationSet.Name})
}

func (s *Service) v1DeleteSet(ctx context.Context, in *ses.DeleteConfigurationSetInput) (*ses.DeleteConfigurationSetOutput, error) {
	return &ses.DeleteConfigurationSetOutput{}, s.deleteSet(ctx, scopeOf(ctx), *in.ConfigurationSetName)
}

func (s *Service) v1ListSets(ctx context.Context, in *ses.ListConfigurationSetsInput) (*ses.ListConfigurationSetsOutput, error) {
	names, _, next, err := page(s.Sets, scopeOf(ctx), in.NextToken, pageSize(in.MaxItems, 1000, 1000))
	if err != nil {
		return nil, err
	}
	out := &ses.ListConfigurationSetsOutput{ConfigurationSets: []ses.ConfigurationSet{}, NextToken: next}
	for _, n := range names {
		out.ConfigurationSets = append(out.ConfigurationSets, ses.ConfigurationSet{Name: new(n)})
	}
	return out, nil
}

// v1DescribeSet returns the set's name and the parts that were asked for.
func (s *Service) v1DescribeSet(ctx context.Context, in *ses.DescribeConfigurationSetInput) (*ses.DescribeConfigurationSetOutput, error) {
	set, err := s.getSet(ctx, scopeOf(ctx), *in.ConfigurationSetName)
	if err != nil {
		return nil, err
	}
	out := &ses.DescribeConfigurationSetOutput{ConfigurationSet: &ses.ConfigurationSet{Name: new(set.Name)}}
	asked := func(name string) bool { return slices.Contains(in.ConfigurationSetAttributeNames, name) }
	if asked("eventDestinations") {
		out.EventDestinations = []ses.EventDestination{}
		for i := range set.Destinations {
			out.EventDestinations = append(out.EventDestinations, toV1Destination(&set.Destinations[i]))
		}
	}
	if asked("trackingOptions") && set.Tracking != nil {
		out.TrackingOptions = &ses.TrackingOptions{CustomRedirectDomain: new(set.Tracking.CustomRedirectDomain)}
	}
	if asked("deliveryOptions") {
		policy := "Optional"
		if set.Delivery != nil && set.Delivery.TLSPolicy == "REQUIRE" {
			policy = "Require"
		}
		out.DeliveryOptions = &ses.DeliveryOptions{TlsPolicy: new(policy)}
	}
	if asked("reputationOptions") {
		out.ReputationOptions = &ses.ReputationOptions{SendingEnabled: new(!set.SendingOff), ReputationMetricsEnabled: new(set.ReputationOn)}
		if !set.LastFreshStart.IsZero() {
			out.ReputationOptions.LastFreshStart = new(set.LastFreshStart)
		}
	}
	return out, nil
}

func (s *Service) v1PutDelivery(ctx context.Context, in *ses.PutConfigurationSetDeliveryOptionsInput) (*ses.PutConfigurationSetDeliveryOptionsOutput, error) {
	policy := ""
	if in.DeliveryOptions != nil {
		policy = strings.ToUpper(str(in.DeliveryOptions.TlsPolicy)) // Require, Optional
	}
	return &ses.PutConfigurationSetDeliveryOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		if set.Delivery == nil {
			set.Delivery = &sestina.DeliveryOptions{}
		}
		set.Delivery.TLSPolicy = policy
		return nil
	})
}

func (s *Service) v1UpdateReputation(ctx context.Context, in *ses.UpdateConfigurationSetReputationMetricsEnabledInput) (*ses.UpdateConfigurationSetReputationMetricsEnabledOutput, error) {
	return &ses.UpdateConfigurationSetReputationMetricsEnabledOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.ReputationOn = isTrue(in.Enabled)
		return nil
	})
}

func (s *Service) v1UpdateSending(ctx context.Context, in *ses.UpdateConfigurationSetSendingEnabledInput) (*ses.UpdateConfigurationSetSendingEnabledOutput, error) {
	return &ses.UpdateConfigurationSetSendingEnabledOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		s.setSending(set, isTrue(in.Enabled))
		return nil
	})
}

// putTracking sets or clears the tracking options of a set; must says whether
// the set has to have them already.
func (s *Service) putTracking(ctx context.Context, name string, in *ses.TrackingOptions, must bool) error {
	scope := scopeOf(ctx)
	var t *sestina.TrackingOptions
	if in != nil {
		if str(in.CustomRedirectDomain) == "" {
			return sestina.SESErrorf("InvalidTrackingOptions", "BadRequestException", "At least one field of TrackingOptions must contain a value.")
		}
		t = &sestina.TrackingOptions{CustomRedirectDomain: *in.CustomRedirectDomain}
		if err := s.checkTracking(scope, "", t); err != nil {
			return err
		}
	}
	return s.changeSet(ctx, scope, name, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		switch has := set.Tracking != nil; {
		case must && !has:
			return sestina.SESErrorf("TrackingOptionsDoesNotExistException", "NotFoundException", "There are no tracking options for configuration set <%s>", name)
		case !must && has:
			return sestina.SESErrorf("TrackingOptionsAlreadyExistsException", "AlreadyExistsException", "Configuration set <%s> already has tracking options.", name)
		case t != nil && has:
			t.HTTPSPolicy = set.Tracking.HTTPSPolicy // v1 does not know it and leaves it alone
		}
		set.Tracking = t
		return nil
	})
}

func (s *Service) v1CreateTracking(ctx context.Context, in *ses.CreateConfigurationSetTrackingOptionsInput) (*ses.CreateConfigurationSetTrackingOptionsOutput, error) {
	return &ses.CreateConfigurationSetTrackingOptionsOutput{}, s.putTracking(ctx, *in.ConfigurationSetName, in.TrackingOptions, false)
}

func (s *Service) v1UpdateTracking(ctx context.Context, in *ses.UpdateConfigurationSetTrackingOptionsInput) (*ses.UpdateConfigurationSetTrackingOptionsOutput, error) {
	return &ses.UpdateConfigurationSetTrackingOptionsOutput{}, s.putTracking(ctx, *in.ConfigurationSetName, in.TrackingOptions, true)
}

func (s *Service) v1DeleteTracking(ctx context.Context, in *ses.DeleteConfigurationSetTrackingOptionsInput) (*ses.DeleteConfigurationSetTrackingOptionsOutput, error) {
	return &ses.DeleteConfigurationSetTrackingOptionsOutput{}, s.putTracking(ctx, *in.ConfigurationSetName, nil, true)
}

// v1Sources are the dimension value sources, version 1 to version 2.
var v1Sources = map[string]string{"messageTag": "MESSAGE_TAG", "emailHeader": "EMAIL_HEADER", "linkTag": "LINK_TAG"}

func fromV1Destination(in *ses.EventDestination) (sestina.EventDestination, error) {
	d := sestina.EventDestination{Name: *in.Name, Enabled: isTrue(in.Enabled)}
	given := 0
	if x := in.SNSDestination; x != nil {
		given++
		d.Kind, d.TopicARN = sestina.DestinationSNS, str(x.TopicARN)
	}
	if x := in.CloudWatchDestination; x != nil {
		given++
		d.Kind = sestina.DestinationCloudWatch
		for _, c := range x.DimensionConfigurations {
			source := v1Sources[str(c.DimensionValueSource)]
			d.Dimensions = append(d.Dimensions, sestina.Dimension{Name: str(c.DimensionName), Source: source, Default: str(c.DefaultDimensionValue)})
		}
	}
	if x := in.KinesisFirehoseDestination; x != nil {
		given++
		d.Kind, d.RoleARN, d.StreamARN = sestina.DestinationFirehose, str(x.IAMRoleARN), str(x.DeliveryStreamARN)
	}
	return d, checkDestination(&d, in.MatchingEventTypes, spellingV1, given)
}

// toV1Destination leaves out what version 1 does not know: Pinpoint and
// EventBridge targets, delivery delays and subscriptions.
func toV1Destination(d *sestina.EventDestination) ses.EventDestination {
	out := ses.EventDestination{Name: new(d.Name), Enabled: new(d.Enabled), MatchingEventTypes: []string{}}
	for _, t := range d.EventTypes {
		if name := t.V1(); name != "" {
			out.MatchingEventTypes = append(out.MatchingEventTypes, name)
		}
	}
	slices.Sort(out.MatchingEventTypes)
	switch d.Kind {
	case sestina.DestinationSNS:
		out.SNSDestination = &ses.SNSDestination{TopicARN: new(d.TopicARN)}
	case sestina.DestinationFirehose:
		out.KinesisFirehoseDestination = &ses.KinesisFirehoseDestination{IAMRoleARN: new(d.RoleARN), DeliveryStreamARN: new(d.StreamARN)}
	case sestina.DestinationCloudWatch:
		c := &ses.CloudWatchDestination{}
		for _, x := range d.Dimensions {
			for v1, v2 := range v1Sources {
				if v2 == x.Source {
					c.DimensionConfigurations = append(c.DimensionConfigurations, ses.CloudWatchDimensionConfiguration{
						DimensionName: new(x.Name), DimensionValueSource: new(v1), DefaultDimensionValue: new(x.Default)})
				}
			}
		}
		out.CloudWatchDestination = c
	}
	return out
}

func (s *Service) v1CreateDestination(ctx context.Context, in *ses.CreateConfigurationSetEventDestinationInput) (*ses.CreateConfigurationSetEventDestinationOutput, error) {
	d, err := fromV1Destination(in.EventDestination)
	if err != nil {
		return nil, err
	}
	return &ses.CreateConfigurationSetEventDestinationOutput{}, s.createDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, d)
}

func (s *Service) v1UpdateDestination(ctx context.Context, in *ses.UpdateConfigurationSetEventDestinationInput) (*ses.UpdateConfigurationSetEventDestinationOutput, error) {
	d, err := fromV1Destination(in.EventDestination)
	if err != nil {
		return nil, err
	}
	return &ses.UpdateConfigurationSetEventDestinationOutput{}, v1Missing(*in.ConfigurationSetName, s.updateDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, d))
}

func (s *Service) v1DeleteDestination(ctx context.Context, in *ses.DeleteConfigurationSetEventDestinationInput) (*ses.DeleteConfigurationSetEventDestinationOutput, error) {
	return &ses.DeleteConfigurationSetEventDestinationOutput{}, v1Missing(*in.ConfigurationSetName, s.deleteDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, *in.EventDestinationName))
}

// v1Missing gives the refusal for a missing destination the text of version 1,
// which names the set.
func v1Missing(set string, err error) error {
	if sestina.CodeOf(err) == "EventDestinationDoesNotExist" {
		return sestina.Errorf("EventDestinationDoesNotExist", "No EventDestination found for %s", set)
	}
	return err
}
