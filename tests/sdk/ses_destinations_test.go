package sdk

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

func (p *place) createDestination(t *testing.T, set, name string, d types.EventDestinationDefinition) error {
	t.Helper()
	_, err := p.v2.CreateConfigurationSetEventDestination(t.Context(), &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: &set, EventDestinationName: &name, EventDestination: &d})
	return err
}

func (p *place) destinations(t *testing.T, set string) []types.EventDestination {
	t.Helper()
	out, err := p.v2.GetConfigurationSetEventDestinations(t.Context(), &sesv2.GetConfigurationSetEventDestinationsInput{ConfigurationSetName: &set})
	check(t, err)
	return out.EventDestinations
}

// kinds returns a definition of every kind of destination.
func (p *place) kinds(topic string) []types.EventDestinationDefinition {
	dims := []types.CloudWatchDimensionConfiguration{
		{DimensionName: aws.String("campaign"), DimensionValueSource: "MESSAGE_TAG", DefaultDimensionValue: aws.String("none")},
		{DimensionName: aws.String("X-Kind"), DimensionValueSource: "EMAIL_HEADER", DefaultDimensionValue: aws.String("a.b@c")},
		{DimensionName: aws.String("ses:feedback-id-a"), DimensionValueSource: "MESSAGE_TAG", DefaultDimensionValue: aws.String("none")},
		{DimensionName: aws.String("genre"), DimensionValueSource: "LINK_TAG", DefaultDimensionValue: aws.String("none")},
	}
	return []types.EventDestinationDefinition{
		{SnsDestination: &types.SnsDestination{TopicArn: &topic}},
		{CloudWatchDestination: &types.CloudWatchDestination{DimensionConfigurations: dims}},
		{KinesisFirehoseDestination: &types.KinesisFirehoseDestination{
			IamRoleArn: aws.String("arn:aws:iam::000000000000:role/ses"), DeliveryStreamArn: aws.String(p.arn("firehose", "deliverystream/events"))}},
		{EventBridgeDestination: &types.EventBridgeDestination{EventBusArn: aws.String(p.arn("events", "event-bus/default"))}},
		{PinpointDestination: &types.PinpointDestination{ApplicationArn: aws.String(p.arn("mobiletargeting", "apps/0123456789abcdef0123456789abcdef"))}},
	}
}

// destinationKinds: every kind is returned exactly as it was given, its event
// types sorted and each once.
func destinationKinds(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "kinds")
	topic := p.topic(t, "kinds")
	var want []types.EventDestination
	for i, d := range p.kinds(topic.arn) {
		name := fmt.Sprint("kind-", i)
		d.Enabled = i%2 == 0
		d.MatchingEventTypes = []types.EventType{"SEND", "BOUNCE", "OPEN", "SEND"}
		check(t, p.createDestination(t, "kinds", name, d))
		want = append(want, types.EventDestination{
			Name: &name, Enabled: d.Enabled, MatchingEventTypes: []types.EventType{"BOUNCE", "OPEN", "SEND"},
			SnsDestination: d.SnsDestination, CloudWatchDestination: d.CloudWatchDestination, KinesisFirehoseDestination: d.KinesisFirehoseDestination,
			EventBridgeDestination: d.EventBridgeDestination, PinpointDestination: d.PinpointDestination,
		})
	}
	same(t, "destinations", p.destinations(t, "kinds"), want)

	// v1 has the three kinds it knows, in its own spelling.
	got := p.describe(t, "kinds").EventDestinations
	if len(got) != 5 || got[0].SNSDestination == nil || *got[0].SNSDestination.TopicARN != topic.arn || got[2].KinesisFirehoseDestination == nil ||
		*got[2].KinesisFirehoseDestination.IAMRoleARN != "arn:aws:iam::000000000000:role/ses" || got[3].SNSDestination != nil || got[4].SNSDestination != nil {
		t.Errorf("v1: %+v", got)
	}
	same(t, "types", got[0].MatchingEventTypes, []string{"bounce", "open", "send"})
	same(t, "dimensions", got[1].CloudWatchDestination.DimensionConfigurations[1], v1types.CloudWatchDimensionConfiguration{
		DimensionName: aws.String("X-Kind"), DimensionValueSource: "emailHeader", DefaultDimensionValue: aws.String("a.b@c")})

	_, err := p.v2.DeleteConfigurationSetEventDestination(ctx, &sesv2.DeleteConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("kinds"), EventDestinationName: aws.String("kind-1")})
	check(t, err)
	same(t, "after deleting one", p.destinations(t, "kinds"), append(want[:1:1], want[2:]...))

	// All ten types, for every kind but Pinpoint.
	all := types.EventType("").Values()
	for i, d := range p.kinds(topic.arn)[:4] {
		d.MatchingEventTypes = all
		check(t, p.createDestination(t, "kinds", fmt.Sprint("all-", i), d))
	}
}

