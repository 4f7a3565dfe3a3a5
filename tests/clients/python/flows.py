"""What a Python program does with SES and its companions, through boto3.

Run by tests/clients: E is the HTTP address of a fresh Sestina.
"""

import email.message
import functools
import json
import os
import unittest
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

E = os.environ["E"]
REGION = "us-east-1"
ALL = ["SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT", "DELIVERY_DELAY"]


@functools.cache
def client(service, **more):
    # No retries: an answer that only a retry hides is a fault.
    config = Config(retries={"total_max_attempts": 1}, read_timeout=40)
    return boto3.client(service, endpoint_url=E, config=config, **more)


class Flow(unittest.TestCase):
    def fails(self, code, text, call, **kwargs):
        """The call fails with this code, as boto3 reports it, and this text."""
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code)
        self.assertIn(error["Message"], (text,) if isinstance(text, str) else text)
        self.assertTrue(caught.exception.response["ResponseMetadata"]["RequestId"])
        return caught.exception


class Events(Flow):
    """A queue that gets the events of a configuration set."""

    def set_up_events(self, name, types=ALL):
        sns, sqs, v2 = client("sns"), client("sqs"), client("sesv2")
        topic = sns.create_topic(Name=name)["TopicArn"]
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        v2.create_configuration_set(ConfigurationSetName=name)
        v2.create_configuration_set_event_destination(
            ConfigurationSetName=name,
            EventDestinationName="all",
            EventDestination={"Enabled": True, "MatchingEventTypes": types, "SnsDestination": {"TopicArn": topic}},
        )
        return queue, topic

    def records(self, queue, n):
        """Receives n event records, sorted by message and type."""
        sqs = client("sqs")
        out = []
        while len(out) < n:
            got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            self.assertIn("Messages", got, "%d of %d records came" % (len(out), n))
            for m in got["Messages"]:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=m["ReceiptHandle"])
                if m["Body"].startswith("{"):  # the others are SES's test messages
                    out.append(json.loads(m["Body"]))
        return sorted(out, key=lambda r: (r["mail"]["messageId"], r["eventType"]))


class STS(Flow):
    def test_caller(self):
        who = client("sts").get_caller_identity()
        self.assertEqual(who["Account"], "000000000000")
        self.assertEqual(who["Arn"], "arn:aws:iam::000000000000:root")


