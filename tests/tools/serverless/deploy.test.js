'use strict';
// `serverless deploy`, `invoke` and `remove` with the provider for OpenWhisk.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const openwhisk = require('openwhisk');

const DEADLINE_MS = 120_000;

const required = (name, example) => {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}, for example ${example}`);
  return value;
};

const HOST = required('TRIPLANE_URL', 'http://127.0.0.1:3233');
const AUTH = required('TRIPLANE_AUTH', 'uuid:key');
const ow = openwhisk({ apihost: HOST, api_key: AUTH });

// The service in a directory of its own, because what is deployed is what is in it.
let directory;
before(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'triplane-serverless-'));
  fs.cpSync(path.join(__dirname, 'service'), directory, { recursive: true });
  fs.symlinkSync(path.join(__dirname, 'node_modules'), path.join(directory, 'node_modules'));
});
after(() => fs.rmSync(directory, { recursive: true }));

const serverless = (...words) => new Promise((resolve, reject) => {
  const env = {
    ...process.env,
    HOME: directory,
    OW_APIHOST: HOST,
    OW_AUTH: AUTH,
    SLS_TELEMETRY_DISABLED: '1',
    SLS_NOTIFICATIONS_MODE: 'off',
  };
  const command = path.join(__dirname, 'node_modules/serverless/bin/serverless.js');
  const options = { cwd: directory, env, timeout: DEADLINE_MS };
  const child = execFile(process.execPath, [command, ...words], options, (error, out, err) => {
    if (error) reject(new Error(`serverless ${words.join(' ')}: ${out}${err}`));
    else resolve(out);
  });
  // It reads on for a payload as long as somebody might type.
  child.stdin.end();
});

const until = async (what, probe) => {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`no ${what} in time`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
};

const missing = async (promise) => {
  await assert.rejects(promise, { statusCode: 404 });
};

test('a service with functions, a sequence, a trigger and a rule is deployed, works, is deployed again and removed', async () => {
  await serverless('deploy');
  const { limits, annotations } = await ow.actions.get('sls-hello');
  assert.deepEqual([limits.memory, limits.timeout], [128, 30_000]);
  assert.equal(annotations.find(({ key }) => key === 'description').value, 'greets');
  assert.match(await serverless('invoke', '-f', 'hello'), /"hello": "bound"/);
  assert.match(await serverless('invoke', '-f', 'hello', '-d', '{"name": "you"}'), /"hello": "you"/);

  const both = await ow.actions.invoke({ name: 'sls-both', params: { name: 'you' }, blocking: true, result: true });
  assert.deepEqual(both, { shout: 'YOU!' });

  assert.equal((await ow.rules.get('sls-shout-it')).status, 'active');
  const { activationId } = await ow.triggers.invoke({ name: 'sls-heard', params: { hello: 'quiet' } });
  assert.match(activationId, /^[0-9a-f]{32}$/);
  await until('activation of the function', async () => {
    // The one that the sequence made has a cause.
    const activations = await ow.activations.list({ name: 'sls-shout', docs: true });
    const activation = activations.find(({ cause }) => cause === undefined);
    if (activation) assert.deepEqual(activation.response.result, { shout: 'QUIET!' });
    return activation;
  });

  await serverless('deploy');
  assert.equal((await ow.actions.get('sls-hello')).version, '0.0.2');
  await serverless('remove');
  await missing(ow.actions.get('sls-hello'));
  await missing(ow.actions.get('sls-shout'));
  await missing(ow.actions.get('sls-both'));
  await missing(ow.triggers.get('sls-heard'));
  await missing(ow.rules.get('sls-shout-it'));
});
