'use strict';
// The unmodified npm client: packages, triggers, rules and feeds.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { annotation, client, createAction, rejection, request, unique, until } = require('./support.js');

const SAID = 'function main(args) { return { said: args.greeting }; }';
const FEED = `function main(args) {
  if (args.bad) return { error: 'no' };
  return { told: args.lifecycleEvent, of: args.triggerName, every: args.every, hasKey: /^.+:.+$/.test(args.authKey) };
}`;

const greeting = (value) => [{ key: 'greeting', value }];

// Deletes something with the test; what is gone already is as well. Packages go with what is in them.
const goes = (t, resource, name) => t.after(async () => {
  const qs = resource === 'packages' ? '?force=true' : '';
  const { status } = await request('DELETE', `/api/v1/namespaces/_/${resource}/${name}${qs}`);
  assert.ok(status === 200 || status === 404, `DELETE ${name} was answered ${status}`);
});

// Creates something that goes with the test; answers its name.
const create = async (t, resource, options = {}) => {
  const name = options.name ?? unique(resource.slice(0, -1));
  goes(t, resource, name);
  await client()[resource].create({ name, ...options });
  return name;
};

const rejects = async (promise, statusCode, text) => {
  const error = await rejection(promise);
  assert.equal(error.statusCode, statusCode, error.message);
  assert.match(error.error.error, text);
};

const names = (list) => list.map(({ name }) => name);

describe('packages', () => {
  test('are created, read, updated, listed and deleted', async (t) => {
    const ow = client();
    const name = unique('package');
    goes(t, 'packages', name);
    const created = await ow.packages.create({ name, package: { parameters: greeting('hi') } });
    assert.deepEqual([created.version, created.publish, created.parameters],
      ['0.0.1', false, greeting('hi')]);
    await rejects(ow.packages.create({ name }), 409, /^resource already exists$/);
    const updated = await ow.packages.update({
      name, package: { publish: true, annotations: [{ key: 'description', value: 'tools' }] },
    });
    assert.deepEqual([updated.version, updated.publish, annotation(updated, 'description')], ['0.0.2', true, 'tools']);
    assert.equal((await ow.packages.get({ name })).name, name);
    assert.ok(names(await ow.packages.list({ limit: 200 })).includes(name));
    await ow.packages.list({ public: true });
    assert.equal((await ow.packages.delete({ name })).name, name);
    await rejects(ow.packages.get({ name }), 404, /does not exist\.$/);
  });

  test('hold actions, and give them parameters', async (t) => {
    const ow = client();
    const holder = await create(t, 'packages', { package: { parameters: greeting('hi') } });
    const name = `${holder}/said`;
    await createAction(t, SAID, { name });
    assert.deepEqual(await ow.actions.invoke({ name, blocking: true, result: true }), { said: 'hi' });
    const got = await ow.packages.get({ name: holder });
    assert.deepEqual([names(got.actions), got.feeds, got.binding], [['said'], [], {}]);
    await rejects(ow.packages.delete({ name: holder }), 409, /^Package not empty \(contains 1 entity\)\./);
  });

  test('are bound', async (t) => {
    const ow = client();
    const [namespace] = await ow.namespaces.list();
    const provider = await create(t, 'packages', { package: { parameters: greeting('hi') } });
    await createAction(t, SAID, { name: `${provider}/said` });
    const bound = await create(t, 'packages', {
      package: { binding: { namespace, name: provider }, parameters: greeting('servus') },
    });
    const said = await ow.actions.invoke({ name: `${bound}/said`, blocking: true, result: true });
    assert.deepEqual(said, { said: 'servus' });
    assert.deepEqual((await ow.packages.get({ name: bound })).binding, { namespace, name: provider });
  });
});