class SESv2(Events):
    def test_send_simple(self):
        v2 = client("sesv2")
        v2.create_email_identity(EmailIdentity="v2.example.com")
        queue, topic = self.set_up_events("v2-simple")
        sent = v2.send_email(
            ConfigurationSetName="v2-simple",
            FromEmailAddress="Anna Müller <anna@v2.example.com>",
            Destination={"ToAddresses": ["lena@example.net"], "CcAddresses": ["bounce@simulator.amazonses.com"]},
            ReplyToAddresses=["reply@v2.example.com"],
            EmailTags=[{"Name": "campaign", "Value": "spring"}, {"Name": "kind", "Value": "test"}],
            Content={
                "Simple": {
                    "Subject": {"Data": "Frühling", "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": "Grüße"}, "Html": {"Data": "<p>Grüße</p>"}},
                }
            },
        )
        bounce, delivery, send = self.records(queue, 3)
        for r in (bounce, delivery, send):
            self.assertEqual(r["mail"]["messageId"], sent["MessageId"])
            self.assertEqual(r["mail"]["tags"]["campaign"], ["spring"])
            self.assertEqual(r["mail"]["tags"]["ses:configuration-set"], ["v2-simple"])
            self.assertEqual(r["mail"]["commonHeaders"]["subject"], "Frühling")
            self.assertEqual(r["mail"]["destination"], ["lena@example.net", "bounce@simulator.amazonses.com"])
        self.assertEqual([r["eventType"] for r in (bounce, delivery, send)], ["Bounce", "Delivery", "Send"])
        self.assertEqual(bounce["bounce"]["bounceType"], "Permanent")
        self.assertEqual([r["emailAddress"] for r in bounce["bounce"]["bouncedRecipients"]], ["bounce@simulator.amazonses.com"])
        self.assertEqual(delivery["delivery"]["recipients"], ["lena@example.net"])

        captured = own("messages/" + sent["MessageId"])
        self.assertEqual(captured["subject"], "Frühling")
        self.assertEqual(captured["text"].strip(), "Grüße")

    def test_send_raw(self):
        v2 = client("sesv2")
        v2.create_email_identity(EmailIdentity="raw.example.com")
        queue, _ = self.set_up_events("v2-raw")
        m = email.message.EmailMessage()
        m["From"], m["To"], m["Subject"] = "a@raw.example.com", "complaint@simulator.amazonses.com", "raw"
        m["X-SES-CONFIGURATION-SET"], m["X-SES-MESSAGE-TAGS"] = "v2-raw", "campaign=raw"
        m.set_content("hello")
        sent = v2.send_email(Content={"Raw": {"Data": m.as_bytes()}})
        records = self.records(queue, 3)
        self.assertEqual([r["eventType"] for r in records], ["Complaint", "Delivery", "Send"])
        self.assertEqual({r["mail"]["messageId"] for r in records}, {sent["MessageId"]})
        self.assertEqual({tuple(r["mail"]["tags"]["campaign"]) for r in records}, {("raw",)})

    def test_infected_mail_is_rejected(self):
        v2 = client("sesv2")
        v2.create_email_identity(EmailIdentity="virus.example.com")
        queue, _ = self.set_up_events("v2-virus")
        m = email.message.EmailMessage()
        m["From"], m["To"], m["Subject"] = "a@virus.example.com", "lena@example.net", "virus"
        m.set_content("see the attachment")
        # The test file in two parts, so that no scanner minds this script.
        m.add_attachment(
            (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*").encode(),
            maintype="application", subtype="octet-stream", filename="sample.txt",
        )
        v2.send_email(ConfigurationSetName="v2-virus", Content={"Raw": {"Data": m.as_bytes()}})
        reject, send = self.records(queue, 2)
        self.assertEqual((reject["eventType"], send["eventType"]), ("Reject", "Send"))
        self.assertEqual(reject["reject"]["reason"], "Bad content")

    def test_event_destinations(self):
        v2 = client("sesv2")
        _, topic = self.set_up_events("v2-destinations", ["SEND"])
        read = lambda: v2.get_configuration_set_event_destinations(ConfigurationSetName="v2-destinations")["EventDestinations"]
        self.assertEqual(read(), [
            {"Name": "all", "Enabled": True, "MatchingEventTypes": ["SEND"], "SnsDestination": {"TopicArn": topic}},
        ])
        v2.update_configuration_set_event_destination(
            ConfigurationSetName="v2-destinations", EventDestinationName="all",
            EventDestination={"Enabled": False, "MatchingEventTypes": ["SEND", "BOUNCE", "CLICK"], "SnsDestination": {"TopicArn": topic}},
        )
        self.assertEqual(read()[0]["MatchingEventTypes"], ["BOUNCE", "CLICK", "SEND"])
        self.assertFalse(read()[0]["Enabled"])
        self.fails(
            "AlreadyExistsException",
            "An event destination with name <all> already exists for configuration set <v2-destinations>.",
            v2.create_configuration_set_event_destination,
            ConfigurationSetName="v2-destinations", EventDestinationName="all",
            EventDestination={"MatchingEventTypes": ["SEND"], "SnsDestination": {"TopicArn": topic}},
        )
        self.fails(
            "BadRequestException", "SNS topic <%s-gone> not found." % topic,
            v2.create_configuration_set_event_destination,
            ConfigurationSetName="v2-destinations", EventDestinationName="other",
            EventDestination={"MatchingEventTypes": ["SEND"], "SnsDestination": {"TopicArn": topic + "-gone"}},
        )
        v2.delete_configuration_set_event_destination(ConfigurationSetName="v2-destinations", EventDestinationName="all")
        self.assertEqual(read(), [])
        self.fails(
            "NotFoundException", "An event destination with name <all> does not exist for configuration set <v2-destinations>.",
            v2.delete_configuration_set_event_destination,
            ConfigurationSetName="v2-destinations", EventDestinationName="all",
        )

    def test_other_kinds_are_stored(self):
        v2 = client("sesv2")
        v2.create_configuration_set(ConfigurationSetName="v2-kinds")
        kinds = {
            "cloudwatch": {"CloudWatchDestination": {"DimensionConfigurations": [
                {"DimensionName": "campaign", "DimensionValueSource": "MESSAGE_TAG", "DefaultDimensionValue": "none"}]}},
            "firehose": {"KinesisFirehoseDestination": {
                "IamRoleArn": "arn:aws:iam::000000000000:role/ses",
                "DeliveryStreamArn": "arn:aws:firehose:us-east-1:000000000000:deliverystream/events"}},
        }
        for name, kind in kinds.items():
            v2.create_configuration_set_event_destination(
                ConfigurationSetName="v2-kinds", EventDestinationName=name,
                EventDestination={"Enabled": True, "MatchingEventTypes": ["SEND"], **kind})
        got = v2.get_configuration_set_event_destinations(ConfigurationSetName="v2-kinds")["EventDestinations"]
        self.assertEqual({d.pop("Name"): d for d in got},
                         {n: {"Enabled": True, "MatchingEventTypes": ["SEND"], **k} for n, k in kinds.items()})
        # Their events are held: nothing publishes them yet, nothing is lost.
        v2.create_email_identity(EmailIdentity="kinds.example.com")
        v2.send_email(ConfigurationSetName="v2-kinds", FromEmailAddress="a@kinds.example.com",
                      Destination={"ToAddresses": ["lena@example.net"]}, Content=SIMPLE)
        for name in kinds:
            self.assertEqual(own("event-destinations/v2-kinds/%s?account=000000000000&region=us-east-1" % name)["waiting"], 1)

    def test_configuration_sets(self):
        v2 = client("sesv2")
        names = ["paged-%03d" % i for i in range(25)]
        for n in names:
            v2.create_configuration_set(ConfigurationSetName=n, Tags=[{"Key": "team", "Value": "mail"}])
        self.assertEqual([n for n in pages(v2.list_configuration_sets, "ConfigurationSets", "PageSize", 7) if n in names], names)
        got = v2.get_configuration_set(ConfigurationSetName=names[0])
        self.assertEqual(got["Tags"], [{"Key": "team", "Value": "mail"}])
        self.assertTrue(got["SendingOptions"]["SendingEnabled"])
        v2.put_configuration_set_sending_options(ConfigurationSetName=names[0], SendingEnabled=False)
        v2.create_email_identity(EmailIdentity="paused.example.com")
        self.fails(
            "SendingPausedException", "Sending is paused for configuration set %s" % names[0],
            v2.send_email, ConfigurationSetName=names[0], FromEmailAddress="a@paused.example.com",
            Destination={"ToAddresses": ["lena@example.net"]}, Content=SIMPLE)
        self.fails("AlreadyExistsException", "Configuration set <paged-000> already exists.",
                   v2.create_configuration_set, ConfigurationSetName="paged-000")
        v2.delete_configuration_set(ConfigurationSetName="paged-000")
        self.fails("NotFoundException", "Configuration set <paged-000> does not exist.",
                   v2.get_configuration_set, ConfigurationSetName="paged-000")

    def test_identities(self):
        v2 = client("sesv2")
        v2.create_email_identity(EmailIdentity="id.example.com")
        self.fails("AlreadyExistsException", "Email identity id.example.com already exist.",
                   v2.create_email_identity, EmailIdentity="id.example.com")
        got = v2.get_email_identity(EmailIdentity="id.example.com")
        self.assertEqual((got["IdentityType"], got["VerifiedForSendingStatus"]), ("DOMAIN", True))
        listed = pages(v2.list_email_identities, "EmailIdentities", "PageSize", 1)
        self.assertIn("id.example.com", [i["IdentityName"] for i in listed])
        v2.delete_email_identity(EmailIdentity="id.example.com")
        self.fails("NotFoundException", "Email identity id.example.com does not exist.",
                   v2.get_email_identity, EmailIdentity="id.example.com")

    def test_refusals(self):
        v2 = client("sesv2")
        v2.create_email_identity(EmailIdentity="refused.example.com")
        to = {"ToAddresses": ["lena@example.net"]}
        self.fails("NotFoundException", "Configuration set <nowhere> does not exist.", v2.send_email,
                   ConfigurationSetName="nowhere", FromEmailAddress="a@refused.example.com", Destination=to, Content=SIMPLE)
        self.fails("MessageRejected",
                   "Email address is not verified. The following identities failed the check in region US-EAST-1: a@unknown.example.org",
                   v2.send_email, FromEmailAddress="a@unknown.example.org", Destination=to, Content=SIMPLE)
        with self.assertRaises(v2.exceptions.BadRequestException):
            v2.send_email(FromEmailAddress="a@refused.example.com", Content=SIMPLE,
                          Destination={"ToAddresses": ["x%d@example.net" % i for i in range(51)]})
        with self.assertRaises(v2.exceptions.BadRequestException):
            v2.send_email(FromEmailAddress="a@refused.example.com", Destination=to, Content=SIMPLE,
                          EmailTags=[{"Name": "not a name", "Value": "x"}])


SIMPLE = {"Simple": {"Subject": {"Data": "hello"}, "Body": {"Text": {"Data": "hello"}}}}


def own(path):
    """One call of Sestina's own API."""
    with urllib.request.urlopen(E + "/sestina/v1/" + path) as answer:
        return json.load(answer)


def pages(call, key, size, n):
    """Walks the pages of a call that botocore has no paginator for."""
    token = {}
    while True:
        got = call(**{size: n}, **token)
        assert len(got[key]) <= n, "%d entries on a page of %d" % (len(got[key]), n)
        yield from got[key]
        if not got.get("NextToken"):
            return
        token = {"NextToken": got["NextToken"]}


class SESv1(Events):
    def test_send(self):
        v1 = client("ses")
        self.assertEqual(v1.verify_email_identity(EmailAddress="a@v1.example.com")["ResponseMetadata"]["HTTPStatusCode"], 200)
        queue, _ = self.set_up_events("v1-send")
        first = v1.send_email(
            ConfigurationSetName="v1-send", Source="a@v1.example.com", Tags=[{"Name": "campaign", "Value": "v1"}],
            Destination={"ToAddresses": ["ooto@simulator.amazonses.com"]},
            Message={"Subject": {"Data": "v1"}, "Body": {"Html": {"Data": "<b>hello & goodbye</b>"}}})["MessageId"]
        raw = v1.send_raw_email(
            Source="a@v1.example.com", Destinations=["lena@example.net"], ConfigurationSetName="v1-send",
            RawMessage={"Data": b"From: a@v1.example.com\nTo: lena@example.net\nSubject: raw\n\nhello\n"})["MessageId"]
        records = self.records(queue, 5)
        types = lambda id: [r["eventType"] for r in records if r["mail"]["messageId"] == id]
        self.assertEqual(types(first), ["Bounce", "Delivery", "Send"])
        self.assertEqual(types(raw), ["Delivery", "Send"])

    def test_configuration_sets(self):
        v1 = client("ses")
        topic = client("sns").create_topic(Name="v1-sets")["TopicArn"]
        names = ["v1-paged-%03d" % i for i in range(12)]
        for n in names:
            v1.create_configuration_set(ConfigurationSet={"Name": n})
        listed = v1.get_paginator("list_configuration_sets").paginate(PaginationConfig={"PageSize": 5}).build_full_result()["ConfigurationSets"]
        self.assertEqual([s["Name"] for s in listed if s["Name"] in names], names)
        v1.create_configuration_set_event_destination(
            ConfigurationSetName=names[0],
            EventDestination={"Name": "all", "Enabled": True, "MatchingEventTypes": ["send", "renderingFailure"],
                              "SNSDestination": {"TopicARN": topic}})
        got = v1.describe_configuration_set(ConfigurationSetName=names[0], ConfigurationSetAttributeNames=["eventDestinations"])
        self.assertEqual(got["EventDestinations"], [
            {"Name": "all", "Enabled": True, "MatchingEventTypes": ["renderingFailure", "send"], "SNSDestination": {"TopicARN": topic}}])
        self.assertNotIn("ReputationOptions", got)
        self.fails("ConfigurationSetAlreadyExists", "Configuration set <%s> already exists." % names[0],
                   v1.create_configuration_set, ConfigurationSet={"Name": names[0]})
        self.fails("EventDestinationDoesNotExist", "No EventDestination found for %s" % names[0],
                   v1.delete_configuration_set_event_destination, ConfigurationSetName=names[0], EventDestinationName="other")
        self.fails("InvalidSNSDestination", "SNS topic <%s-gone> not found." % topic,
                   v1.create_configuration_set_event_destination, ConfigurationSetName=names[0],
                   EventDestination={"Name": "other", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": topic + "-gone"}})
        error = self.fails("ConfigurationSetDoesNotExist", "Configuration set <nowhere> does not exist.",
                           v1.describe_configuration_set, ConfigurationSetName="nowhere")
        self.assertIsInstance(error, v1.exceptions.ConfigurationSetDoesNotExistException)

    def test_refusals(self):
        v1 = client("ses")
        v1.verify_domain_identity(Domain="v1refused.example.com")
        self.assertIn("v1refused.example.com", v1.get_paginator("list_identities").paginate(
            IdentityType="Domain", PaginationConfig={"PageSize": 1}).build_full_result()["Identities"])
        message = {"Subject": {"Data": "v1"}, "Body": {"Text": {"Data": "hello"}}}
        self.fails("MessageRejected",
                   "Email address is not verified. The following identities failed the check in region US-EAST-1: a@unknown.example.org",
                   v1.send_email, Source="a@unknown.example.org", Destination={"ToAddresses": ["lena@example.net"]}, Message=message)
        self.fails("InvalidParameterValue", "Missing required header 'From'.", v1.send_raw_email,
                   Destinations=["lena@example.net"], RawMessage={"Data": b"Subject: no sender\n\nhello\n"})


class SNS(Flow):
    def test_topics(self):
        sns = client("sns")
        arns = [sns.create_topic(Name="many-%03d" % i)["TopicArn"] for i in range(120)]
        self.assertEqual(arns[0], "arn:aws:sns:%s:000000000000:many-000" % REGION)
        listed = [t["TopicArn"] for t in sns.get_paginator("list_topics").paginate().build_full_result()["Topics"]]
        self.assertEqual([a for a in listed if ":many-" in a], arns)
        self.assertEqual(sns.create_topic(Name="many-000")["TopicArn"], arns[0])
        self.fails("InvalidParameter", "Invalid parameter: Topic Name", sns.create_topic, Name="no spaces allowed")
        error = self.fails("NotFound", "Topic does not exist", sns.get_topic_attributes, TopicArn=arns[0] + "-gone")
        self.assertIsInstance(error, sns.exceptions.NotFoundException)
        # An operation that Sestina does not have names itself in a 4xx.
        with self.assertRaises(ClientError) as caught:
            sns.create_platform_application(Name="x", Platform="GCM", Attributes={})
        self.assertIn("CreatePlatformApplication", str(caught.exception.response["Error"]))
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)
        elsewhere = client("sns", region_name="eu-west-1").list_topics()["Topics"]
        self.assertEqual(elsewhere, [], "topics of another region")

    def test_publish_to_queue(self):
        sns, sqs = client("sns"), client("sqs")
        topic = sns.create_topic(Name="filtered")["TopicArn"]
        queue = sqs.create_queue(QueueName="filtered")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True,
                                     Attributes={"FilterPolicy": json.dumps({"colour": ["red"]})})["SubscriptionArn"]
        text = "Grüße & <Küsse> \U0001F33B\n"
        colour = lambda c: {"colour": {"DataType": "String", "StringValue": c}}
        sns.publish(TopicArn=topic, Message="no", MessageAttributes=colour("blue"))
        published = sns.publish(TopicArn=topic, Message=text, Subject="flowers", MessageAttributes=colour("red"))["MessageId"]
        got = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MaxNumberOfMessages=10)["Messages"]
        self.assertEqual(len(got), 1)
        envelope = json.loads(got[0]["Body"])
        self.assertEqual((envelope["Message"], envelope["Subject"], envelope["MessageId"], envelope["Type"]),
                         (text, "flowers", published, "Notification"))
        self.assertEqual(envelope["MessageAttributes"], {"colour": {"Type": "String", "Value": "red"}})
        batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
            {"Id": "a", "Message": "1", "MessageAttributes": colour("red")}, {"Id": "b", "Message": "2", "MessageAttributes": colour("red")}])
        self.assertEqual({s["Id"] for s in batch["Successful"]}, {"a", "b"})
        subscriptions = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic).build_full_result()["Subscriptions"]
        self.assertEqual([s["SubscriptionArn"] for s in subscriptions], [subscription])
        sns.unsubscribe(SubscriptionArn=subscription)
        self.fails("NotFound", "Subscription does not exist", sns.get_subscription_attributes, SubscriptionArn=subscription)


