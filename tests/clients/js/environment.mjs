// What tests/clients tells these scripts, and what they share.
import assert from 'node:assert/strict';

/** The HTTP address of a fresh Sestina, its SMTP address as host and port. */
export const E = process.env.E;
export const [smtpHost, smtpPort] = (process.env.SMTP ?? ':').split(':');

/** Options of every AWS client: no retries, which would hide a wrong answer. */
export const aws = { endpoint: E, region: 'us-east-1', maxAttempts: 1, credentials: { accessKeyId: 'any', secretAccessKey: 'any' } };

export const allTypes = ['SEND', 'DELIVERY', 'BOUNCE', 'COMPLAINT', 'REJECT', 'DELIVERY_DELAY'];

/** Asserts that a call fails with an exception of this name and text. */
export async function fails(call, name, message) {
  await assert.rejects(call, (e) => {
    assert.equal(e.name, name);
    if (message !== undefined) assert.equal(e.message, message);
    assert.ok(e.$metadata.requestId, 'a request id');
    assert.equal(e.$metadata.attempts, 1);
    return true;
  });
}

/** The value of a promise that somebody else resolves, with a time limit. */
export function awaited(what, seconds = 20) {
  let resolve;
  const promise = new Promise((ok, fail) => {
    const timer = setTimeout(() => fail(new Error(`${what}: not within ${seconds} s`)), seconds * 1000);
    resolve = (v) => { clearTimeout(timer); ok(v); };
  });
  promise.catch(() => {}); // whoever awaits it sees the failure
  return { promise, resolve };
}

/** One call of Sestina's own API. */
export async function own(path) {
  const answer = await fetch(`${E}/sestina/v1/${path}`);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return text;
}
