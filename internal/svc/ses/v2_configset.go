package ses

import (
	"context"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func (s *Service) v2CreateSet(ctx context.Context, in *sesv2.CreateConfigurationSetInput) (*sesv2.CreateConfigurationSetOutput, error) {
	scope := scopeOf(ctx)
	set := sestina.ConfigurationSet{Name: *in.ConfigurationSetName, Tags: fromV2Tags(in.Tags), Security: fromV2Security(in.MessageSecurityOptions)}
	if t := in.TrackingOptions; t != nil {
		set.Tracking = &sestina.TrackingOptions{CustomRedirectDomain: str(t.CustomRedirectDomain), HTTPSPolicy: str(t.HttpsPolicy)}
		if err := s.checkTracking(scope, "trackingOptions.", set.Tracking); err != nil {
			return nil, err
		}
	}
	if d := in.DeliveryOptions; d != nil {
		set.Delivery = fromV2Delivery(d.TlsPolicy, d.SendingPoolName, d.MaxDeliverySeconds)
		if err := s.checkDelivery(scope, "deliveryOptions.", set.Delivery, d.SendingPoolName != nil); err != nil {
			return nil, err
		}
	}
	if r := in.ReputationOptions; r != nil {
		set.ReputationOn = isTrue(r.ReputationMetricsEnabled)
	}
	if o := in.SendingOptions; o != nil {
		set.SendingOff = !isTrue(o.SendingEnabled)
	}
	if o := in.SuppressionOptions; o != nil {
		set.Suppression = fromV2Suppression(o.SuppressedReasons, o.SuppressionScope, o.ValidationOptions)
		if err := checkSuppression(set.Suppression); err != nil {
			return nil, err
		}
	}
	if v := in.VdmOptions; v != nil {
		set.VDM = fromV2VDM(v)
	}
	if a := in.ArchivingOptions; a != nil {
		set.ArchiveARN = str(a.ArchiveArn)
	}
	if err := s.createSet(ctx, scope, set); err != nil {
		return nil, err
	}
	return &sesv2.CreateConfigurationSetOutput{}, nil
}

func fromV2Security(o *sesv2.MessageSecurityOptions) *sestina.MessageSecurity {
	if o == nil || o.SigningScheme == nil {
		return nil
	}
	out := &sestina.MessageSecurity{}
	if x := o.SigningScheme.SmimeScheme; x != nil {
		out.SMIME, out.SignatureFormat = true, str(x.SignatureFormat)
	}
	return out
}

func toV2Security(o *sestina.MessageSecurity) *sesv2.MessageSecurityOptions {
	switch {
	case o == nil:
		return nil
	case o.SMIME:
		return &sesv2.MessageSecurityOptions{SigningScheme: &sesv2.SigningScheme{SmimeScheme: &sesv2.SmimeSigningScheme{SignatureFormat: optional(o.SignatureFormat)}}}
	}
	return &sesv2.MessageSecurityOptions{SigningScheme: &sesv2.SigningScheme{DefaultScheme: &sesv2.DefaultSigningScheme{}}}
}

// v2UpdateSet changes the one group that has no Put operation of its own.
func (s *Service) v2UpdateSet(ctx context.Context, in *sesv2.UpdateConfigurationSetInput) (*sesv2.UpdateConfigurationSetOutput, error) {
	return &sesv2.UpdateConfigurationSetOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		if in.MessageSecurityOptions != nil {
			set.Security = fromV2Security(in.MessageSecurityOptions)
		}
		return nil
	})
}

func fromV2Delivery(tls, pool *string, seconds *int64) *sestina.DeliveryOptions {
	d := &sestina.DeliveryOptions{TLSPolicy: str(tls), SendingPoolName: str(pool)}
	if seconds != nil {
		d.MaxDeliverySeconds = *seconds // never 0, see the model
	}
	return d
}

func fromV2Suppression(reasons []string, scope *string, v *sesv2.SuppressionValidationOptions) *sestina.SuppressionOptions {
	o := &sestina.SuppressionOptions{Reasons: reasons, Scope: str(scope)}
	if v != nil {
		readThreshold(o, v.ConditionThreshold)
	}
	return o
}

func readThreshold(o *sestina.SuppressionOptions, t *sesv2.SuppressionConditionThreshold) {
	if t == nil {
		return
	}
	o.ConditionThreshold = str(t.ConditionThresholdEnabled)
	if c := t.OverallConfidenceThreshold; c != nil {
		o.ConfidenceThreshold = str(c.ConfidenceVerdictThreshold)
	}
}