func destinationKindsV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	set := aws.String("kinds")
	p.set(t, *set)
	topic := p.topic(t, "kinds")
	want := []v1types.EventDestination{
		{Name: aws.String("sns"), Enabled: true, MatchingEventTypes: []v1types.EventType{"send", "renderingFailure", "bounce"}, SNSDestination: &v1types.SNSDestination{TopicARN: &topic.arn}},
		{Name: aws.String("cloudwatch"), MatchingEventTypes: []v1types.EventType{"click"}, CloudWatchDestination: &v1types.CloudWatchDestination{DimensionConfigurations: []v1types.CloudWatchDimensionConfiguration{
			{DimensionName: aws.String("a"), DimensionValueSource: "messageTag", DefaultDimensionValue: aws.String("x")},
			{DimensionName: aws.String("b"), DimensionValueSource: "linkTag", DefaultDimensionValue: aws.String("y")}}}},
		{Name: aws.String("firehose"), Enabled: true, MatchingEventTypes: []v1types.EventType{"reject"}, KinesisFirehoseDestination: &v1types.KinesisFirehoseDestination{
			IAMRoleARN: aws.String("arn:aws:iam::000000000000:role/path/ses"), DeliveryStreamARN: aws.String(p.arn("firehose", "deliverystream/events"))}},
	}
	for i := range want {
		_, err := p.v1.CreateConfigurationSetEventDestination(ctx, &ses.CreateConfigurationSetEventDestinationInput{ConfigurationSetName: set, EventDestination: &want[i]})
		check(t, err)
	}
	want[0].MatchingEventTypes = []v1types.EventType{"bounce", "renderingFailure", "send"}
	same(t, "destinations", p.describe(t, *set).EventDestinations, want)
	same(t, "types in v2", p.destinations(t, *set)[0].MatchingEventTypes, []types.EventType{"BOUNCE", "RENDERING_FAILURE", "SEND"})

	want[1].Enabled, want[1].MatchingEventTypes = true, []v1types.EventType{"open"}
	_, err := p.v1.UpdateConfigurationSetEventDestination(ctx, &ses.UpdateConfigurationSetEventDestinationInput{ConfigurationSetName: set, EventDestination: &want[1]})
	check(t, err)
	_, err = p.v1.DeleteConfigurationSetEventDestination(ctx, &ses.DeleteConfigurationSetEventDestinationInput{ConfigurationSetName: set, EventDestinationName: aws.String("firehose")})
	check(t, err)
	same(t, "after update and delete", p.describe(t, *set).EventDestinations, want[:2])
}

