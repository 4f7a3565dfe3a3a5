// Mail by SMTP from nodemailer, over STARTTLS and with AUTH, with the headers
// that name the configuration set and the tags.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import nodemailer from 'nodemailer';
import { SESv2 } from '@aws-sdk/client-sesv2';
import { aws, own, smtpHost, smtpPort } from './environment.mjs';

const v2 = new SESv2(aws);
await v2.createEmailIdentity({ EmailIdentity: 'example.com' });
await v2.createConfigurationSet({ ConfigurationSetName: 'spring' });

/** The certificate is checked: this process trusts Sestina's local CA. */
const options = { host: smtpHost, port: Number(smtpPort), secure: false, requireTLS: true };

const mail = (to, more) => ({
  from: '"Anna Müller" <anna@example.com>', to, subject: 'Frühling', text: 'Grüße', html: '<p>Grüße</p>',
  headers: { 'X-SES-CONFIGURATION-SET': 'spring', 'X-SES-MESSAGE-TAGS': 'campaign=spring, kind=test' }, ...more,
});

/** Waits until Sestina has seen an event of the message. */
async function eventsOf(id, type) {
  const { events } = JSON.parse(await own(`events?messageId=${id}&type=${type}&wait=20s`));
  assert.ok(events.length > 0, `a ${type} event of ${id}`);
  return JSON.parse(await own(`messages/${id}`));
}

for (const method of ['PLAIN', 'LOGIN']) {
  test(`STARTTLS and AUTH ${method}`, async () => {
    const transport = nodemailer.createTransport({ ...options, authMethod: method, auth: { user: 'any', pass: 'any' } });
    const sent = await transport.sendMail(mail('bounce+nodemailer@simulator.amazonses.com'));
    transport.close();
    const [, id] = sent.response.match(/^250 Ok (\S+)$/) ?? assert.fail(sent.response);
    const message = await eventsOf(id, 'BOUNCE');
    assert.deepEqual(message.events, ['Send', 'Bounce']);
    assert.deepEqual([message.subject, message.text.trim(), message.configurationSet], ['Frühling', 'Grüße', 'spring']);
    assert.deepEqual([message.tags.campaign, message.tags.kind], [['spring'], ['test']]);
    assert.doesNotMatch(await own(`messages/${id}/raw`), /X-SES-/i);
  });
}

test('a pool of connections, attachments and blind copies', async () => {
  const transport = nodemailer.createTransport({ ...options, pool: true, maxConnections: 3, auth: { user: 'any', pass: 'any' } });
  const big = Buffer.alloc(300_000, 'attachment ');
  const sent = await Promise.all(Array.from({ length: 20 }, (_, i) => transport.sendMail(mail(`lena${i}@example.net`, {
    bcc: 'blind@example.net', attachments: [{ filename: 'Übersicht.bin', content: big }],
  }))));
  transport.close();
  for (const [i, s] of sent.entries()) {
    const id = s.response.split(' ').pop();
    const message = await eventsOf(id, 'DELIVERY');
    assert.deepEqual(message.recipients.toSorted(), ['blind@example.net', `lena${i}@example.net`]);
    assert.deepEqual(message.attachments.map((a) => [a.name, a.size]), [['Übersicht.bin', big.length]]);
    assert.doesNotMatch(await own(`messages/${id}/raw`), /blind@/);
  }
});

test('refusals', async () => {
  const transport = nodemailer.createTransport({ ...options, auth: { user: 'any', pass: 'any' } });
  await assert.rejects(transport.sendMail(mail('lena@example.net', { from: 'a@unknown.example.org' })), (e) => {
    assert.equal(e.responseCode, 554);
    assert.match(e.response, /^554 Message rejected: Email address is not verified\. The following identities failed the check in region US-EAST-1: a@unknown\.example\.org/);
    return true;
  });
  await assert.rejects(transport.sendMail(mail('lena@example.net', { headers: { 'X-SES-CONFIGURATION-SET': 'nowhere' } })), (e) => {
    assert.equal(e.responseCode, 554);
    assert.match(e.response, /Configuration set <nowhere> does not exist/);
    return true;
  });
  transport.close();
});
