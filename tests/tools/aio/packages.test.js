'use strict';
// `aio rt package`, `trigger` and `rule`.

const assert = require('node:assert/strict');
const { after, before, describe, test } = require('node:test');
const { User, annotation, until } = require('./support.js');

let user;
before(() => {
  user = new User();
  user.write('said.js', 'function main(args) { return { said: args.greeting }; }');
});
after(() => user.leave());

describe('aio rt package', () => {
  test('creates, binds, gets, updates, lists and deletes', async () => {
    const created = await user.json('package', 'create', 'aio-tools', '-p', 'greeting', 'hi', '-a', 'description', 'tools');
    assert.equal(created.version, '0.0.1');
    assert.equal(annotation(created, 'description'), 'tools');
    await user.fails(/resource already exists/, 'package', 'create', 'aio-tools');
    await user.aio('action', 'create', 'aio-tools/said', 'said.js');
    const invoked = async (name) => JSON.parse(await user.aio('action', 'invoke', name, '--result'));
    assert.deepEqual(await invoked('aio-tools/said'), { said: 'hi' });

    const [namespace] = await user.json('namespace', 'list');
    await user.json('package', 'bind', `/${namespace}/aio-tools`, 'aio-mine', '-p', 'greeting', 'servus');
    assert.deepEqual(await invoked('aio-mine/said'), { said: 'servus' });

    const updated = await user.json('package', 'update', 'aio-tools', '--shared', 'true');
    assert.equal(updated.publish, true);
    const got = JSON.parse(await user.aio('package', 'get', 'aio-tools'));
    assert.deepEqual(got.actions.map(({ name }) => name), ['said']);
    const names = (await user.json('package', 'list', '--limit', '200')).map(({ name }) => name);
    assert.ok(names.includes('aio-tools') && names.includes('aio-mine'), names.join());
    assert.match(await user.aio('package', 'list', '--count'), /You have \d+ packages in this namespace/);

    await user.fails(/package not empty/i, 'package', 'delete', 'aio-tools');
    await user.aio('package', 'delete', 'aio-mine');
    // `--recursive` puts the package into the namespace as `%2F`, which OpenWhisk refuses.
    await user.aio('action', 'delete', 'aio-tools/said');
    await user.aio('package', 'delete', 'aio-tools');
    await user.fails(/does not exist/, 'package', 'get', 'aio-tools');
  });
});

describe('aio rt trigger and rule', () => {
  test('join, fire, switch and part', async () => {
    await user.aio('action', 'create', 'aio-told', 'said.js');
    await user.aio('trigger', 'create', 'aio-tick', '-p', 'greeting', 'tick');
    const rule = await user.json('rule', 'create', 'aio-join', 'aio-tick', 'aio-told');
    assert.equal(rule.status, 'active');
    const { activationId } = JSON.parse(await user.aio('trigger', 'fire', 'aio-tick', '-p', 'more', '1'));
    assert.match(activationId, /^[0-9a-f]{32}$/);
    await until('activation of the action', async () => {
      const [activation] = await user.json('activation', 'list', 'aio-told');
      if (!activation) return false;
      const result = JSON.parse(await user.aio('activation', 'result', activation.activationId));
      assert.deepEqual(result.result, { said: 'tick' });
      return true;
    });

    assert.match(await user.aio('rule', 'disable', 'aio-join'), /Rules Disabled! "OK"/);
    assert.equal(await user.aio('rule', 'status', 'aio-join'), 'inactive\n');
    await user.aio('rule', 'enable', 'aio-join');
    assert.equal(JSON.parse(await user.aio('rule', 'get', 'aio-join')).status, 'active');
    await user.aio('rule', 'update', 'aio-join', 'aio-tick', 'aio-told');
    const rules = await user.json('rule', 'list');
    assert.equal(rules.find(({ name }) => name === 'aio-join').status, 'active');

    await user.aio('trigger', 'update', 'aio-tick', '-p', 'greeting', 'tock');
    const trigger = JSON.parse(await user.aio('trigger', 'get', 'aio-tick'));
    assert.deepEqual(trigger.parameters, [{ key: 'greeting', value: 'tock' }]);
    assert.ok((await user.json('trigger', 'list')).some(({ name }) => name === 'aio-tick'));

    await user.aio('rule', 'delete', 'aio-join');
    await user.aio('trigger', 'delete', 'aio-tick');
    await user.aio('action', 'delete', 'aio-told');
    await user.fails(/does not exist/, 'trigger', 'get', 'aio-tick');
  });

  test('tell a feed of the life of a trigger', async () => {
    user.write('feed.js', `async function main(args) {
      return { told: args.lifecycleEvent, of: args.triggerName, every: args.every };
    }`);
    await user.aio('action', 'create', 'aio-feed', 'feed.js', '-a', 'feed', 'true');
    await user.aio('trigger', 'create', 'aio-fed', '--feed', 'aio-feed', '-p', 'every', '5');
    const trigger = JSON.parse(await user.aio('trigger', 'get', 'aio-fed'));
    assert.match(annotation(trigger, 'feed'), /aio-feed$/);
    await user.aio('trigger', 'delete', 'aio-fed');
    await until('both events in the records', async () => {
      const activations = await user.json('activation', 'list', 'aio-feed');
      const told = [];
      for (const { activationId } of activations) {
        told.push(JSON.parse(await user.aio('activation', 'result', activationId)).result.told);
      }
      return told.includes('CREATE') && told.includes('DELETE');
    });
    await user.aio('action', 'delete', 'aio-feed');
  });
});
