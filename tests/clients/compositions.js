'use strict';
// Compositions of npm openwhisk-composer, deployed and run. Started by `composer` in crates/triplane/tests/it: the server must let
// Node.js actions require `openwhisk`, `redis`, `redis-commands` and `uuid`, and reach TRIPLANE_REDIS.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const composer = require('openwhisk-composer');
const composerClient = require('openwhisk-composer/client');
const { AUTH, URL_UNDER_TEST, annotation, client, unique, until } = require('./support.js');

const REDIS = process.env.TRIPLANE_REDIS;

// A copy of an inline action under a name of its own, so that compositions do not share actions.
const action = (code) => composer.action(unique('step'), { action: code });

// Deploys a composition as its command does; answers its name.
const deploy = async (t, composition) => {
  const name = unique('composition');
  const wsk = composerClient({ apihost: URL_UNDER_TEST, api_key: AUTH });
  const compiled = Object.assign({ name }, composition.compile());
  const deployed = await wsk.compositions.deploy(compiled, true);
  t.after(() => Promise.all(deployed.map((made) => client().actions.delete(made.name).catch(() => {}))));
  return name;
};

const record = async (name, params = {}) => {
  const options = { name, params, blocking: true };
  return client().actions.invoke(options).catch((error) => error.error.response ? error.error : Promise.reject(error));
};

const run = async (t, composition, params) => (await record(await deploy(t, composition), params)).response.result;

describe('composer', () => {
  test('a sequence hands results on, and its record lists conductor and actions in turn', async (t) => {
    const add = (n) => action(`function main(p) { return { n: p.n + ${n} } }`);
    const name = await deploy(t, composer.sequence(add(1), add(10)));
    const ended = await record(name, { n: 100 });
    assert.deepEqual(ended.response.result, { n: 111 });
    assert.equal(ended.logs.length, 5);
    assert.deepEqual([annotation(ended, 'kind'), annotation(ended, 'conductor'), annotation(ended, 'topmost')], ['sequence', true, true]);
    const runs = await Promise.all(ended.logs.map((id) => until('record', () => client().activations.get(id))));
    assert.deepEqual(runs.map((one) => one.name === name), [true, false, true, false, true]);
    assert.deepEqual([...new Set(runs.map((one) => one.cause))], [ended.activationId]);
    assert.ok(runs.every((one) => annotation(one, 'causedBy') === 'sequence'));
    assert.equal(ended.duration, runs.reduce((sum, one) => sum + one.duration, 0));
  });

  test('functions run in the conductor', async (t) => {
    assert.deepEqual(await run(t, composer.seq((p) => ({ n: p.n * 2 }), (p) => ({ n: p.n + 1 })), { n: 3 }), { n: 7 });
  });

  test('if takes one of its ways', async (t) => {
    const name = await deploy(t, composer.if(
      action('function main(p) { return { value: p.n % 2 === 0 } }'),
      action('function main(p) { return { even: p.n } }'),
      action('function main(p) { return { odd: p.n } }')));
    assert.deepEqual((await record(name, { n: 4 })).response.result, { even: 4 });
    assert.deepEqual((await record(name, { n: 5 })).response.result, { odd: 5 });
  });

  test('while repeats', async (t) => {
    const counts = action('function main(p) { return { n: p.n - 1 } }');
    assert.deepEqual(await run(t, composer.while((p) => ({ value: p.n > 0 }), counts), { n: 5 }), { n: 0 });
  });

  test('let declares what functions share', async (t) => {
    const composition = composer.let({ i: 3, sum: 0 },
      composer.while(() => i-- > 0, () => { sum += 2; }), // eslint-disable-line no-undef
      () => ({ sum })); // eslint-disable-line no-undef
    assert.deepEqual(await run(t, composition, {}), { sum: 6 });
  });

  test('try catches, and without it an error is the answer', async (t) => {
    const fails = action("function main() { return { error: 'no' } }");
    assert.deepEqual(await run(t, composer.try(fails, (p) => ({ caught: p.error }))), { caught: 'no' });
    const name = await deploy(t, composer.seq(fails, action('function main(p) { return p }')));
    const ended = await record(name);
    assert.deepEqual([ended.response.status, ended.response.result], ['application error', { error: 'no' }]);
  });

  test('finally runs whatever happened', async (t) => {
    const finalizer = (p) => ({ end: p.error || p.ok });
    assert.deepEqual(await run(t, composer.finally(action("function main() { return { error: 'no' } }"), finalizer)), { end: 'no' });
    assert.deepEqual(await run(t, composer.finally(action('function main() { return { ok: 1 } }'), finalizer)), { end: 1 });
  });

  test('retry tries again', async (t) => {
    const composition = composer.let({ left: 2 }, composer.retry(3, composer.seq(
      () => ({ left: left-- }), // eslint-disable-line no-undef
      action("function main(p) { return p.left > 0 ? { error: 'again' } : { done: true } }"))));
    assert.deepEqual(await run(t, composition), { done: true });
  });

  test('compositions are parts of compositions', async (t) => {
    const inner = await deploy(t, composer.seq((p) => ({ n: p.n + 1 })));
    assert.deepEqual(await run(t, composer.repeat(3, inner), { n: 0 }), { n: 3 });
  });

  test('parallel runs its parts at once and collects what they answer', async (t) => {
    const composition = composer.parallel((p) => ({ n: p.n + 1 }), action('function main(p) { return { n: p.n + 2 } }'));
    const params = { n: 1, $composer: { redis: { uri: REDIS }, openwhisk: { ignore_certs: true } } };
    assert.deepEqual(await run(t, composition, params), { value: [{ n: 2 }, { n: 3 }] });
  });

  test('map runs its body for each', async (t) => {
    const composition = composer.map(action('function main(p) { return { square: p.value * p.value } }'));
    const params = { value: [1, 2, 3], $composer: { redis: { uri: REDIS } } };
    assert.deepEqual(await run(t, composition, params), { value: [{ square: 1 }, { square: 4 }, { square: 9 }] });
  });

  test('parallel without Redis says what it needs', async (t) => {
    const ended = await run(t, composer.parallel(() => 1));
    assert.match(ended.error, /Parallel combinator requires a properly configured redis instance/);
  });
});