// threshold returns nil when none was set.
func threshold(o *sestina.SuppressionOptions) *sesv2.SuppressionConditionThreshold {
	if o == nil || o.ConditionThreshold == "" {
		return nil
	}
	t := &sesv2.SuppressionConditionThreshold{ConditionThresholdEnabled: new(o.ConditionThreshold)}
	if o.ConfidenceThreshold != "" {
		t.OverallConfidenceThreshold = &sesv2.SuppressionConfidenceThreshold{ConfidenceVerdictThreshold: new(o.ConfidenceThreshold)}
	}
	return t
}

func toV2Suppression(o *sestina.SuppressionOptions) *sesv2.SuppressionOptions {
	if o == nil {
		return nil
	}
	out := &sesv2.SuppressionOptions{SuppressedReasons: o.Reasons, SuppressionScope: optional(o.Scope)}
	if t := threshold(o); t != nil {
		out.ValidationOptions = &sesv2.SuppressionValidationOptions{ConditionThreshold: t}
	}
	return out
}

func fromV2VDM(v *sesv2.VdmOptions) *sestina.VDMOptions {
	o := &sestina.VDMOptions{}
	if v.DashboardOptions != nil {
		o.EngagementMetrics = str(v.DashboardOptions.EngagementMetrics)
	}
	if v.GuardianOptions != nil {
		o.OptimizedSharedDelivery = str(v.GuardianOptions.OptimizedSharedDelivery)
	}
	return o
}

func toV2VDM(o *sestina.VDMOptions) *sesv2.VdmOptions {
	if o == nil {
		return nil
	}
	out := &sesv2.VdmOptions{}
	if o.EngagementMetrics != "" {
		out.DashboardOptions = &sesv2.DashboardOptions{EngagementMetrics: new(o.EngagementMetrics)}
	}
	if o.OptimizedSharedDelivery != "" {
		out.GuardianOptions = &sesv2.GuardianOptions{OptimizedSharedDelivery: new(o.OptimizedSharedDelivery)}
	}
	return out
}

func (s *Service) v2GetSet(ctx context.Context, in *sesv2.GetConfigurationSetInput) (*sesv2.GetConfigurationSetOutput, error) {
	set, err := s.getSet(ctx, scopeOf(ctx), *in.ConfigurationSetName)
	if err != nil {
		return nil, err
	}
	out := &sesv2.GetConfigurationSetOutput{
		ConfigurationSetName: new(set.Name),
		DeliveryOptions:      &sesv2.DeliveryOptions{TlsPolicy: new("OPTIONAL")},
		ReputationOptions:    &sesv2.ReputationOptions{ReputationMetricsEnabled: new(set.ReputationOn)},
		SendingOptions:       &sesv2.SendingOptions{SendingEnabled: new(!set.SendingOff)},
		SuppressionOptions:   toV2Suppression(set.Suppression),
		VdmOptions:           toV2VDM(set.VDM),
		Tags:                 toV2Tags(set.Tags),

		MessageSecurityOptions: toV2Security(set.Security),
	}
	if !set.LastFreshStart.IsZero() {
		out.ReputationOptions.LastFreshStart = new(set.LastFreshStart)
	}
	if d := set.Delivery; d != nil {
		if d.TLSPolicy != "" {
			out.DeliveryOptions.TlsPolicy = new(d.TLSPolicy)
		}
		out.DeliveryOptions.SendingPoolName = optional(d.SendingPoolName)
		if d.MaxDeliverySeconds > 0 {
			out.DeliveryOptions.MaxDeliverySeconds = new(d.MaxDeliverySeconds)
		}
	}
	if t := set.Tracking; t != nil {
		out.TrackingOptions = &sesv2.TrackingOptions{CustomRedirectDomain: new(t.CustomRedirectDomain), HttpsPolicy: optional(t.HTTPSPolicy)}
	}
	if set.ArchiveARN != "" {
		out.ArchivingOptions = &sesv2.ArchivingOptions{ArchiveArn: new(set.ArchiveARN)}
	}
	return out, nil
}

func (s *Service) v2ListSets(ctx context.Context, in *sesv2.ListConfigurationSetsInput) (*sesv2.ListConfigurationSetsOutput, error) {
	names, _, next, err := page(s.Sets, scopeOf(ctx), in.NextToken, pageSize(in.PageSize, 1000, 1000))
	if err != nil {
		return nil, err
	}
	return &sesv2.ListConfigurationSetsOutput{ConfigurationSets: append([]string{}, names...), NextToken: next}, nil
}