func destinationTexts(t *testing.T, l *lab) {
	p := l.place(t)
	p.set(t, "texts")
	topic := p.topic(t, "texts").arn
	kinds := p.kinds(topic)
	change := func(kind int, fn func(*types.EventDestinationDefinition)) types.EventDestinationDefinition {
		d := p.kinds(topic)[kind]
		d.MatchingEventTypes = []types.EventType{"SEND"}
		fn(&d)
		return d
	}
	dimension := func(name string, source types.DimensionValueSource, value string) types.EventDestinationDefinition {
		return change(1, func(d *types.EventDestinationDefinition) {
			d.CloudWatchDestination.DimensionConfigurations = []types.CloudWatchDimensionConfiguration{{DimensionName: &name, DimensionValueSource: source, DefaultDimensionValue: &value}}
		})
	}
	const badName = "Invalid dimension name <%s>: only alphanumeric ASCII characters, '_', '-' and ':' are allowed, at most 256."
	const badValue = "Invalid default dimension value <%s>: only alphanumeric ASCII characters, '_', '-', '@' and '.' are allowed, at most 256."
	long := strings.Repeat("d", 257)
	for _, c := range []struct {
		name, text string
		d          types.EventDestinationDefinition
	}{
		{"no-types", "At least one event type must be specified.", change(0, func(d *types.EventDestinationDefinition) { d.MatchingEventTypes = nil })},
		{"empty-types", "At least one event type must be specified.", change(0, func(d *types.EventDestinationDefinition) { d.MatchingEventTypes = []types.EventType{} })},
		{"nothing", "Event destination is not provided.", change(0, func(d *types.EventDestinationDefinition) { d.SnsDestination = nil })},
		{"two", "Please provide only one destination with each request. Either a Firehose Destination or a Cloudwatch Destination or an SNS Destination or an EventBridge Destination.",
			change(0, func(d *types.EventDestinationDefinition) { d.EventBridgeDestination = kinds[3].EventBridgeDestination })},
		{"a b", "Invalid event destination name <a b>: only alphanumeric ASCII characters, '_', and '-' are allowed.", change(0, func(*types.EventDestinationDefinition) {})},
		{long[:65], "Event destination name cannot exceed 64 characters.", change(0, func(*types.EventDestinationDefinition) {})},
		{"unknown-type", "Invalid event type: PING. Valid values are [BOUNCE, CLICK, COMPLAINT, DELIVERY, DELIVERY_DELAY, OPEN, REJECT, RENDERING_FAILURE, SEND, SUBSCRIPTION].",
			change(0, func(d *types.EventDestinationDefinition) { d.MatchingEventTypes = []types.EventType{"SEND", "PING"} })},
		{"v1-type", "Invalid event type: send. Valid values are [BOUNCE, CLICK, COMPLAINT, DELIVERY, DELIVERY_DELAY, OPEN, REJECT, RENDERING_FAILURE, SEND, SUBSCRIPTION].",
			change(0, func(d *types.EventDestinationDefinition) { d.MatchingEventTypes = []types.EventType{"send"} })},
		{"no-topic", "SNS topic <" + topic + "-missing> not found.", change(0, func(d *types.EventDestinationDefinition) { d.SnsDestination.TopicArn = aws.String(topic + "-missing") })},
		{"other-region", "SNS topic <arn:aws:sns:us-gov-east-1:000000000000:texts> not found.",
			change(0, func(d *types.EventDestinationDefinition) {
				d.SnsDestination.TopicArn = aws.String("arn:aws:sns:us-gov-east-1:000000000000:texts")
			})},
		{"not-an-arn", "SNS topic <texts> not found.", change(0, func(d *types.EventDestinationDefinition) { d.SnsDestination.TopicArn = aws.String("texts") })},
		{"no-dimensions", "CloudWatch metrics dimension configuration list cannot be empty.",
			change(1, func(d *types.EventDestinationDefinition) {
				d.CloudWatchDestination.DimensionConfigurations = []types.CloudWatchDimensionConfiguration{}
			})},
		{"dimension-name", fmt.Sprintf(badName, "a b"), dimension("a b", "MESSAGE_TAG", "x")},
		{"dimension-long", fmt.Sprintf(badName, long), dimension(long, "MESSAGE_TAG", "x")},
		{"dimension-value", fmt.Sprintf(badValue, "a b"), dimension("a", "MESSAGE_TAG", "a b")},
		{"dimension-header", "The header <Message-ID> cannot be used as a dimension.", dimension("Message-ID", "EMAIL_HEADER", "x")},
		{"dimension-source", "1 validation error detected: Value at 'eventDestination.cloudWatchDestination.dimensionConfigurations.1.member.dimensionValueSource' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [MESSAGE_TAG, EMAIL_HEADER, LINK_TAG]", dimension("a", "MOON", "x")},
		{"role", "Invalid IAM role ARN provided: arn:aws:iam::000000000000:user/x.",
			change(2, func(d *types.EventDestinationDefinition) {
				d.KinesisFirehoseDestination.IamRoleArn = aws.String("arn:aws:iam::000000000000:user/x")
			})},
		{"stream", "Invalid Firehose delivery stream ARN provided: arn:aws:s3:::bucket.",
			change(2, func(d *types.EventDestinationDefinition) {
				d.KinesisFirehoseDestination.DeliveryStreamArn = aws.String("arn:aws:s3:::bucket")
			})},
		{"bus", "The EventBridge event bus " + p.arn("events", "event-bus/other") + " is not the default event bus.",
			change(3, func(d *types.EventDestinationDefinition) {
				d.EventBridgeDestination.EventBusArn = aws.String(p.arn("events", "event-bus/other"))
			})},
		{"pinpoint-arn", "Invalid Pinpoint application ARN provided: x.", change(4, func(d *types.EventDestinationDefinition) { d.PinpointDestination.ApplicationArn = aws.String("x") })},
		{"pinpoint-delay", "Event type DELIVERY_DELAY is not supported by Pinpoint destinations.", change(4, func(d *types.EventDestinationDefinition) {
			d.MatchingEventTypes = []types.EventType{"SEND", "DELIVERY_DELAY"}
		})},
		{"pinpoint-subscription", "Event type SUBSCRIPTION is not supported by Pinpoint destinations.", change(4, func(d *types.EventDestinationDefinition) {
			d.MatchingEventTypes = []types.EventType{"SUBSCRIPTION"}
		})},
	} {
		t.Run(strings.ReplaceAll(c.name, long[:65], "long"), func(t *testing.T) {
			wantError[*types.BadRequestException](t, p.createDestination(t, "texts", c.name, c.d), c.text)
		})
	}
	if got := p.destinations(t, "texts"); len(got) != 0 {
		t.Errorf("refused destinations exist: %+v", got)
	}
	good := change(3, func(*types.EventDestinationDefinition) {})
	check(t, p.createDestination(t, "texts", "twice", good))
	wantError[*types.AlreadyExistsException](t, p.createDestination(t, "texts", "twice", good), "An event destination with name <twice> already exists for configuration set <texts>.")
	wantError[*types.NotFoundException](t, p.createDestination(t, "missing", "d", good), "Configuration set <missing> does not exist.")
}