describe('triggers and rules', () => {
  test('are created, read, updated, listed and deleted', async (t) => {
    const ow = client();
    const action = await createAction(t, SAID);
    const trigger = await create(t, 'triggers', { trigger: { parameters: greeting('tick') } });
    const rule = unique('rule');
    goes(t, 'rules', rule);
    const created = await ow.rules.create({ name: rule, action, trigger });
    assert.deepEqual([created.status, created.trigger.name, created.action.name], ['active', trigger, action]);
    assert.equal((await ow.triggers.get({ name: trigger })).name, trigger);
    assert.ok(names(await ow.triggers.list({ limit: 200 })).includes(trigger));
    assert.ok(names(await ow.rules.list({ limit: 200 })).includes(rule));

    const updated = await ow.triggers.update({ name: trigger, trigger: { parameters: greeting('tock') } });
    assert.deepEqual([updated.version, updated.parameters], ['0.0.2', greeting('tock')]);
    assert.equal((await ow.rules.update({ name: rule, action, trigger })).status, 'active');
    assert.equal((await ow.rules.delete({ name: rule })).name, rule);
    assert.equal((await ow.triggers.delete({ name: trigger })).name, trigger);
    await rejects(ow.triggers.get({ name: trigger }), 404, /^The requested resource does not exist\.$/);
    await rejects(ow.rules.get({ name: rule }), 404, /^The requested resource does not exist\.$/);
  });

  test('invoke actions with what the trigger has and what it is fired with', async (t) => {
    const ow = client();
    const action = await createAction(t, SAID);
    const trigger = await create(t, 'triggers', { trigger: { parameters: greeting('tick') } });
    const rule = await create(t, 'rules', { action, trigger });
    for (const [params, said] of [[{}, 'tick'], [{ greeting: 'mine' }, 'mine']]) {
      const { activationId } = await ow.triggers.invoke({ name: trigger, params });
      const record = await until('record of the trigger', () => ow.activations.get(activationId));
      assert.deepEqual(record.response.result, params);
      const [log] = record.logs.map((line) => JSON.parse(line));
      assert.equal(log.success, true, record.logs.join());
      const result = await until('result of the action', () => ow.activations.result(log.activationId));
      assert.deepEqual(result.result, { said });
    }
    assert.equal((await ow.rules.get({ name: rule })).status, 'active');
  });

  test('are switched off and on', async (t) => {
    const ow = client();
    const action = await createAction(t, SAID);
    const trigger = await create(t, 'triggers');
    const rule = await create(t, 'rules', { action, trigger });
    await ow.rules.disable({ name: rule });
    assert.equal((await ow.rules.get({ name: rule })).status, 'inactive');
    // Nothing is invoked, so there is nothing to answer.
    assert.ok(!(await ow.triggers.invoke({ name: trigger }))?.activationId);
    await ow.rules.enable({ name: rule });
    assert.equal((await ow.rules.get({ name: rule })).status, 'active');
  });

  test('need both ends', async (t) => {
    const ow = client();
    const action = await createAction(t, SAID);
    const name = unique('rule');
    goes(t, 'rules', name);
    await rejects(ow.rules.create({ name, action, trigger: 'nothing' }), 400, /trigger \/.+\/nothing does not exist/);
  });
});

describe('feeds', () => {
  test('are told of the life of a trigger', async (t) => {
    const ow = client();
    const [namespace] = await ow.namespaces.list();
    const name = await createAction(t, FEED, { annotations: { feed: true } });
    const trigger = await create(t, 'triggers', { annotations: { feed: `/${namespace}/${name}` } });
    for (const [verb, event] of [['create', 'CREATE'], ['get', 'READ'], ['update', 'UPDATE'], ['delete', 'DELETE']]) {
      const record = await ow.feeds[verb]({ name, trigger, params: { every: 5 } });
      const { told, of, every, hasKey } = record.response.result;
      assert.deepEqual([told, every, hasKey], [event, 5, true]);
      assert.match(of, new RegExp(`^/.+/${trigger}$`));
    }
    const refused = await rejection(ow.feeds.create({ name, trigger, params: { bad: true } }));
    assert.equal(refused.statusCode, 502);
  });
});

describe('a namespace', () => {
  test('is read whole', async (t) => {
    const action = await createAction(t, SAID);
    const trigger = await create(t, 'triggers');
    const holder = await create(t, 'packages');
    const rule = await create(t, 'rules', { action, trigger });
    const [namespace] = await client().namespaces.list();
    const whole = await client().namespaces.get({ namespace });
    for (const [resource, name] of [['actions', action], ['triggers', trigger], ['packages', holder], ['rules', rule]]) {
      assert.ok(names(whole[resource]).includes(name), resource);
    }
  });
});