func (s *Service) v2DeleteSet(ctx context.Context, in *sesv2.DeleteConfigurationSetInput) (*sesv2.DeleteConfigurationSetOutput, error) {
	return &sesv2.DeleteConfigurationSetOutput{}, s.deleteSet(ctx, scopeOf(ctx), *in.ConfigurationSetName)
}

func (s *Service) v2PutTracking(ctx context.Context, in *sesv2.PutConfigurationSetTrackingOptionsInput) (*sesv2.PutConfigurationSetTrackingOptionsOutput, error) {
	scope := scopeOf(ctx)
	var t *sestina.TrackingOptions
	if in.CustomRedirectDomain != nil || in.HttpsPolicy != nil { // an empty body removes them
		t = &sestina.TrackingOptions{CustomRedirectDomain: str(in.CustomRedirectDomain), HTTPSPolicy: str(in.HttpsPolicy)}
		if err := s.checkTracking(scope, "", t); err != nil {
			return nil, err
		}
	}
	return &sesv2.PutConfigurationSetTrackingOptionsOutput{}, s.changeSet(ctx, scope, *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.Tracking = t
		return nil
	})
}

func (s *Service) v2PutDelivery(ctx context.Context, in *sesv2.PutConfigurationSetDeliveryOptionsInput) (*sesv2.PutConfigurationSetDeliveryOptionsOutput, error) {
	scope, d := scopeOf(ctx), fromV2Delivery(in.TlsPolicy, in.SendingPoolName, in.MaxDeliverySeconds)
	if err := s.checkDelivery(scope, "", d, in.SendingPoolName != nil); err != nil {
		return nil, err
	}
	return &sesv2.PutConfigurationSetDeliveryOptionsOutput{}, s.changeSet(ctx, scope, *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.Delivery = d
		return nil
	})
}

func (s *Service) v2PutReputation(ctx context.Context, in *sesv2.PutConfigurationSetReputationOptionsInput) (*sesv2.PutConfigurationSetReputationOptionsOutput, error) {
	return &sesv2.PutConfigurationSetReputationOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.ReputationOn = isTrue(in.ReputationMetricsEnabled)
		return nil
	})
}

func (s *Service) v2PutSending(ctx context.Context, in *sesv2.PutConfigurationSetSendingOptionsInput) (*sesv2.PutConfigurationSetSendingOptionsOutput, error) {
	return &sesv2.PutConfigurationSetSendingOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		s.setSending(set, isTrue(in.SendingEnabled))
		return nil
	})
}

func (s *Service) v2PutSuppression(ctx context.Context, in *sesv2.PutConfigurationSetSuppressionOptionsInput) (*sesv2.PutConfigurationSetSuppressionOptionsOutput, error) {
	for _, r := range in.SuppressedReasons {
		if r != "BOUNCE" && r != "COMPLAINT" {
			return nil, invalid("Reason %s is invalid, must be one of [BOUNCE, COMPLAINT].", r)
		}
	}
	var o *sestina.SuppressionOptions // a body without members: the account's settings again
	if in.SuppressedReasons != nil || in.SuppressionScope != nil || in.ValidationOptions != nil {
		o = fromV2Suppression(in.SuppressedReasons, in.SuppressionScope, in.ValidationOptions)
		if err := checkSuppression(o); err != nil {
			return nil, err
		}
	}
	return &sesv2.PutConfigurationSetSuppressionOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.Suppression = o
		return nil
	})
}

func (s *Service) v2PutVDM(ctx context.Context, in *sesv2.PutConfigurationSetVdmOptionsInput) (*sesv2.PutConfigurationSetVdmOptionsOutput, error) {
	var v *sestina.VDMOptions
	if in.VdmOptions != nil {
		v = fromV2VDM(in.VdmOptions)
	}
	return &sesv2.PutConfigurationSetVdmOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.VDM = v
		return nil
	})
}

func (s *Service) v2PutArchiving(ctx context.Context, in *sesv2.PutConfigurationSetArchivingOptionsInput) (*sesv2.PutConfigurationSetArchivingOptionsOutput, error) {
	return &sesv2.PutConfigurationSetArchivingOptionsOutput{}, s.changeSet(ctx, scopeOf(ctx), *in.ConfigurationSetName, func(_ store.Tx, set *sestina.ConfigurationSet) error {
		set.ArchiveARN = str(in.ArchiveArn)
		return nil
	})
}
