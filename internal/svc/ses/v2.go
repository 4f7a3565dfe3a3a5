package ses

import (
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func (s *Service) registerV2(m *awswire.Mux) {
	awswire.Handle(m, sesv2.OpSendEmail, s.v2SendEmail)

	awswire.Handle(m, sesv2.OpCreateConfigurationSet, s.v2CreateSet)
	awswire.Handle(m, sesv2.OpGetConfigurationSet, s.v2GetSet)
	awswire.Handle(m, sesv2.OpListConfigurationSets, s.v2ListSets)
	awswire.Handle(m, sesv2.OpDeleteConfigurationSet, s.v2DeleteSet)
	awswire.Handle(m, sesv2.OpPutConfigurationSetTrackingOptions, s.v2PutTracking)
	awswire.Handle(m, sesv2.OpPutConfigurationSetDeliveryOptions, s.v2PutDelivery)
	awswire.Handle(m, sesv2.OpPutConfigurationSetReputationOptions, s.v2PutReputation)
	awswire.Handle(m, sesv2.OpPutConfigurationSetSendingOptions, s.v2PutSending)
	awswire.Handle(m, sesv2.OpPutConfigurationSetSuppressionOptions, s.v2PutSuppression)
	awswire.Handle(m, sesv2.OpPutConfigurationSetVdmOptions, s.v2PutVDM)
	awswire.Handle(m, sesv2.OpPutConfigurationSetArchivingOptions, s.v2PutArchiving)

	awswire.Handle(m, sesv2.OpUpdateConfigurationSet, s.v2UpdateSet)

	awswire.Handle(m, sesv2.OpCreateConfigurationSetEventDestination, s.v2CreateDestination)
	awswire.Handle(m, sesv2.OpGetConfigurationSetEventDestinations, s.v2GetDestinations)
	awswire.Handle(m, sesv2.OpUpdateConfigurationSetEventDestination, s.v2UpdateDestination)
	awswire.Handle(m, sesv2.OpDeleteConfigurationSetEventDestination, s.v2DeleteDestination)

	awswire.Handle(m, sesv2.OpCreateEmailIdentity, s.v2CreateIdentity)
	awswire.Handle(m, sesv2.OpGetEmailIdentity, s.v2GetIdentity)
	awswire.Handle(m, sesv2.OpListEmailIdentities, s.v2ListIdentities)
	awswire.Handle(m, sesv2.OpDeleteEmailIdentity, s.v2DeleteIdentity)
	awswire.Handle(m, sesv2.OpPutEmailIdentityConfigurationSetAttributes, s.v2PutIdentitySet)
	awswire.Handle(m, sesv2.OpPutEmailIdentityDkimAttributes, s.v2PutDKIM)
	awswire.Handle(m, sesv2.OpPutEmailIdentityDkimSigningAttributes, s.v2PutDKIMSigning)
	awswire.Handle(m, sesv2.OpPutEmailIdentityFeedbackAttributes, s.v2PutFeedback)
	awswire.Handle(m, sesv2.OpPutEmailIdentityMailFromAttributes, s.v2PutMailFrom)
	awswire.Handle(m, sesv2.OpCreateEmailIdentityPolicy, s.v2CreatePolicy)
	awswire.Handle(m, sesv2.OpUpdateEmailIdentityPolicy, s.v2UpdatePolicy)
	awswire.Handle(m, sesv2.OpDeleteEmailIdentityPolicy, s.v2DeletePolicy)
	awswire.Handle(m, sesv2.OpGetEmailIdentityPolicies, s.v2GetPolicies)

	awswire.Handle(m, sesv2.OpTagResource, s.v2Tag)
	awswire.Handle(m, sesv2.OpUntagResource, s.v2Untag)
	awswire.Handle(m, sesv2.OpListTagsForResource, s.v2ListTags)

	awswire.Handle(m, sesv2.OpGetAccount, s.v2GetAccount)
	awswire.Handle(m, sesv2.OpPutAccountSendingAttributes, s.v2PutAccountSending)
	awswire.Handle(m, sesv2.OpPutAccountSuppressionAttributes, s.v2PutAccountSuppression)
	awswire.Handle(m, sesv2.OpPutAccountVdmAttributes, s.v2PutAccountVDM)
	awswire.Handle(m, sesv2.OpPutAccountDetails, s.v2PutAccountDetails)
	awswire.Handle(m, sesv2.OpPutAccountDedicatedIpWarmupAttributes, s.v2PutAccountWarmup)

	awswire.Handle(m, sesv2.OpCreateDedicatedIpPool, s.v2CreatePool)
	awswire.Handle(m, sesv2.OpGetDedicatedIpPool, s.v2GetPool)
	awswire.Handle(m, sesv2.OpListDedicatedIpPools, s.v2ListPools)
	awswire.Handle(m, sesv2.OpDeleteDedicatedIpPool, s.v2DeletePool)
	awswire.Handle(m, sesv2.OpPutDedicatedIpPoolScalingAttributes, s.v2PutPoolScaling)
	awswire.Handle(m, sesv2.OpGetDedicatedIps, s.v2GetDedicatedIPs)
}

func fromV2Tags(in []sesv2.Tag) []sestina.Tag {
	var out []sestina.Tag
	for _, t := range in {
		out = append(out, sestina.Tag{Name: str(t.Key), Value: str(t.Value)})
	}
	return out
}

func toV2Tags(in []sestina.Tag) []sesv2.Tag {
	out := []sesv2.Tag{}
	for _, t := range in {
		out = append(out, sesv2.Tag{Key: new(t.Name), Value: new(t.Value)})
	}
	return out
}
