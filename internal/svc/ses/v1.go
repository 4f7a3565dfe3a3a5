package ses

import (
	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/awswire"
)

func (s *Service) registerV1(m *awswire.Mux) {
	awswire.Handle(m, ses.OpSendEmail, s.v1SendEmail)
	awswire.Handle(m, ses.OpSendRawEmail, s.v1SendRawEmail)

	awswire.Handle(m, ses.OpCreateConfigurationSet, s.v1CreateSet)
	awswire.Handle(m, ses.OpDescribeConfigurationSet, s.v1DescribeSet)
	awswire.Handle(m, ses.OpListConfigurationSets, s.v1ListSets)
	awswire.Handle(m, ses.OpDeleteConfigurationSet, s.v1DeleteSet)
	awswire.Handle(m, ses.OpPutConfigurationSetDeliveryOptions, s.v1PutDelivery)
	awswire.Handle(m, ses.OpUpdateConfigurationSetReputationMetricsEnabled, s.v1UpdateReputation)
	awswire.Handle(m, ses.OpUpdateConfigurationSetSendingEnabled, s.v1UpdateSending)
	awswire.Handle(m, ses.OpCreateConfigurationSetTrackingOptions, s.v1CreateTracking)
	awswire.Handle(m, ses.OpUpdateConfigurationSetTrackingOptions, s.v1UpdateTracking)
	awswire.Handle(m, ses.OpDeleteConfigurationSetTrackingOptions, s.v1DeleteTracking)
	awswire.Handle(m, ses.OpCreateConfigurationSetEventDestination, s.v1CreateDestination)
	awswire.Handle(m, ses.OpUpdateConfigurationSetEventDestination, s.v1UpdateDestination)
	awswire.Handle(m, ses.OpDeleteConfigurationSetEventDestination, s.v1DeleteDestination)

	awswire.Handle(m, ses.OpVerifyEmailIdentity, s.v1VerifyEmailIdentity)
	awswire.Handle(m, ses.OpVerifyEmailAddress, s.v1VerifyEmailAddress)
	awswire.Handle(m, ses.OpVerifyDomainIdentity, s.v1VerifyDomainIdentity)
	awswire.Handle(m, ses.OpVerifyDomainDkim, s.v1VerifyDomainDKIM)
	awswire.Handle(m, ses.OpListIdentities, s.v1ListIdentities)
	awswire.Handle(m, ses.OpListVerifiedEmailAddresses, s.v1ListVerified)
	awswire.Handle(m, ses.OpDeleteIdentity, s.v1DeleteIdentity)
	awswire.Handle(m, ses.OpDeleteVerifiedEmailAddress, s.v1DeleteVerified)
	awswire.Handle(m, ses.OpGetIdentityVerificationAttributes, s.v1GetVerification)
	awswire.Handle(m, ses.OpGetIdentityDkimAttributes, s.v1GetDKIM)
	awswire.Handle(m, ses.OpSetIdentityDkimEnabled, s.v1SetDKIM)
	awswire.Handle(m, ses.OpGetIdentityMailFromDomainAttributes, s.v1GetMailFrom)
	awswire.Handle(m, ses.OpSetIdentityMailFromDomain, s.v1SetMailFrom)
	awswire.Handle(m, ses.OpPutIdentityPolicy, s.v1PutPolicy)
	awswire.Handle(m, ses.OpGetIdentityPolicies, s.v1GetPolicies)
	awswire.Handle(m, ses.OpListIdentityPolicies, s.v1ListPolicies)
	awswire.Handle(m, ses.OpDeleteIdentityPolicy, s.v1DeletePolicy)

	awswire.Handle(m, ses.OpGetSendQuota, s.v1GetSendQuota)
	awswire.Handle(m, ses.OpGetSendStatistics, s.v1GetSendStatistics)
	awswire.Handle(m, ses.OpGetAccountSendingEnabled, s.v1GetAccountSending)
	awswire.Handle(m, ses.OpUpdateAccountSendingEnabled, s.v1UpdateAccountSending)
}
