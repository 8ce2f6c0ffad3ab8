'use strict';
// The unmodified npm client `openwhisk` against a server.

const assert = require('node:assert/strict');
const http = require('node:http');
const path = require('node:path');
const { describe, test } = require('node:test');
const { AUTH, annotation, client, createAction, deleteLater, rejection, tree, unique, until, zip } = require('./support.js');

const HELLO = 'function main(args) { return { hello: args.name || "stranger" }; }';
const MODULES = path.join(__dirname, 'node_modules');

const rejects = async (promise, statusCode, text) => {
  const error = await rejection(promise);
  assert.equal(error.name, 'OpenWhiskError', error.stack);
  assert.equal(error.statusCode, statusCode, error.message);
  if (text instanceof RegExp) assert.match(error.error.error, text);
  else assert.equal(error.error.error, text);
  assert.equal(typeof error.error.code, 'string');
};

describe('namespaces', () => {
  test('list has the one of the key', async () => {
    const namespaces = await client().namespaces.list();
    assert.equal(namespaces.length, 1);
    assert.equal(typeof namespaces[0], 'string');
  });
});

describe('an action', () => {
  test('that is created comes back whole', async (t) => {
    const ow = client();
    const [namespace] = await ow.namespaces.list();
    const name = unique('create');
    deleteLater(t, name);
    const { updated, ...created } = await ow.actions.create({ name, action: HELLO });
    assert.match(created.exec.kind, /^nodejs:\d+$/);
    created.annotations.sort((a, b) => (a.key < b.key ? -1 : 1));
    assert.deepEqual(created, {
      namespace,
      name,
      version: '0.0.1',
      publish: false,
      exec: { kind: created.exec.kind, code: HELLO, binary: false },
      parameters: [],
      limits: { timeout: 60000, memory: 256, logs: 10, concurrency: 1 },
      annotations: [{ key: 'exec', value: created.exec.kind }, { key: 'provide-api-key', value: false }],
    });
    assert.ok(Math.abs(Date.now() - updated) < 60_000);
  });

  test('is read as it was created', async (t) => {
    const ow = client();
    const name = unique('get');
    deleteLater(t, name);
    const created = await ow.actions.create({ name, action: HELLO });
    assert.deepEqual(await ow.actions.get({ name }), created);
    assert.deepEqual(await ow.actions.get(name), created);
  });

  test('is read without its code', async (t) => {
    const name = await createAction(t, HELLO);
    const { exec } = await client().actions.get({ name, code: false });
    assert.equal(exec.binary, false);
    assert.equal('code' in exec, false);
  });

  test('keeps parameters, annotations and limits', async (t) => {
    const name = await createAction(t, HELLO, {
      params: { name: 'you', list: [1, { a: null }] },
      annotations: { description: 'greets', nested: { deep: true } },
      limits: { timeout: 5000, memory: 128, logs: 1 },
    });
    const action = await client().actions.get({ name });
    assert.deepEqual(Object.fromEntries(action.parameters.map(({ key, value }) => [key, value])),
      { name: 'you', list: [1, { a: null }] });
    assert.equal(annotation(action, 'description'), 'greets');
    assert.deepEqual(annotation(action, 'nested'), { deep: true });
    assert.deepEqual(action.limits, { timeout: 5000, memory: 128, logs: 1, concurrency: 1 });
  });

  test('may have a version of its own', async (t) => {
    const name = await createAction(t, HELLO, { version: '2.5.1' });
    assert.equal((await client().actions.get({ name })).version, '2.5.1');
  });

  test('that exists is not created again', async (t) => {
    const name = await createAction(t, HELLO);
    await rejects(client().actions.create({ name, action: HELLO }), 409, 'resource already exists');
  });

  test('is deleted and answered once more', async (t) => {
    const ow = client();
    const name = await createAction(t, HELLO);
    assert.equal((await ow.actions.delete({ name })).name, name);
    await rejects(ow.actions.get({ name }), 404, 'The requested resource does not exist.');
    await rejects(ow.actions.delete({ name }), 404, 'The requested resource does not exist.');
  });

  test('that is missing is not found', async () => {
    const missing = { name: unique('missing') };
    await rejects(client().actions.get(missing), 404, 'The requested resource does not exist.');
    await rejects(client().actions.invoke({ ...missing }), 404, 'The requested resource does not exist.');
  });

  test('of an unknown kind is refused', async (t) => {
    const name = unique('kind');
    deleteLater(t, name);
    await rejects(client().actions.create({ name, action: HELLO, kind: 'cobol:85' }), 400,
      /The specified runtime 'cobol:85' is not supported by this platform\. Valid values are: '/);
  });

  test('with limits out of bounds is refused', async (t) => {
    const name = unique('limits');
    deleteLater(t, name);
    const create = (limits) => client().actions.create({ name, action: HELLO, limits });
    await rejects(create({ memory: 100_000 }), 400, /memory size 100000 MB exceeds allowed threshold of \d+ MB/);
    await rejects(create({ timeout: 1 }), 400, /duration 1 milliseconds below allowed threshold of 100 milliseconds/);
  });

  test('may be created, read and deleted by several names at once', async (t) => {
    const ow = client();
    const names = [await createAction(t, HELLO), await createAction(t, HELLO)];
    assert.deepEqual((await ow.actions.get([...names])).map((action) => action.name), names);
    assert.deepEqual((await ow.actions.delete([...names])).map((action) => action.name), names);
  });
});

describe('an update', () => {
  test('makes the next version', async (t) => {
    const name = await createAction(t, HELLO);
    const updated = await client().actions.update({ name, action: 'function main() { return { new: true }; }' });
    assert.equal(updated.version, '0.0.2');
    assert.match(updated.exec.code, /new: true/);
  });

  test('without code keeps the code', async (t) => {
    const name = await createAction(t, HELLO, { params: { name: 'a' } });
    const updated = await client().actions.update({ name, params: { name: 'b' } });
    assert.equal(updated.exec.code, HELLO);
    assert.deepEqual(updated.parameters.map(({ key, value }) => [key, value]), [['name', 'b']]);
  });

  test('without parameters keeps the parameters', async (t) => {
    const name = await createAction(t, HELLO, { params: { name: 'a' } });
    const updated = await client().actions.update({ name, action: HELLO });
    assert.deepEqual(updated.parameters.map(({ key, value }) => [key, value]), [['name', 'a']]);
  });

  test('merges annotations', async (t) => {
    const name = await createAction(t, HELLO, { annotations: { one: 1, two: 2 } });
    const updated = await client().actions.update({ name, action: HELLO, annotations: { two: 'two', three: 3 } });
    assert.deepEqual(['one', 'two', 'three'].map((key) => annotation(updated, key)), [1, 'two', 3]);
  });

  test('merges limits', async (t) => {
    const name = await createAction(t, HELLO, { limits: { memory: 128, timeout: 5000 } });
    const updated = await client().actions.update({ name, action: HELLO, limits: { timeout: 7000 } });
    assert.deepEqual([updated.limits.memory, updated.limits.timeout], [128, 7000]);
  });

  test('creates what is not there', async (t) => {
    const name = unique('update');
    deleteLater(t, name);
    assert.equal((await client().actions.update({ name, action: HELLO })).version, '0.0.1');
  });

  test('is what the next invocation runs', async (t) => {
    const ow = client();
    const name = await createAction(t, 'function main() { return { version: 1 }; }');
    assert.deepEqual(await ow.actions.invoke({ name, blocking: true, result: true }), { version: 1 });
    for (let version = 2; version < 6; version += 1) {
      await ow.actions.update({ name, action: `function main() { return { version: ${version} }; }` });
      assert.deepEqual(await ow.actions.invoke({ name, blocking: true, result: true }), { version });
    }
  });
});

describe('the list of actions', () => {
  test('has summaries', async (t) => {
    const name = await createAction(t, HELLO);
    const item = (await client().actions.list({ limit: 200 })).find((action) => action.name === name);
    assert.deepEqual(Object.keys(item).sort(),
      ['annotations', 'exec', 'limits', 'name', 'namespace', 'publish', 'updated', 'version']);
    assert.deepEqual(item.exec, { binary: false });
  });

  test('has the newest first', async (t) => {
    const names = [];
    for (let i = 0; i < 3; i += 1) names.unshift(await createAction(t, HELLO));
    const listed = (await client().actions.list({ limit: 200 })).map((action) => action.name);
    assert.deepEqual(listed.filter((name) => names.includes(name)), names);
  });

  test('is limited', async (t) => {
    await createAction(t, HELLO);
    await createAction(t, HELLO);
    assert.equal((await client().actions.list({ limit: 1 })).length, 1);
  });

  test('skips', async (t) => {
    const first = await createAction(t, HELLO);
    await createAction(t, HELLO);
    const listed = (await client().actions.list({ skip: 1, limit: 200 })).map((action) => action.name);
    assert.ok(listed.includes(first));
    assert.deepEqual(await client().actions.list({ skip: 100_000 }), []);
  });

  test('counts', async (t) => {
    await createAction(t, HELLO);
    const { actions, ...others } = await client().actions.list({ count: true });
    assert.ok(actions >= 1);
    assert.deepEqual(others, {});
  });

  test('refuses a limit above 200', async () => {
    await rejects(client().actions.list({ limit: 201 }), 400,
      /The value '201' is not in the range of 0 to 200 for actions\./);
  });
});

describe('a zip archive', () => {
  test('comes back as binary code', async (t) => {
    const archive = zip({ 'index.js': 'exports.main = () => ({ zipped: true });' });
    const name = await createAction(t, archive);
    const { exec } = await client().actions.get({ name });
    assert.deepEqual([exec.binary, exec.code], [true, archive.toString('base64')]);
  });

  test('runs index.js', async (t) => {
    const name = await createAction(t, zip({ 'index.js': 'exports.main = () => ({ zipped: true });' }));
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { zipped: true });
  });

  test('runs what package.json names, with its node_modules', async (t) => {
    const name = await createAction(t, zip({
      'package.json': JSON.stringify({ name: 'action', main: 'lib/start.js' }),
      'lib/start.js': `const openwhisk = require("openwhisk");
        exports.main = () => ({ methods: Object.keys(openwhisk({ apihost: "localhost", api_key: "a:b" })).sort() });`,
      ...tree(MODULES, 'node_modules'),
    }));
    const { methods } = await client().actions.invoke({ name, blocking: true, result: true });
    assert.ok(methods.includes('actions') && methods.includes('activations'), String(methods));
  });

  test('may be ES modules', async (t) => {
    const name = await createAction(t, zip({
      'package.json': JSON.stringify({ type: 'module', main: 'start.js' }),
      'start.js': 'import { part } from "./part.js"; export const main = () => ({ part });',
      'part.js': 'export const part = 5;',
    }));
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { part: 5 });
  });
});

