package awswire

import (
	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/eventbridge"
	"github.com/sestina-mail/sestina/internal/awsapi/firehose"
	"github.com/sestina-mail/sestina/internal/awsapi/pinpoint"
	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awsapi/sts"
)

// apis are the services a Mux knows, in the order the documentation lists them.
var apis = []*awsapi.Service{
	&sesv2.API, &ses.API, &sns.API, &sqs.API, &cloudwatch.API,
	&firehose.API, &pinpoint.API, &eventbridge.API, &sts.API,
}