func destinationTextsV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "texts")
	create := func(set string, d v1types.EventDestination) error {
		_, err := p.v1.CreateConfigurationSetEventDestination(ctx, &ses.CreateConfigurationSetEventDestinationInput{ConfigurationSetName: &set, EventDestination: &d})
		return err
	}
	topic := p.topic(t, "texts").arn
	d := v1types.EventDestination{Name: aws.String("d"), MatchingEventTypes: []v1types.EventType{"send"}, SNSDestination: &v1types.SNSDestination{TopicARN: &topic}}
	const validV1 = "[bounce, click, complaint, delivery, open, reject, renderingFailure, send]"
	for _, unknown := range []v1types.EventType{"ping", "SEND", "deliveryDelay", "subscription"} {
		bad := d
		bad.MatchingEventTypes = []v1types.EventType{"send", unknown}
		wantFault(t, create("texts", bad), "InvalidParameterValue", "Invalid event type: "+string(unknown)+". Valid values are "+validV1+".")
	}
	bad := d
	bad.SNSDestination = &v1types.SNSDestination{TopicARN: aws.String(topic + "x")}
	wantError[*v1types.InvalidSNSDestinationException](t, create("texts", bad), "SNS topic <"+topic+"x> not found.")
	bad = d
	bad.SNSDestination = nil
	wantFault(t, create("texts", bad), "InvalidParameterValue", "Event destination is not provided.")
	bad.CloudWatchDestination = &v1types.CloudWatchDestination{DimensionConfigurations: []v1types.CloudWatchDimensionConfiguration{
		{DimensionName: aws.String("To"), DimensionValueSource: "emailHeader", DefaultDimensionValue: aws.String("x")}}}
	wantError[*v1types.InvalidCloudWatchDestinationException](t, create("texts", bad), "The header <To> cannot be used as a dimension.")
	bad.CloudWatchDestination = nil
	bad.KinesisFirehoseDestination = &v1types.KinesisFirehoseDestination{IAMRoleARN: aws.String("x"), DeliveryStreamARN: aws.String("y")}
	wantError[*v1types.InvalidFirehoseDestinationException](t, create("texts", bad), "Invalid IAM role ARN provided: x.")
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, create("missing", d), "Configuration set <missing> does not exist.")
	check(t, create("texts", d))
	wantError[*v1types.EventDestinationAlreadyExistsException](t, create("texts", d), "An event destination with name <d> already exists for configuration set <texts>.")

	d.Name = aws.String("other")
	_, err := p.v1.UpdateConfigurationSetEventDestination(ctx, &ses.UpdateConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("texts"), EventDestination: &d})
	wantError[*v1types.EventDestinationDoesNotExistException](t, err, "No EventDestination found for texts")
	_, err = p.v1.DeleteConfigurationSetEventDestination(ctx, &ses.DeleteConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("texts"), EventDestinationName: d.Name})
	wantError[*v1types.EventDestinationDoesNotExistException](t, err, "No EventDestination found for texts")
}

