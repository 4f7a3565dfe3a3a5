// Calls every service once with the credentials of the environment and prints
// "ok" or the error of each.
import { SES } from '@aws-sdk/client-ses';
import { SESv2 } from '@aws-sdk/client-sesv2';
import { SNS } from '@aws-sdk/client-sns';
import { SQS } from '@aws-sdk/client-sqs';
import { STS } from '@aws-sdk/client-sts';

const aws = { endpoint: process.env.E, region: 'eu-central-1', maxAttempts: 1 };
const topic = 'arn:aws:sns:eu-central-1:000000000000:a';
for (const [name, call] of Object.entries({
  sts: () => new STS(aws).getCallerIdentity({}),
  sns: () => new SNS(aws).createTopic({ Name: 'a', Tags: [{ Key: 'ü & =+', Value: 'b c' }] }),
  sqs: () => new SQS(aws).createQueue({ QueueName: 'a' }),
  ses: () => new SES(aws).listConfigurationSets({}),
  sesv2: () => new SESv2(aws).createConfigurationSet({ ConfigurationSetName: 'a' }),
  // An ARN in the query string, and a label that has to be escaped.
  'sesv2 tags': () => new SESv2(aws).listTagsForResource({ ResourceArn: 'arn:aws:ses:eu-central-1:000000000000:configuration-set/a' }),
  'sesv2 address': () => new SESv2(aws).getEmailIdentity({ EmailIdentity: 'a+b c@example.com' }).catch((e) => {
    if (e.name !== 'NotFoundException') throw e;
  }),
  'sns attributes': () => new SNS(aws).getTopicAttributes({ TopicArn: topic }),
})) {
  try {
    await call();
    console.log(`${name}: ok`);
  } catch (e) {
    console.log(`${name}: ${e.name}: ${e.message}`);
  }
}
