// What a JavaScript program does with SES, SNS, SQS and STS, through the AWS SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ses from '@aws-sdk/client-ses';
import * as sesv2 from '@aws-sdk/client-sesv2';
import * as sns from '@aws-sdk/client-sns';
import * as sqs from '@aws-sdk/client-sqs';
import * as sts from '@aws-sdk/client-sts';
import { allTypes, aws, fails, own } from './environment.mjs';

const v1 = new ses.SES(aws), v2 = new sesv2.SESv2(aws), topics = new sns.SNS(aws), queues = new sqs.SQS(aws);

/** Makes a configuration set, topic and queue of this name, and an identity. */
async function setUp(name) {
  const { TopicArn } = await topics.createTopic({ Name: name });
  const { QueueUrl } = await queues.createQueue({ QueueName: name });
  const { Attributes } = await queues.getQueueAttributes({ QueueUrl, AttributeNames: ['QueueArn'] });
  await topics.subscribe({ TopicArn, Protocol: 'sqs', Endpoint: Attributes.QueueArn });
  await v2.createConfigurationSet({ ConfigurationSetName: name });
  await v2.createConfigurationSetEventDestination({
    ConfigurationSetName: name, EventDestinationName: 'all',
    EventDestination: { Enabled: true, MatchingEventTypes: allTypes, SnsDestination: { TopicArn } },
  });
  await v2.createEmailIdentity({ EmailIdentity: `${name}.example.com` });
  return { TopicArn, QueueUrl };
}

/** Receives n event records, sorted by type. */
async function records(QueueUrl, n) {
  const out = [];
  while (out.length < n) {
    const { Messages } = await queues.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 });
    assert.ok(Messages, `${out.length} of ${n} records came`);
    for (const m of Messages) {
      await queues.deleteMessage({ QueueUrl, ReceiptHandle: m.ReceiptHandle });
      const text = JSON.parse(m.Body).Message;
      if (text.startsWith('{')) out.push(JSON.parse(text)); // the others are SES's test messages
    }
  }
  return out.sort((a, b) => (a.eventType < b.eventType ? -1 : 1));
}

test('STS', async () => {
  assert.equal((await new sts.STS(aws).getCallerIdentity({})).Account, '000000000000');
});

test('SES v2: formatted mail with headers and attachments', async () => {
  const { QueueUrl } = await setUp('js-simple');
  const { MessageId } = await v2.sendEmail({
    ConfigurationSetName: 'js-simple', FromEmailAddress: 'Anna Müller <anna@js-simple.example.com>',
    Destination: { ToAddresses: ['lena@example.net'], BccAddresses: ['success@simulator.amazonses.com'] },
    EmailTags: [{ Name: 'campaign', Value: 'spring' }],
    Content: { Simple: {
      Subject: { Data: 'Frühling' }, Body: { Text: { Data: 'Grüße' }, Html: { Data: '<p>Grüße</p>' } },
      Headers: [{ Name: 'X-Order', Value: '17' }],
      Attachments: [{ FileName: 'Liste.csv', RawContent: new TextEncoder().encode('a;b\n'), ContentType: 'text/csv' }],
    } },
  });
  const got = await records(QueueUrl, 3);
  assert.deepEqual(got.map((r) => r.eventType), ['Delivery', 'Delivery', 'Send']);
  for (const r of got) {
    assert.equal(r.mail.messageId, MessageId);
    assert.deepEqual(r.mail.tags.campaign, ['spring']);
    assert.ok(r.mail.headers.some((h) => h.name === 'X-Order' && h.value === '17'));
  }
  assert.deepEqual(got[2].mail.destination, ['lena@example.net', 'success@simulator.amazonses.com']);
  const captured = JSON.parse(await own(`messages/${MessageId}`));
  assert.equal(captured.attachments[0].name, 'Liste.csv');
  assert.equal(await own(`messages/${MessageId}/attachments/${captured.attachments[0].index}`), 'a;b\n');
  assert.doesNotMatch(await own(`messages/${MessageId}/raw`), /simulator\.amazonses/, 'the blind copy stays blind');
});

test('SES v2: raw mail', async () => {
  const { QueueUrl } = await setUp('js-raw');
  const { MessageId } = await v2.sendEmail({
    ConfigurationSetName: 'js-raw', Destination: { ToAddresses: ['bounce+js@simulator.amazonses.com'] },
    Content: { Raw: { Data: Buffer.from('From: a@js-raw.example.com\r\nSubject: raw\r\n\r\nhello\r\n') } },
  });
  const [bounce, send] = await records(QueueUrl, 2);
  assert.deepEqual([bounce.eventType, send.eventType], ['Bounce', 'Send']);
  assert.equal(bounce.mail.messageId, MessageId);
  assert.equal(bounce.bounce.bouncedRecipients[0].emailAddress, 'bounce+js@simulator.amazonses.com');
});