func destinationLimit(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "full")
	d := p.kinds("")[3]
	d.MatchingEventTypes = []types.EventType{"SEND"}
	for i := range 10 {
		check(t, p.createDestination(t, "full", fmt.Sprint("d", i), d))
	}
	wantError[*types.LimitExceededException](t, p.createDestination(t, "full", "eleventh", d), "A configuration set can have at most 10 event destinations.")
	topic := p.topic(t, "full").arn
	_, err := p.v1.CreateConfigurationSetEventDestination(ctx, &ses.CreateConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("full"), EventDestination: &v1types.EventDestination{
		Name: aws.String("eleventh"), MatchingEventTypes: []v1types.EventType{"send"}, SNSDestination: &v1types.SNSDestination{TopicARN: &topic}}})
	wantError[*v1types.LimitExceededException](t, err, "A configuration set can have at most 10 event destinations.")

	p.set(t, "race") // the limit holds among callers at the same time
	made := make(chan error)
	for i := range 15 {
		go func() { made <- p.createDestination(t, "race", fmt.Sprint("d", i), d) }()
	}
	refused := 0
	for range 15 {
		if err := <-made; err != nil {
			wantError[*types.LimitExceededException](t, err, "A configuration set can have at most 10 event destinations.")
			refused++
		}
	}
	if n := len(p.destinations(t, "race")); n != 10 || refused != 5 {
		t.Errorf("%d destinations, %d refused", n, refused)
	}

	var dims []types.CloudWatchDimensionConfiguration
	for i := range 11 {
		dims = append(dims, types.CloudWatchDimensionConfiguration{DimensionName: aws.String(fmt.Sprint("d", i)), DimensionValueSource: "MESSAGE_TAG", DefaultDimensionValue: aws.String("x")})
	}
	p.set(t, "dims")
	d.EventBridgeDestination, d.CloudWatchDestination = nil, &types.CloudWatchDestination{DimensionConfigurations: dims}
	wantError[*types.BadRequestException](t, p.createDestination(t, "dims", "eleven", d), "A CloudWatch destination can have at most 10 dimension configurations.")
	d.CloudWatchDestination.DimensionConfigurations = dims[:10]
	check(t, p.createDestination(t, "dims", "ten", d))
}

