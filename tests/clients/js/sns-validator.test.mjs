// SNS notifications over https, verified by the unpatched package sns-validator.
//
// E is https, and this process trusts Sestina's local CA (NODE_EXTRA_CA_CERTS),
// which also signed this endpoint's certificate (CERT, KEY), so both sides check
// the other's certificate.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { test } from 'node:test';
import { SESv2 } from '@aws-sdk/client-sesv2';
import { SNS } from '@aws-sdk/client-sns';
import MessageValidator from 'sns-validator';
import { allTypes, aws, awaited, E } from './environment.mjs';

assert.match(E, /^https:/);
const topics = new SNS(aws), v2 = new SESv2(aws);
// The certificate has to come from Sestina's public URL, port included.
const validator = new MessageValidator(new RegExp('^' + new URL(E).host.replaceAll('.', '\\.') + '$'));

const validate = (body) => new Promise((ok, fail) => validator.validate(body, (e, message) => (e ? fail(e) : ok(message))));

/** Starts a subscriber that verifies whatever it gets before it believes it. */
async function subscriber(t, protocol) {
  const tls = { cert: fs.readFileSync(process.env.CERT), key: fs.readFileSync(process.env.KEY) };
  const seen = { confirmed: awaited('confirmation'), notifications: [], waiting: [], faults: [] };
  const handle = async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    try {
      const message = await validate(body);
      assert.equal(request.headers['x-amz-sns-message-type'], message.Type);
      assert.equal(request.headers['content-type'], 'text/plain; charset=UTF-8');
      if (message.Type === 'SubscriptionConfirmation') {
        const answer = await fetch(message.SubscribeURL);
        assert.equal(answer.status, 200);
        seen.confirmed.resolve(message);
      } else {
        (seen.waiting.shift() ?? ((m) => seen.notifications.push(m)))(message);
      }
      response.end();
    } catch (e) {
      seen.faults.push(e);
      response.writeHead(500).end();
      seen.confirmed.resolve(undefined);
      seen.waiting.shift()?.(undefined);
    }
  };
  const server = protocol === 'https' ? https.createServer(tls, handle) : http.createServer(handle);
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  // closeAllConnections leaves out connections on which no request came yet.
  t.after(() => { server.close(); sockets.forEach((socket) => socket.destroy()); });
  seen.url = `${protocol}://127.0.0.1:${server.address().port}/hook?key=a%20b`;
  seen.next = async () => {
    if (seen.notifications.length) return seen.notifications.shift();
    const { promise, resolve } = awaited('notification');
    seen.waiting.push(resolve);
    const message = await promise;
    assert.deepEqual(seen.faults, []);
    return message;
  };
  return seen;
}

for (const version of ['1', '2']) {
  for (const protocol of ['https', 'http']) {
    test(`signature version ${version} to ${protocol}`, async (t) => {
      const seen = await subscriber(t, protocol);
      const name = `signed-${version}-${protocol}`;
      const { TopicArn } = await topics.createTopic({ Name: name, Attributes: version === '2' ? { SignatureVersion: '2' } : {} });
      await topics.subscribe({ TopicArn, Protocol: protocol, Endpoint: seen.url });
      const confirmation = await seen.confirmed.promise;
      assert.deepEqual(seen.faults, []);
      assert.equal(confirmation.SignatureVersion, version);
      assert.match(confirmation.SubscribeURL, /^https:/);

      await topics.publish({ TopicArn, Message: 'Grüße & <Küsse>\n\u{1F33B}', Subject: 'flowers' });
      const published = await seen.next();
      assert.deepEqual([published.Type, published.Message, published.Subject, published.SignatureVersion],
        ['Notification', 'Grüße & <Küsse>\n\u{1F33B}', 'flowers', version]);
      assert.match(published.SigningCertURL, /\/SimpleNotificationService-[0-9a-f]{32}\.pem$/);

      await assert.rejects(validate(JSON.stringify({ ...published, Message: 'forged' })), /signature is invalid/);
      await assert.rejects(validate(JSON.stringify({ ...published, SignatureVersion: version === '1' ? '2' : '1' })), /signature is invalid/);

      await v2.createConfigurationSet({ ConfigurationSetName: name });
      await v2.createConfigurationSetEventDestination({
        ConfigurationSetName: name, EventDestinationName: 'all',
        EventDestination: { Enabled: true, MatchingEventTypes: allTypes, SnsDestination: { TopicArn } },
      });
      const first = await seen.next();
      assert.equal(first.Message, 'Successfully validated SNS topic for Amazon SES event publishing.');
      await v2.createEmailIdentity({ EmailIdentity: `${name}.example.com` });
      const { MessageId } = await v2.sendEmail({
        ConfigurationSetName: name, FromEmailAddress: `a@${name}.example.com`, Destination: { ToAddresses: ['lena@example.net'] },
        Content: { Simple: { Subject: { Data: 'Frühling' }, Body: { Text: { Data: 'Grüße' } } } },
      });
      const records = [JSON.parse((await seen.next()).Message), JSON.parse((await seen.next()).Message)];
      assert.deepEqual(records.map((r) => r.eventType).sort(), ['Delivery', 'Send']);
      assert.deepEqual(records.map((r) => r.mail.messageId), [MessageId, MessageId]);
    });
  }
}