describe('a blocking invocation', () => {
  test('answers the activation', async (t) => {
    const ow = client();
    const [namespace] = await ow.namespaces.list();
    const name = await createAction(t, HELLO);
    const activation = await ow.actions.invoke({ name, params: { name: 'you' }, blocking: true });
    assert.match(activation.activationId, /^[0-9a-f]{32}$/);
    assert.deepEqual([activation.namespace, activation.name, activation.version, activation.publish],
      [namespace, name, '0.0.1', false]);
    assert.deepEqual([activation.response.status, activation.response.success, activation.response.result],
      ['success', true, { hello: 'you' }]);
    assert.equal(activation.end - activation.start >= 0, true);
    assert.equal(annotation(activation, 'path'), `${namespace}/${name}`);
    assert.match(annotation(activation, 'kind'), /^nodejs:\d+$/);
    assert.equal(annotation(activation, 'timeout'), false);
    assert.equal(typeof annotation(activation, 'waitTime'), 'number');
    assert.equal(typeof annotation(activation, 'initTime'), 'number');
    assert.deepEqual(annotation(activation, 'limits'), { timeout: 60000, memory: 256, logs: 10, concurrency: 1 });
  });

  test('is warm the second time', async (t) => {
    const name = await createAction(t, 'let n = 0; function main() { return { n: ++n }; }');
    await client().actions.invoke({ name, blocking: true });
    const activation = await client().actions.invoke({ name, blocking: true });
    assert.deepEqual(activation.response.result, { n: 2 });
    assert.equal(annotation(activation, 'initTime'), undefined);
  });

  test('with result answers the result', async (t) => {
    const name = await createAction(t, HELLO);
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { hello: 'stranger' });
  });

  test('lays its parameters over those of the action', async (t) => {
    const name = await createAction(t, 'function main(args) { return args; }', { params: { a: 1, b: { c: 1 } } });
    const result = await client().actions.invoke({ name, blocking: true, result: true, params: { b: 2, d: 'ä€😀"\\' } });
    assert.deepEqual(result, { a: 1, b: 2, d: 'ä€😀"\\' });
  });

  test('awaits a promise', async (t) => {
    const code = 'function main({ n }) { return new Promise((r) => setTimeout(() => r({ n }), 20)); }';
    const name = await createAction(t, code);
    assert.deepEqual(await client().actions.invoke({ name, params: { n: 3 }, blocking: true, result: true }), { n: 3 });
  });

  test('of an array answers the bare array', async (t) => {
    const name = await createAction(t, 'function main() { return [1, { two: 2 }]; }');
    assert.deepEqual(await client().actions.invoke({ name, blocking: true }), [1, { two: 2 }]);
  });

  test('takes and answers several hundred kilobytes', async (t) => {
    const name = await createAction(t, 'function main(args) { return args; }');
    const params = { text: 'x'.repeat(700_000) };
    assert.deepEqual(await client().actions.invoke({ name, params, blocking: true, result: true }), params);
  });

  test('of more than a megabyte is refused', async (t) => {
    const name = await createAction(t, HELLO);
    await rejects(client().actions.invoke({ name, params: { text: 'x'.repeat(1_100_000) }, blocking: true }), 413,
      /^Request larger than allowed: \d+ > 1048576 bytes\.$/);
  });

  test('may not change final parameters', async (t) => {
    const name = await createAction(t, HELLO, { params: { name: 'fixed' }, annotations: { final: true } });
    await rejects(client().actions.invoke({ name, params: { name: 'other' }, blocking: true }), 400,
      'Request defines parameters that are not allowed (e.g., reserved properties).');
  });

  test('runs beside others', async (t) => {
    const name = await createAction(t, 'function main({ n }) { return { n }; }', { limits: { memory: 128 } });
    const numbers = Array.from({ length: 8 }, (_, n) => n);
    const results = await Promise.all(numbers.map((n) =>
      client().actions.invoke({ name, params: { n }, blocking: true, result: true })));
    assert.deepEqual(results, numbers.map((n) => ({ n })));
  });

  test('runs an ES module', async (t) => {
    const name = await createAction(t, 'import { join } from "node:path"; export const main = () => ({ p: join("a", "b") });');
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { p: 'a/b' });
  });

  test('may run another function', async (t) => {
    const name = await createAction(t, 'function other() { return { other: true }; }', { exec: { main: 'other' } });
    assert.equal((await client().actions.get({ name })).exec.main, 'other');
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { other: true });
  });
});

