package ses

import (
	"context"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func fromV2Destination(name string, in *sesv2.EventDestinationDefinition) (sestina.EventDestination, error) {
	d := sestina.EventDestination{Name: name, Enabled: isTrue(in.Enabled)}
	given := 0
	if x := in.SnsDestination; x != nil {
		given++
		d.Kind, d.TopicARN = sestina.DestinationSNS, str(x.TopicArn)
	}
	if x := in.CloudWatchDestination; x != nil {
		given++
		d.Kind = sestina.DestinationCloudWatch
		for _, c := range x.DimensionConfigurations {
			d.Dimensions = append(d.Dimensions, sestina.Dimension{Name: str(c.DimensionName), Source: str(c.DimensionValueSource), Default: str(c.DefaultDimensionValue)})
		}
	}
	if x := in.KinesisFirehoseDestination; x != nil {
		given++
		d.Kind, d.RoleARN, d.StreamARN = sestina.DestinationFirehose, str(x.IamRoleArn), str(x.DeliveryStreamArn)
	}
	if x := in.EventBridgeDestination; x != nil {
		given++
		d.Kind, d.EventBusARN = sestina.DestinationEventBridge, str(x.EventBusArn)
	}
	if x := in.PinpointDestination; x != nil {
		given++
		d.Kind, d.ApplicationARN = sestina.DestinationPinpoint, str(x.ApplicationArn)
	}
	return d, checkDestination(&d, in.MatchingEventTypes, spellingV2, given)
}

func toV2Destination(d *sestina.EventDestination) sesv2.EventDestination {
	out := sesv2.EventDestination{Name: new(d.Name), Enabled: new(d.Enabled), MatchingEventTypes: []string{}}
	for _, t := range d.EventTypes {
		out.MatchingEventTypes = append(out.MatchingEventTypes, string(t))
	}
	switch d.Kind {
	case sestina.DestinationSNS:
		out.SnsDestination = &sesv2.SnsDestination{TopicArn: new(d.TopicARN)}
	case sestina.DestinationCloudWatch:
		c := &sesv2.CloudWatchDestination{}
		for _, x := range d.Dimensions {
			c.DimensionConfigurations = append(c.DimensionConfigurations, sesv2.CloudWatchDimensionConfiguration{
				DimensionName: new(x.Name), DimensionValueSource: new(x.Source), DefaultDimensionValue: new(x.Default)})
		}
		out.CloudWatchDestination = c
	case sestina.DestinationFirehose:
		out.KinesisFirehoseDestination = &sesv2.KinesisFirehoseDestination{IamRoleArn: new(d.RoleARN), DeliveryStreamArn: new(d.StreamARN)}
	case sestina.DestinationEventBridge:
		out.EventBridgeDestination = &sesv2.EventBridgeDestination{EventBusArn: new(d.EventBusARN)}
	case sestina.DestinationPinpoint:
		out.PinpointDestination = &sesv2.PinpointDestination{ApplicationArn: new(d.ApplicationARN)}
	}
	return out
}

func (s *Service) v2CreateDestination(ctx context.Context, in *sesv2.CreateConfigurationSetEventDestinationInput) (*sesv2.CreateConfigurationSetEventDestinationOutput, error) {
	d, err := fromV2Destination(*in.EventDestinationName, in.EventDestination)
	if err != nil {
		return nil, err
	}
	return &sesv2.CreateConfigurationSetEventDestinationOutput{}, s.createDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, d)
}

func (s *Service) v2GetDestinations(ctx context.Context, in *sesv2.GetConfigurationSetEventDestinationsInput) (*sesv2.GetConfigurationSetEventDestinationsOutput, error) {
	set, err := s.getSet(ctx, scopeOf(ctx), *in.ConfigurationSetName)
	if err != nil {
		return nil, err
	}
	out := &sesv2.GetConfigurationSetEventDestinationsOutput{EventDestinations: []sesv2.EventDestination{}}
	for i := range set.Destinations {
		out.EventDestinations = append(out.EventDestinations, toV2Destination(&set.Destinations[i]))
	}
	return out, nil
}

func (s *Service) v2UpdateDestination(ctx context.Context, in *sesv2.UpdateConfigurationSetEventDestinationInput) (*sesv2.UpdateConfigurationSetEventDestinationOutput, error) {
	d, err := fromV2Destination(*in.EventDestinationName, in.EventDestination)
	if err != nil {
		return nil, err
	}
	return &sesv2.UpdateConfigurationSetEventDestinationOutput{}, s.updateDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, d)
}

func (s *Service) v2DeleteDestination(ctx context.Context, in *sesv2.DeleteConfigurationSetEventDestinationInput) (*sesv2.DeleteConfigurationSetEventDestinationOutput, error) {
	return &sesv2.DeleteConfigurationSetEventDestinationOutput{}, s.deleteDestination(ctx, scopeOf(ctx), *in.ConfigurationSetName, *in.EventDestinationName)
}