class SQS(Flow):
    # What the service says to older clients, by the Query protocol, and to newer ones, by JSON.
    NO_QUEUE = ("The specified queue does not exist for this wsdl version.", "The specified queue does not exist.")

    def test_messages(self):
        sqs = client("sqs")
        queue = sqs.create_queue(QueueName="plain", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
        body = "Grüße & <Küsse>\r\n\U0001F33B"
        attributes = {"n": {"DataType": "Number", "StringValue": "17"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
        # boto3 compares the digest of the body itself.
        sent = sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=attributes)
        got = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=20)["Messages"][0]
        self.assertEqual((got["Body"], got["MessageId"], got["MessageAttributes"]), (body, sent["MessageId"], attributes))
        self.assertEqual(got["Attributes"]["ApproximateReceiveCount"], "1")
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
        entries = [{"Id": str(i), "MessageBody": "m%d" % i} for i in range(10)]
        self.assertEqual(len(sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]), 10)
        self.assertEqual(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"],
                         {"ApproximateNumberOfMessages": "10"})
        sqs.purge_queue(QueueUrl=queue)
        self.assertNotIn("Messages", sqs.receive_message(QueueUrl=queue))

    def test_fifo(self):
        sqs = client("sqs")
        queue = sqs.create_queue(QueueName="ordered.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
        for i in (1, 2, 2, 3):
            sqs.send_message(QueueUrl=queue, MessageBody="m%d" % i, MessageGroupId="g")
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        self.assertEqual([m["Body"] for m in got], ["m1", "m2", "m3"])

    def test_dead_letters(self):
        sqs = client("sqs")
        dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        queue = sqs.create_queue(QueueName="source", Attributes={
            "VisibilityTimeout": "0", "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})})["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="poison")
        self.assertEqual(sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"], "poison")
        self.assertNotIn("Messages", sqs.receive_message(QueueUrl=queue))
        self.assertEqual(sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=20)["Messages"][0]["Body"], "poison")
        self.assertEqual(sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=dead).build_full_result()["queueUrls"], [queue])

    def test_queues(self):
        sqs = client("sqs")
        urls = [sqs.create_queue(QueueName="many-%02d" % i)["QueueUrl"] for i in range(25)]
        listed = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="many-", PaginationConfig={"PageSize": 10})
        self.assertEqual(listed.build_full_result()["QueueUrls"], urls)
        error = self.fails("AWS.SimpleQueueService.NonExistentQueue", self.NO_QUEUE,
                           sqs.get_queue_url, QueueName="nowhere")
        self.assertIsInstance(error, sqs.exceptions.QueueDoesNotExist)
        self.fails("AWS.SimpleQueueService.NonExistentQueue", self.NO_QUEUE,
                   sqs.send_message, QueueUrl=urls[0] + "-gone", MessageBody="x")
        with self.assertRaises(sqs.exceptions.QueueNameExists):
            sqs.create_queue(QueueName="many-00", Attributes={"VisibilityTimeout": "7"})
        with self.assertRaises(ClientError) as caught:
            sqs.delete_message(QueueUrl=urls[0], ReceiptHandle="no handle")
        self.assertEqual(caught.exception.response["Error"]["Code"], "ReceiptHandleIsInvalid")


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