describe('the environment of an action', () => {
  const ENVIRONMENT = `function main() {
    return Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("__OW_")));
  }`;

  test('names the call', async (t) => {
    const ow = client();
    const [namespace] = await ow.namespaces.list();
    const name = await createAction(t, ENVIRONMENT, { limits: { timeout: 10_000 } });
    const before = Date.now();
    const activation = await ow.actions.invoke({ name, blocking: true });
    const env = activation.response.result;
    assert.equal(env.__OW_NAMESPACE, namespace);
    assert.equal(env.__OW_ACTION_NAME, `/${namespace}/${name}`);
    assert.equal(env.__OW_ACTION_VERSION, '0.0.1');
    assert.equal(env.__OW_ACTIVATION_ID, activation.activationId);
    assert.match(env.__OW_TRANSACTION_ID, /^[A-Za-z0-9]{32}$/);
    assert.match(env.__OW_API_HOST, /^https?:\/\//);
    assert.ok(Number(env.__OW_DEADLINE) > before && Number(env.__OW_DEADLINE) < Date.now() + 11_000, env.__OW_DEADLINE);
  });

  test('has no key by default', async (t) => {
    const name = await createAction(t, ENVIRONMENT);
    const env = await client().actions.invoke({ name, blocking: true, result: true });
    assert.equal(env.__OW_API_KEY, undefined);
  });

  test('has the key of the caller if the action asks for it', async (t) => {
    const name = await createAction(t, ENVIRONMENT, { annotations: { 'provide-api-key': true } });
    const env = await client().actions.invoke({ name, blocking: true, result: true });
    assert.equal(env.__OW_API_KEY, AUTH);
  });
});

describe('an invocation that fails', () => {
  // The activation that the client rejects with.
  const failure = async (t, code, options) => {
    const name = await createAction(t, code, options);
    const error = await rejection(client().actions.invoke({ name, blocking: true }));
    assert.equal(error.statusCode, 502, error.message);
    assert.equal('code' in error.error, false);
    const { status, success, result } = error.error.response;
    assert.equal(success, false);
    return { status, result, message: error.message, activation: error.error };
  };

  test('by an error of its own is an application error', async (t) => {
    const { status, result, message } = await failure(t, 'function main() { return { error: "mine", other: 1 }; }');
    assert.deepEqual([status, result], ['application error', { error: 'mine' }]);
    assert.match(message, /Returned HTTP 502 \(Bad Gateway\) --> "mine"$/);
  });

  test('by a rejected promise is an application error', async (t) => {
    const { status, result } = await failure(t, 'async function main() { throw new Error("no way"); }');
    assert.equal(status, 'application error');
    assert.equal(result.error.message, 'no way');
  });

  test('by a thrown error is a developer error', async (t) => {
    const { status, result } = await failure(t, 'function main() { throw new Error("broken"); }');
    assert.deepEqual([status, result], ['action developer error', { error: 'An error has occurred: Error: broken' }]);
  });

  test('by code that does not load is a developer error', async (t) => {
    const { status, result, activation } = await failure(t, 'function main( {');
    assert.equal(status, 'action developer error');
    assert.match(result.error, /^Initialization has failed due to: /);
    assert.match(result.error, /SyntaxError/);
    assert.equal(typeof annotation(activation, 'initTime'), 'number');
  });

  test('for want of a main is a developer error', async (t) => {
    const { result } = await failure(t, 'function niam() {}');
    assert.deepEqual(result,
      { error: "Initialization has failed due to: Action entrypoint 'main' is not a function." });
  });

  test('by a result that is no dictionary is a developer error', async (t) => {
    const { status, result } = await failure(t, 'function main() { return "text"; }');
    assert.deepEqual([status, result], ['action developer error', { error: 'The action did not return a dictionary.' }]);
  });

  test('by its time limit is a developer error', async (t) => {
    const { status, result, activation } = await failure(t, 'function main() { return new Promise(() => {}); }',
      { limits: { timeout: 500 } });
    assert.deepEqual([status, result],
      ['action developer error', { error: 'The action exceeded its time limits of 500 milliseconds.' }]);
    assert.equal(annotation(activation, 'timeout'), true);
  });

  test('by its time limit in an endless loop is a developer error', async (t) => {
    const { result } = await failure(t, 'function main() { for (;;); }', { limits: { timeout: 500 } });
    assert.deepEqual(result, { error: 'The action exceeded its time limits of 500 milliseconds.' });
  });

  test('by the end of its process is a developer error', async (t) => {
    const { status, result } = await failure(t, 'function main() { process.exit(1); }');
    assert.deepEqual([status, result], ['action developer error',
      { error: 'The action did not produce a valid response and exited unexpectedly.' }]);
  });

  test('by the end of its process in init is a developer error', async (t) => {
    const { status, result } = await failure(t, 'process.exit(1);');
    assert.deepEqual([status, result], ['action developer error',
      { error: 'The action did not initialize and exited unexpectedly.' }]);
  });

  test('by a result above the limit is an application error', async (t) => {
    const { status, result } = await failure(t, 'function main() { return { text: "x".repeat(1100000) }; }');
    assert.equal(status, 'application error');
    assert.match(result.error.slice(0, 200),
      /^The action produced a response that exceeded the allowed length: \d+ > 1048576 bytes\. The truncated response was: \{"text":"x/);
  });

  test('leaves the action usable', async (t) => {
    const name = await createAction(t, 'function main({ bad }) { if (bad) process.exit(1); return { good: 1 }; }');
    await rejection(client().actions.invoke({ name, params: { bad: true }, blocking: true }));
    assert.deepEqual(await client().actions.invoke({ name, blocking: true, result: true }), { good: 1 });
  });

  test('with result rejects as well', async (t) => {
    const name = await createAction(t, 'function main() { return { error: { deep: 1 } }; }');
    const error = await rejection(client().actions.invoke({ name, blocking: true, result: true }));
    assert.deepEqual([error.statusCode, error.error.response.result], [502, { error: { deep: 1 } }]);
  });

  test('is kept as an activation', async (t) => {
    const name = await createAction(t, 'function main() { console.error("why"); throw new Error("broken"); }');
    const error = await rejection(client().actions.invoke({ name, blocking: true }));
    const { activationId } = error.error;
    const activation = await until('activation', () => client().activations.get({ activationId }));
    assert.equal(activation.response.status, 'action developer error');
    assert.ok(activation.logs.some((line) => / stderr: why$/.test(line)), activation.logs.join('\n'));
  });
});

describe('an invocation that does not block', () => {
  test('answers the id of an activation that comes', async (t) => {
    const name = await createAction(t, HELLO);
    const answer = await client().actions.invoke({ name, params: { name: 'later' } });
    assert.deepEqual(Object.keys(answer), ['activationId']);
    const activation = await until('activation', () => client().activations.get(answer.activationId));
    assert.deepEqual(activation.response.result, { hello: 'later' });
  });

  test('that fails is seen in the activation only', async (t) => {
    const name = await createAction(t, 'function main() { return { error: "mine" }; }');
    const { activationId } = await client().actions.invoke({ name });
    const activation = await until('activation', () => client().activations.get({ activationId }));
    assert.deepEqual([activation.response.status, activation.response.success], ['application error', false]);
  });
});

describe('activations', () => {
  const LOUD = 'function main({ n }) { console.log("out", n); console.error("err", n); return { n }; }';

  const invoked = async (t, code = LOUD, n = 1) => {
    const name = await createAction(t, code);
    const { activationId } = await client().actions.invoke({ name, params: { n }, blocking: true });
    await until('activation', () => client().activations.get({ activationId }));
    return { name, activationId };
  };

  test('are listed by the name of their action', async (t) => {
    const { name, activationId } = await invoked(t);
    const listed = await until('entry', async () => {
      const list = await client().activations.list({ name });
      return list.length > 0 && list;
    });
    assert.deepEqual(listed.map((item) => item.activationId), [activationId]);
    assert.deepEqual([listed[0].name, listed[0].statusCode, 'response' in listed[0], 'logs' in listed[0]],
      [name, 0, false, false]);
  });

  test('are listed with all they have', async (t) => {
    const { name, activationId } = await invoked(t);
    const [item] = await until('entry', async () => {
      const list = await client().activations.list({ name, docs: true });
      return list.length > 0 && list;
    });
    assert.deepEqual(item, await client().activations.get({ activationId }));
  });

  test('are listed newest first, limited, skipped and counted', async (t) => {
    const name = await createAction(t, LOUD);
    const ids = [];
    for (let n = 0; n < 3; n += 1) {
      ids.unshift((await client().actions.invoke({ name, params: { n }, blocking: true })).activationId);
    }
    const list = async (options) => (await client().activations.list({ name, ...options })).map((item) => item.activationId);
    await until('three entries', async () => (await list()).length === 3);
    assert.deepEqual(await list(), ids);
    assert.deepEqual(await list({ limit: 2 }), ids.slice(0, 2));
    assert.deepEqual(await list({ skip: 1 }), ids.slice(1));
    assert.deepEqual(await client().activations.list({ name, count: true }), { activations: 3 });
  });

  test('are listed by time', async (t) => {
    const { name, activationId } = await invoked(t);
    const { start } = await client().activations.get({ activationId });
    const ids = async (options) => (await client().activations.list({ name, ...options })).map((item) => item.activationId);
    await until('entry', async () => (await ids({})).length === 1);
    assert.deepEqual(await ids({ since: start, upto: start }), [activationId]);
    assert.deepEqual(await ids({ since: start + 1 }), []);
    assert.deepEqual(await ids({ upto: start - 1 }), []);
  });

  test('have logs', async (t) => {
    const { activationId } = await invoked(t);
    const { logs } = await client().activations.logs({ activationId });
    const texts = logs.map((line) => {
      assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z +(stdout|stderr): /);
      assert.equal(line.search(/(stdout|stderr): /), 31, line);
      return line.slice(31);
    });
    assert.deepEqual(texts.sort(), ['stderr: err 1', 'stdout: out 1']);
    assert.deepEqual((await client().activations.get({ activationId })).logs, logs);
  });

  test('have all lines in order, each with its own call', async (t) => {
    const name = await createAction(t, 'function main({ n }) { for (let i = 0; i < 500; i++) console.log(n, i); }');
    for (const n of [1, 2]) {
      const { activationId } = await client().actions.invoke({ name, params: { n }, blocking: true });
      const { logs } = await until('logs', () => client().activations.logs({ activationId }));
      assert.deepEqual(logs.map((line) => line.slice(31)), Array.from({ length: 500 }, (_, i) => `stdout: ${n} ${i}`));
    }
  });

  test('have no more lines than the limit of logs allows', async (t) => {
    const name = await createAction(t, 'function main() { for (let i = 0; i < 30; i++) console.log("x".repeat(99999)); }',
      { limits: { logs: 1 } });
    const { activationId } = await client().actions.invoke({ name, blocking: true });
    const { logs } = await until('logs', () => client().activations.logs({ activationId }));
    assert.match(logs.at(-1),
      / stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes\.$/);
    assert.ok(logs.join('').length < 1_200_000, `${logs.join('').length}`);
  });

  test('have no lines at all if the limit is 0', async (t) => {
    const name = await createAction(t, LOUD, { limits: { logs: 0 } });
    const { activationId } = await client().actions.invoke({ name, blocking: true });
    const activation = await until('activation', () => client().activations.get({ activationId }));
    assert.deepEqual(activation.logs, []);
  });

  test('of developer errors say that lines may be missing', async (t) => {
    const name = await createAction(t, 'function main() { console.log("before"); process.exit(1); }');
    const { error: { activationId } } = await rejection(client().actions.invoke({ name, blocking: true }));
    const { logs } = await until('logs', () => client().activations.logs({ activationId }));
    assert.deepEqual(logs.map((line) => line.slice(31)), ['stdout: before',
      'stderr: The action did not initialize or run as expected. Log data might be missing.']);
  });

  test('have a result', async (t) => {
    const { activationId } = await invoked(t);
    const { size, ...result } = await client().activations.result({ activationId });
    assert.deepEqual(result, { result: { n: 1 }, success: true, status: 'success' });
    assert.ok(size === undefined || size > 0);
  });

  test('that are missing are not found', async () => {
    const missing = { activationId: '0'.repeat(32) };
    await rejects(client().activations.get(missing), 404, 'The requested resource does not exist.');
    await rejects(client().activations.logs(missing), 404, 'The requested resource does not exist.');
    await rejects(client().activations.result(missing), 404, 'The requested resource does not exist.');
  });

  test('have ids of 32 hexadecimal digits', async () => {
    await rejects(client().activations.get('abcde'), 400, 'Activation id length is 5 but must be 32.');
    await rejects(client().activations.get('x'.repeat(32)), 400, 'The activation id is not valid.');
  });
});

describe('calls that may share a container', () => {
  const limits = { concurrency: 10, timeout: 20_000 };

  test('overlap in it', async (t) => {
    // No call ends before five are there.
    const name = await createAction(t, `let inside = 0; let open; const gate = new Promise((done) => { open = done; });
      async function main({ n }) { if (n === undefined) return {}; inside += 1; if (inside === 5) open(); await gate; return { n }; }`,
    { limits });
    await client().actions.invoke({ name, blocking: true });
    const numbers = [0, 1, 2, 3, 4];
    const results = await Promise.all(numbers.map((n) =>
      client().actions.invoke({ name, params: { n }, blocking: true, result: true })));
    assert.deepEqual(results, numbers.map((n) => ({ n })));
  });

  test('have the lines that they wrote, not those of others', async (t) => {
    const name = await createAction(t, `const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
      async function main({ n }) { for (let i = 0; i < 10; i++) { console.log(n, i); await sleep(2); } return {}; }`,
    { limits });
    const activations = await Promise.all([0, 1, 2, 3, 4, 5].map((n) =>
      client().actions.invoke({ name, params: { n }, blocking: true })));
    for (const [n, { activationId }] of activations.entries()) {
      const { logs } = await until('logs', () => client().activations.logs({ activationId }));
      assert.deepEqual(logs.map((line) => line.slice(31)), Array.from({ length: 10 }, (_, i) => `stdout: ${n} ${i}`));
    }
  });
});

describe('a connection', () => {
  test('is kept for many calls', async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    let connections = 0;
    const { createConnection } = agent;
    agent.createConnection = (...args) => { connections += 1; return createConnection.apply(agent, args); };
    const name = await createAction(t, HELLO);
    const ow = client({ agent });
    for (let i = 0; i < 10; i += 1) {
      assert.deepEqual(await ow.actions.invoke({ name, params: { name: i }, blocking: true, result: true }), { hello: i || 'stranger' });
    }
    assert.equal(connections, 1);
  });
});

describe('a key', () => {
  test('that is wrong is refused', async () => {
    const [uuid, secret] = AUTH.split(':');
    const wrong = client({ api_key: `${uuid}:${secret.slice(0, -1)}${secret.endsWith('x') ? 'y' : 'x'}` });
    await rejects(wrong.namespaces.list(), 401, 'The supplied authentication is invalid');
    await rejects(wrong.actions.list(), 401, 'The supplied authentication is invalid');
    await rejects(wrong.actions.invoke({ name: 'any', blocking: true }), 401, 'The supplied authentication is invalid');
  });

  test('that nobody has is refused', async () => {
    const nobody = client({ api_key: `00000000-0000-4000-8000-000000000000:${'a'.repeat(64)}` });
    await rejects(nobody.actions.list(), 401, 'The supplied authentication is invalid');
  });

  test('opens no namespace but its own', async () => {
    await rejects(client({ namespace: unique('foreign') }).actions.list(), 403,
      /^The supplied authentication is not authorized to access /);
  });
});