// destinationUpdate: an update replaces the definition; a refused one changes
// nothing.
func destinationUpdate(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	topic := p.topic(t, "updated")
	update := func(name string, d types.EventDestinationDefinition) error {
		_, err := p.v2.UpdateConfigurationSetEventDestination(ctx, &sesv2.UpdateConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("s"), EventDestinationName: &name, EventDestination: &d})
		return err
	}
	d := p.kinds(topic.arn)[3]
	d.Enabled, d.MatchingEventTypes = true, []types.EventType{"SEND"}
	check(t, p.createDestination(t, "s", "d", d))
	d = p.kinds(topic.arn)[0]
	d.MatchingEventTypes = []types.EventType{"OPEN", "CLICK"}
	check(t, update("d", d))
	want := []types.EventDestination{{Name: aws.String("d"), MatchingEventTypes: []types.EventType{"CLICK", "OPEN"}, SnsDestination: d.SnsDestination}}
	same(t, "updated", p.destinations(t, "s"), want)
	if got := topic.next(t, 1)[0]; got != validated {
		t.Errorf("published on update: %q", got)
	}
	bad := p.kinds(topic.arn + "x")[0]
	bad.MatchingEventTypes = d.MatchingEventTypes
	wantError[*types.BadRequestException](t, update("d", bad), "SNS topic <"+topic.arn+"x> not found.")
	same(t, "after a refused update", p.destinations(t, "s"), want)
	wantError[*types.NotFoundException](t, update("other", d), "An event destination with name <other> does not exist for configuration set <s>.")
	_, err := p.v2.DeleteConfigurationSetEventDestination(ctx, &sesv2.DeleteConfigurationSetEventDestinationInput{ConfigurationSetName: aws.String("s"), EventDestinationName: aws.String("other")})
	wantError[*types.NotFoundException](t, err, "An event destination with name <other> does not exist for configuration set <s>.")
	_, err = p.v2.GetConfigurationSetEventDestinations(ctx, &sesv2.GetConfigurationSetEventDestinationsInput{ConfigurationSetName: aws.String("missing")})
	wantError[*types.NotFoundException](t, err, "Configuration set <missing> does not exist.")
}

// testMessage: making a destination tells the topic; a refused one does not,
// nor does one for a FIFO topic.
func testMessage(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	q := p.topic(t, "tested")
	q.publishTo(t, "s", "first", "SEND")
	d := types.EventDestinationDefinition{MatchingEventTypes: []types.EventType{"SEND"}, SnsDestination: &types.SnsDestination{TopicArn: &q.arn}}
	wantError[*types.AlreadyExistsException](t, p.createDestination(t, "s", "first", d), "An event destination with name <first> already exists for configuration set <s>.")
	check(t, p.createDestination(t, "s", "second", d))
	id := p.send(t, func() *sesv2.SendEmailInput {
		m := email("x@example.net")
		m.ConfigurationSetName = aws.String("s")
		return m
	}())
	got := q.next(t, 2) // the refused one would be a third before the record
	if got[0] != validated || !strings.Contains(got[1], id) {
		t.Errorf("published: %q", got)
	}
	fifo, err := p.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("x.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
	check(t, err)
	d.SnsDestination.TopicArn = fifo.TopicArn
	wantError[*types.BadRequestException](t, p.createDestination(t, "s", "third", d), "SNS topic <"+*fifo.TopicArn+"> is a FIFO topic. FIFO topics are not supported.")
}
