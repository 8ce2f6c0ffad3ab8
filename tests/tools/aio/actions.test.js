'use strict';
// `aio rt action`, `activation`, `namespace` and `property`.

const assert = require('node:assert/strict');
const { after, before, describe, test } = require('node:test');
const { AUTH, HOST, User, annotation, until } = require('./support.js');

const HELLO = 'function main(args) { console.log("called"); return { hello: args.name || "stranger" }; }';

let user;
before(() => { user = new User(); });
after(() => user.leave());

describe('aio rt action', () => {
  test('creates, gets, updates, lists and deletes', async () => {
    user.write('hello.js', HELLO);
    user.write('params.json', '{"name": "file"}');
    const created = await user.json('action', 'create', 'aio-hello', 'hello.js',
      '-p', 'a', '1', '-a', 'description', 'greets', '-t', '5000', '-m', '128', '-l', '1');
    assert.equal(created.version, '0.0.1');
    assert.deepEqual(created.limits, { timeout: 5000, memory: 128, logs: 1, concurrency: 1 });
    assert.equal(annotation(created, 'description'), 'greets');
    await user.fails(/resource already exists/, 'action', 'create', 'aio-hello', 'hello.js');

    const updated = await user.json('action', 'update', 'aio-hello', 'hello.js', '--web', 'true', '-P', 'params.json');
    assert.equal(updated.version, '0.0.2');
    assert.equal(annotation(updated, 'web-export'), true);

    const got = await user.aio('action', 'get', 'aio-hello');
    assert.match(got, /^aio-hello\n/);
    assert.equal(JSON.parse(got.slice(got.indexOf('{'))).version, '0.0.2');
    assert.match(await user.aio('action', 'get', 'aio-hello', '--url'), /\/api\/v1\/web\/.+\/default\/aio-hello/);
    assert.equal(await user.aio('action', 'get', 'aio-hello', '--code'), `${HELLO}\n`);
    await user.aio('action', 'get', 'aio-hello', '--save-as', 'saved.js');
    assert.equal(user.read('saved.js'), HELLO);

    const listed = await user.json('action', 'list', '--limit', '200');
    assert.ok(listed.some(({ name }) => name === 'aio-hello'));
    assert.match(await user.aio('action', 'list'), /aio-hello/);

    assert.equal(await user.aio('action', 'delete', 'aio-hello'), '');
    await user.fails(/does not exist/, 'action', 'get', 'aio-hello');
  });

  test('invokes, with and without waiting', async (t) => {
    user.write('hello.js', HELLO);
    await user.aio('action', 'create', 'aio-invoked', 'hello.js');
    t.after(() => user.aio('action', 'delete', 'aio-invoked'));
    assert.deepEqual(JSON.parse(await user.aio('action', 'invoke', 'aio-invoked', '--result', '-p', 'name', 'you')), { hello: 'you' });
    const record = JSON.parse(await user.aio('action', 'invoke', 'aio-invoked', '--blocking'));
    assert.deepEqual(record.response.result, { hello: 'stranger' });
    const { activationId } = JSON.parse(await user.aio('action', 'invoke', 'aio-invoked'));
    assert.match(activationId, /^[0-9a-f]{32}$/);
    await user.fails(/does not exist/, 'action', 'invoke', 'aio-nobody');
  });
});

describe('aio rt activation', () => {
  test('lists and shows activations, their results and logs', async (t) => {
    user.write('hello.js', HELLO);
    await user.aio('action', 'create', 'aio-watched', 'hello.js');
    t.after(() => user.aio('action', 'delete', 'aio-watched'));
    const { activationId } = JSON.parse(await user.aio('action', 'invoke', 'aio-watched', '--blocking'));
    await until('activation in the list', async () => {
      const listed = await user.json('activation', 'list', 'aio-watched');
      return listed.some((activation) => activation.activationId === activationId);
    });
    assert.match(await user.aio('activation', 'list'), new RegExp(activationId));
    const record = JSON.parse(await user.aio('activation', 'get', activationId));
    assert.equal(record.name, 'aio-watched');
    assert.equal(JSON.parse(await user.aio('activation', 'get', '--last')).activationId, activationId);
    assert.deepEqual(JSON.parse(await user.aio('activation', 'result', activationId)).result, { hello: 'stranger' });
    // `activation logs` asks Adobe's log forwarding first, which OpenWhisk has not; the logs are in the record.
    assert.match(record.logs[0], /stdout: called$/);
  });
});

describe('aio rt namespace and property', () => {
  test('show who and where', async () => {
    const namespaces = await user.json('namespace', 'list');
    assert.equal(namespaces.length, 1);
    const all = await user.json('namespace', 'get');
    assert.deepEqual(Object.keys(all).sort(), ['actions', 'packages', 'rules', 'triggers']);
    const properties = await user.aio('property', 'get');
    assert.ok(properties.includes(HOST) && properties.includes(AUTH), properties);
    assert.match(properties, /whisk API build number +\d/);
    await user.aio('property', 'set', '--namespace', 'other');
    assert.match(user.read('.wskprops'), /NAMESPACE ?= ?other/);
    await user.aio('property', 'unset', '--namespace');
    assert.doesNotMatch(user.read('.wskprops'), /NAMESPACE ?= ?other/);
  });
});