test('SES v1', async () => {
  const { QueueUrl, TopicArn } = await setUp('js-v1');
  const { MessageId } = await v1.sendEmail({
    ConfigurationSetName: 'js-v1', Source: 'a@js-v1.example.com', Destination: { ToAddresses: ['complaint@simulator.amazonses.com'] },
    Tags: [{ Name: 'campaign', Value: 'v1' }], Message: { Subject: { Data: 'v1' }, Body: { Text: { Data: 'hello' } } },
  });
  assert.deepEqual((await records(QueueUrl, 3)).map((r) => [r.eventType, r.mail.messageId]),
    ['Complaint', 'Delivery', 'Send'].map((t) => [t, MessageId]));
  const set = await v1.describeConfigurationSet({ ConfigurationSetName: 'js-v1', ConfigurationSetAttributeNames: ['eventDestinations'] });
  assert.deepEqual(set.EventDestinations, [{
    Name: 'all', Enabled: true, MatchingEventTypes: ['bounce', 'complaint', 'delivery', 'reject', 'send'], // v1 knows no delivery delays
    SNSDestination: { TopicARN: TopicArn },
  }]);
  await fails(() => v1.describeConfigurationSet({ ConfigurationSetName: 'nowhere' }),
    'ConfigurationSetDoesNotExistException', 'Configuration set <nowhere> does not exist.');
});

test('SES v2: refusals', async () => {
  await v2.createEmailIdentity({ EmailIdentity: 'js-refused.example.com' });
  const mail = { FromEmailAddress: 'a@js-refused.example.com', Destination: { ToAddresses: ['lena@example.net'] },
    Content: { Simple: { Subject: { Data: 'x' }, Body: { Text: { Data: 'x' } } } } };
  await fails(() => v2.sendEmail({ ...mail, ConfigurationSetName: 'nowhere' }), 'NotFoundException', 'Configuration set <nowhere> does not exist.');
  await fails(() => v2.sendEmail({ ...mail, FromEmailAddress: 'a@unknown.example.org' }), 'MessageRejected',
    'Email address is not verified. The following identities failed the check in region US-EAST-1: a@unknown.example.org');
  await fails(() => v2.sendEmail({ ...mail, Content: {} }), 'BadRequestException');
  await assert.rejects(() => v2.sendEmail({ ...mail, EmailTags: 'no list' }));
  await assert.rejects(() => topics.createPlatformApplication({ Name: 'x', Platform: 'GCM', Attributes: {} }), (e) => {
    assert.match(String(e), /CreatePlatformApplication/, 'an operation without a handler is named');
    assert.ok(e.$metadata.httpStatusCode < 500);
    return true;
  });
});

test('pages', async () => {
  const names = Array.from({ length: 11 }, (_, i) => `js-page-${String(i).padStart(2, '0')}`);
  for (const ConfigurationSetName of names) await v2.createConfigurationSet({ ConfigurationSetName });
  const found = [];
  for await (const page of sesv2.paginateListConfigurationSets({ client: v2, pageSize: 3 }, {})) {
    assert.ok(page.ConfigurationSets.length <= 3);
    found.push(...page.ConfigurationSets);
  }
  assert.deepEqual(found.filter((n) => n.startsWith('js-page-')), names);
});

test('SNS and SQS', async () => {
  const { TopicArn } = await topics.createTopic({ Name: 'js-direct', Attributes: { DisplayName: 'Direct' }, Tags: [{ Key: 'team', Value: 'mail' }] });
  assert.equal((await topics.getTopicAttributes({ TopicArn })).Attributes.DisplayName, 'Direct');
  const { QueueUrl } = await queues.createQueue({ QueueName: 'js-direct' });
  const { Attributes } = await queues.getQueueAttributes({ QueueUrl, AttributeNames: ['All'] });
  await topics.subscribe({ TopicArn, Protocol: 'sqs', Endpoint: Attributes.QueueArn, Attributes: { RawMessageDelivery: 'true' } });
  const text = 'Grüße & <Küsse> \u{1F33B}';
  await topics.publish({ TopicArn, Message: text, MessageAttributes: { n: { DataType: 'Number', StringValue: '17' } } });
  const { Messages } = await queues.receiveMessage({ QueueUrl, WaitTimeSeconds: 20, MessageAttributeNames: ['All'] });
  assert.equal(Messages[0].Body, text); // the SDK compares the digest
  assert.equal(Messages[0].MessageAttributes.n.StringValue, '17');
  await queues.changeMessageVisibility({ QueueUrl, ReceiptHandle: Messages[0].ReceiptHandle, VisibilityTimeout: 0 });
  const again = await queues.receiveMessage({ QueueUrl, WaitTimeSeconds: 20, MessageSystemAttributeNames: ['ApproximateReceiveCount'] });
  assert.equal(again.Messages[0].Attributes.ApproximateReceiveCount, '2');
  await fails(() => topics.publish({ TopicArn: `${TopicArn}-gone`, Message: 'x' }), 'NotFoundException', 'Topic does not exist');
  await assert.rejects(() => queues.getQueueUrl({ QueueName: 'nowhere' }), (e) => {
    assert.ok(e instanceof sqs.QueueDoesNotExist, String(e));
    return true;
  });
});
