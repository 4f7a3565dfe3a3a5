"""Calls every service once with the credentials of the environment and prints
"ok" or the error code of each."""

import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(service):
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=os.environ["E"], region_name="eu-central-1", config=config)


def missing_identity():
    v2 = client("sesv2")
    try:
        v2.get_email_identity(EmailIdentity="a+b c@example.com")
    except v2.exceptions.NotFoundException:
        pass


for name, call in {
    "sts": lambda: client("sts").get_caller_identity(),
    "sns": lambda: client("sns").create_topic(Name="p", Tags=[{"Key": "ü & =+", "Value": "b c"}]),
    "sqs": lambda: client("sqs").create_queue(QueueName="p"),
    "ses": lambda: client("ses").list_configuration_sets(),
    "sesv2": lambda: client("sesv2").create_configuration_set(ConfigurationSetName="p"),
    "sesv2 tags": lambda: client("sesv2").list_tags_for_resource(ResourceArn="arn:aws:ses:eu-central-1:000000000000:configuration-set/p"),
    "sesv2 address": missing_identity,
    "sns attributes": lambda: client("sns").get_topic_attributes(TopicArn="arn:aws:sns:eu-central-1:000000000000:p"),
}.items():
    try:
        call()
        print("%s: ok" % name)
    except ClientError as e:
        print("%s: %s: %s" % (name, e.response["Error"]["Code"], e.response["Error"]["Message"]))
