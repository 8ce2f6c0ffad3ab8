'use strict';
// Requests as the `wsk` command sends them (openwhisk-api.md 10.2), over plain HTTP, and the exact shapes of the answers
// (openwhisk-api.md 1.2, 1.3, 3.1, 7 and Appendix A).

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { AUTH, deleteLater, request, unique, until } = require('./support.js');

const API = '/api/v1';
const ACTIONS = `${API}/namespaces/_/actions`;
const ACTIVATIONS = `${API}/namespaces/_/activations`;
const HELLO = 'function main(args) { console.log("hello"); return { hello: args.name || "stranger" }; }\n';
const CLI = { 'User-Agent': 'OpenWhisk-CLI/1.0 (2023-05-24T23:41:19.412+0000) linux amd64', 'Accept-Encoding': 'gzip' };
const LIMITS = { concurrency: 1, logs: 10, memory: 256, timeout: 60000 };

const wsk = (method, target, options = {}) => request(method, target, { ...options, headers: { ...CLI, ...options.headers } });

// `wsk action create NAME FILE`
const put = (name, { code = HELLO, overwrite = false, ...fields } = {}) =>
  wsk('PUT', `${ACTIONS}/${encodeURIComponent(name)}?overwrite=${overwrite}`, {
    body: { namespace: '_', name, exec: { kind: 'nodejs:default', code }, ...fields },
  });

const create = async (t, fields, name = unique('raw')) => {
  deleteLater(t, name);
  const created = await put(name, fields);
  assert.equal(created.status, 200, created.text);
  return name;
};

// `wsk action invoke NAME`
const invoke = (name, { blocking = false, result = false, args = {} } = {}) =>
  wsk('POST', `${ACTIONS}/${encodeURIComponent(name)}?blocking=${blocking}&result=${result}`, { body: args });

const invoked = async (t, fields) => {
  const name = await create(t, fields);
  const { json } = await invoke(name, { blocking: true });
  await until('activation', async () => (await wsk('GET', `${ACTIVATIONS}/${json.activationId}`)).status === 200);
  return { name, id: json.activationId };
};

const namespace = async () => (await wsk('GET', `${API}/namespaces`)).json[0];

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
};

const byKey = (annotations) => Object.fromEntries(annotations.map(({ key, value }) => [key, value]));

const assertError = (answer, status, text) => {
  assert.equal(answer.status, status, answer.text);
  assert.deepEqual(Object.keys(answer.json).sort(), ['code', 'error']);
  assert.equal(answer.json.code, answer.headers['x-request-id']);
  if (text instanceof RegExp) assert.match(answer.json.error, text);
  else assert.equal(answer.json.error, text);
};

const assertCors = ({ headers }) => {
  assert.equal(headers['access-control-allow-origin'], '*');
  assert.equal(headers['access-control-allow-headers'],
    'Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent');
  assert.equal(headers['access-control-allow-methods'], 'GET, DELETE, POST, PUT, HEAD');
};

describe('wsk action create', () => {
  test('answers the action as Appendix A has it', async (t) => {
    const name = unique('raw');
    deleteLater(t, name);
    const { status, headers, text, json } = await put(name, {
      code: 'function main(){}', parameters: [{ key: 'a', value: 1 }], annotations: [], limits: {},
    });
    assert.equal(status, 200, text);
    const kind = json.exec.kind;
    const annotations = json.annotations.toSorted((a, b) => (a.key > b.key ? -1 : 1));
    assert.deepEqual({ ...json, annotations, updated: 0 }, {
      annotations: [{ key: 'provide-api-key', value: false }, { key: 'exec', value: kind }],
      exec: { binary: false, code: 'function main(){}', kind },
      limits: LIMITS,
      name,
      namespace: await namespace(),
      parameters: [{ key: 'a', value: 1 }],
      publish: false,
      updated: 0,
      version: '0.0.1',
    });
    assert.equal(text, JSON.stringify(json), 'compact JSON');
    assert.match(headers['content-type'], /^application\/json/);
    assertCors({ headers });
  });

  test('resolves the default of the family, which the info document names', async (t) => {
    const name = await create(t);
    const { json: { exec } } = await wsk('GET', `${ACTIONS}/${name}?code=false`);
    const { json: info } = await wsk('GET', '/', { auth: null });
    assert.equal(info.runtimes.nodejs.find((runtime) => runtime.default).kind, exec.kind);
  });

  test('takes no name twice', async (t) => {
    const name = await create(t);
    assertError(await put(name), 409, 'resource already exists');
  });

  test('takes names that differ in case as two', async (t) => {
    const name = await create(t);
    const upper = await create(t, {}, name.toUpperCase());
    assert.equal((await wsk('GET', `${ACTIONS}/${upper}`)).json.name, upper);
  });

  test('takes names with spaces and signs', async (t) => {
    const name = await create(t, {}, `${unique('odd')} a@b.c&d`);
    assert.equal((await wsk('GET', `${ACTIONS}/${encodeURIComponent(name)}`)).json.name, name);
    assert.deepEqual((await invoke(name, { blocking: true, result: true })).json, { hello: 'stranger' });
  });

  for (const name of ['a+b', '$x', 'dora?', ' ', 'a ']) {
    test(`refuses the name ${JSON.stringify(name)}`, async () => {
      assertError(await put(name), 400, 'The name of the entity contains illegal characters.');
    });
  }

  test('refuses a name that is too long', async () => {
    assertError(await put('a'.repeat(257)), 400, 'Name segement longer than allowed: 257 > 256.');
  });

  test('needs code', async () => {
    const name = unique('raw');
    assertError(await wsk('PUT', `${ACTIONS}/${name}?overwrite=false`, { body: {} }), 400, /exec undefined/);
    assertError(await wsk('PUT', `${ACTIONS}/${name}?overwrite=false`, { body: { exec: { kind: 'nodejs:default' } } }), 400,
      /'code' must be a string or attachment object defined in 'exec' for 'nodejs:\w+' actions/);
  });

  test('needs JSON', async () => {
    const target = `${ACTIONS}/${unique('raw')}?overwrite=false`;
    assertError(await wsk('PUT', target, { body: '{"exec":' }), 400, /^The request content was malformed:\n/);
    assertError(await wsk('PUT', target, { body: '[]' }), 400, /^The request content was malformed/);
    assertError(await wsk('PUT', target, { body: 'exec', headers: { 'Content-Type': 'text/plain' } }), 415,
      /^The request's Content-Type is not supported\. Expected:\napplication\/json/);
  });

  test('keeps parameters for init apart, and gives them to the environment only', async (t) => {
    const name = await create(t, {
      code: 'function main(args) { return { args, text: process.env.text, object: process.env.object }; }',
      parameters: [{ key: 'text', value: 'secret', init: true }, { key: 'object', value: { a: [1] }, init: true }, { key: 'b', value: 2 }],
    });
    const { json } = await wsk('GET', `${ACTIONS}/${name}?code=false`);
    assert.equal(json.parameters.find((parameter) => parameter.key === 'text').init, true);
    assert.deepEqual((await invoke(name, { blocking: true, result: true })).json,
      { args: { b: 2 }, text: 'secret', object: '{"a":[1]}' });
  });

  test('keeps a maximum of instances', async (t) => {
    const name = await create(t, { limits: { instances: 2 } });
    const { json } = await wsk('GET', `${ACTIONS}/${name}?code=false`);
    assert.deepEqual(sorted(json.limits), sorted({ ...LIMITS, instances: 2 }));
  });

  test('takes the same code as binary when it is base64', async (t) => {
    const name = await create(t, { code: 'abcd' });
    assert.equal((await wsk('GET', `${ACTIONS}/${name}`)).json.exec.binary, true);
  });
});

describe('wsk action get', () => {
  test('has no code', async (t) => {
    const name = await create(t);
    const { status, json } = await wsk('GET', `${ACTIONS}/${name}?code=false`);
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(json.exec).sort(), ['binary', 'kind']);
  });

  test('--save has it', async (t) => {
    const name = await create(t);
    assert.equal((await wsk('GET', `${ACTIONS}/${name}?code=true`)).json.exec.code, HELLO);
  });

  test('finds by the name of the namespace as well', async (t) => {
    const name = await create(t);
    const { json } = await wsk('GET', `${API}/namespaces/${await namespace()}/actions/${name}?code=false`);
    assert.equal(json.name, name);
  });

  test('of a missing action is 404', async () => {
    assertError(await wsk('GET', `${ACTIONS}/${unique('missing')}?code=false`), 404, 'The requested resource does not exist.');
  });

  test('in a foreign namespace is 403', async () => {
    const answer = await wsk('GET', `${API}/namespaces/${unique('foreign')}/actions/any?code=false`);
    assertError(answer, 403, /^The supplied authentication is not authorized to access '/);
  });
});

describe('wsk action update', () => {
  test('reads, then overwrites', async (t) => {
    const name = unique('raw');
    deleteLater(t, name);
    assert.equal((await wsk('GET', `${ACTIONS}/${name}?code=false`)).status, 404);
    assert.equal((await put(name, { overwrite: true })).json.version, '0.0.1');
    const updated = await put(name, { overwrite: true, annotations: [{ key: 'a', value: 1 }] });
    assert.deepEqual([updated.json.version, byKey(updated.json.annotations).a], ['0.0.2', 1]);
  });

  test('--del-annotation takes one away', async (t) => {
    const name = await create(t, { annotations: [{ key: 'a', value: 1 }, { key: 'b', value: 2 }] });
    const { json } = await wsk('PUT', `${ACTIONS}/${name}?overwrite=true`, { body: { namespace: '_', name, delAnnotations: ['a'] } });
    const { a, b } = byKey(json.annotations);
    assert.deepEqual([a, b], [undefined, 2]);
  });

  test('keeps what the body does not have', async (t) => {
    const name = await create(t, { limits: { memory: 128 }, parameters: [{ key: 'p', value: 1 }] });
    const { json } = await wsk('PUT', `${ACTIONS}/${name}?overwrite=true`, { body: { namespace: '_', name } });
    assert.deepEqual([json.exec.code, json.limits.memory, json.parameters], [HELLO, 128, [{ key: 'p', value: 1 }]]);
  });
});

describe('wsk action delete', () => {
  test('answers the action', async (t) => {
    const name = await create(t);
    const { status, json } = await wsk('DELETE', `${ACTIONS}/${name}`);
    assert.deepEqual([status, json.name], [200, name]);
    assertError(await wsk('DELETE', `${ACTIONS}/${name}`), 404, 'The requested resource does not exist.');
  });
});

describe('wsk action list', () => {
  test('has summaries', async (t) => {
    const name = await create(t);
    const { status, json } = await wsk('GET', `${ACTIONS}?limit=200&skip=0`);
    assert.equal(status, 200);
    const item = json.find((action) => action.name === name);
    const kind = byKey(item.annotations).exec;
    assert.deepEqual({ ...item, annotations: byKey(item.annotations), updated: 0 }, {
      annotations: { exec: kind, 'provide-api-key': false },
      exec: { binary: false },
      limits: LIMITS,
      name,
      namespace: await namespace(),
      publish: false,
      updated: 0,
      version: '0.0.1',
    });
  });

  test('takes at most thirty by default, with or without a slash', async () => {
    for (const target of [`${ACTIONS}?limit=30&skip=0`, ACTIONS, `${ACTIONS}/`]) {
      const { status, json } = await wsk('GET', target);
      assert.equal(status, 200, target);
      assert.ok(Array.isArray(json) && json.length <= 30, target);
    }
  });

  test('counts', async (t) => {
    await create(t);
    const { json, text } = await wsk('GET', `${ACTIONS}?count=true&limit=1`);
    assert.match(text, /^\{"actions":\d+\}$/);
    assert.ok(json.actions >= 1);
  });

  for (const [query, text] of [
    ['limit=201', "The value '201' is not in the range of 0 to 200 for actions."],
    ['limit=-1', "The value '-1' is not in the range of 0 to 200 for actions."],
    ['skip=-1', "The value '-1' is not greater than or equal to 0 for actions."],
    ['limit=x', "The value 'x' is not an integer for actions."],
  ]) {
    test(`refuses ${query}`, async () => {
      const parameter = query.split('=')[0];
      assertError(await wsk('GET', `${ACTIONS}?${query}`), 400,
        new RegExp(`^The query parameter '${parameter}' was malformed:\n.*${text.replace(/[.()]/g, '\\$&')}$`));
    });
  }

  test('as `wsk list` asks has all', async (t) => {
    const name = await create(t);
    const { json } = await wsk('GET', `${ACTIONS}?limit=0&skip=0`);
    assert.ok(json.some((action) => action.name === name));
  });
});

describe('wsk action invoke', () => {
  test('answers the id alone', async (t) => {
    const name = await create(t);
    const { status, text, headers } = await invoke(name);
    assert.equal(status, 202);
    assert.match(text, /^\{"activationId":"[0-9a-f]{32}"\}$/);
    assert.equal(headers['x-openwhisk-activation-id'], JSON.parse(text).activationId);
  });

  test('takes no body at all', async (t) => {
    const name = await create(t);
    const { status, json } = await wsk('POST', `${ACTIONS}/${name}?blocking=true&result=true`, { headers: { 'Content-Length': '0' } });
    assert.deepEqual([status, json], [200, { hello: 'stranger' }]);
  });

  test('-r answers the result alone', async (t) => {
    const name = await create(t);
    const { status, text, headers } = await invoke(name, { blocking: true, result: true, args: { name: 'you' } });
    assert.deepEqual([status, text], [200, '{"hello":"you"}']);
    assert.match(headers['x-openwhisk-activation-id'], /^[0-9a-f]{32}$/);
    assertCors({ headers });
  });

  test('-b answers the record', async (t) => {
    const name = await create(t);
    const { status, json, headers } = await invoke(name, { blocking: true });
    assert.equal(status, 200);
    assert.equal(headers['x-openwhisk-activation-id'], json.activationId);
    assert.deepEqual(Object.keys(json).sort(), ['activationId', 'annotations', 'duration', 'end', 'logs', 'name',
      'namespace', 'publish', 'response', 'start', 'subject', 'version']);
    const { size, ...response } = json.response;
    assert.deepEqual(response, { result: { hello: 'stranger' }, status: 'success', success: true });
    assert.ok(size === undefined || size === '{"hello":"stranger"}'.length, `size ${size}`);
    assert.deepEqual(sorted(byKey(json.annotations).limits), LIMITS);
    assert.deepEqual(json.logs, []);
  });

  test('of an array answers the array', async (t) => {
    const name = await create(t, { code: 'function main() { return [1, 2]; }' });
    for (const result of [true, false]) {
      assert.equal((await invoke(name, { blocking: true, result })).text, '[1,2]');
    }
  });

  test('of a failing action is 502 without a code', async (t) => {
    const name = await create(t, { code: 'function main() { return { error: "mine", other: 1 }; }' });
    const bare = await invoke(name, { blocking: true, result: true });
    assert.deepEqual([bare.status, bare.text], [502, '{"error":"mine"}']);
    const record = await invoke(name, { blocking: true });
    assert.equal(record.status, 502);
    assert.equal('code' in record.json, false);
    assert.equal(record.json.response.status, 'application error');
    assert.match(record.headers['x-openwhisk-activation-id'], /^[0-9a-f]{32}$/);
  });

  test('that takes longer than its caller waits is 202', async (t) => {
    const name = await create(t, { code: 'function main() { return new Promise((r) => setTimeout(r, 3000)); }' });
    const { status, text } = await wsk('POST', `${ACTIONS}/${name}?blocking=true&result=true&timeout=500`, { body: {} });
    assert.equal(status, 202, text);
    const { activationId } = JSON.parse(text);
    const record = await until('activation', async () => {
      const answer = await wsk('GET', `${ACTIVATIONS}/${activationId}`);
      return answer.status === 200 && answer.json;
    });
    assert.equal(record.response.status, 'success');
  });

  test('of a missing action is 404', async () => {
    assertError(await invoke(unique('missing'), { blocking: true }), 404, 'The requested resource does not exist.');
  });

  test('with bad arguments is 400', async (t) => {
    const name = await create(t);
    const target = `${ACTIONS}/${name}?blocking=true&result=true`;
    assertError(await wsk('POST', target, { body: '{"a":' }), 400, /^The request content was malformed:\n/);
    assertError(await wsk('POST', target, { body: '[1]' }), 400, /^The request content was malformed/);
    for (const timeout of ['0', '60001', 'x']) {
      assertError(await wsk('POST', `${target}&timeout=${timeout}`, { body: {} }), 400,
        /Timeout must be number of milliseconds up to 60000\.$/);
    }
  });
});

describe('wsk activation', () => {
  test('list has summaries as Appendix A has them', async (t) => {
    const { name, id } = await invoked(t);
    const [item] = await until('entry', async () => {
      const { json } = await wsk('GET', `${ACTIVATIONS}?limit=30&name=${name}&skip=0`);
      return json.length > 0 && json;
    });
    const { kind, waitTime, initTime, ...annotations } = byKey(item.annotations);
    assert.deepEqual(annotations, { path: `${await namespace()}/${name}`, timeout: false, limits: LIMITS });
    assert.match(kind, /^nodejs:\d+$/);
    assert.ok(waitTime >= 0 && initTime >= 0);
    assert.ok(item.end >= item.start);
    assert.deepEqual({ ...item, annotations: 0, duration: 0, end: 0, start: 0 }, {
      activationId: id, annotations: 0, duration: 0, end: 0, name, namespace: await namespace(), publish: false, start: 0,
      statusCode: 0, version: '0.0.1',
    });
  });

  test('list has the status of each', async (t) => {
    const { name } = await invoked(t, { code: 'function main() { throw 1; }' });
    const [item] = await until('entry', async () => {
      const { json } = await wsk('GET', `${ACTIVATIONS}?limit=30&name=${name}&skip=0`);
      return json.length > 0 && json;
    });
    assert.equal(item.statusCode, 2);
  });

  test('get has the record with its logs', async (t) => {
    const { name, id } = await invoked(t);
    const { json } = await wsk('GET', `${ACTIVATIONS}/${id}`);
    assert.deepEqual([json.name, json.activationId, 'statusCode' in json], [name, id, false]);
    assert.equal(json.logs.length, 1);
    assert.match(json.logs[0], /^[-:.TZ0-9]{20,30} +stdout: hello$/);
    assert.equal((await wsk('GET', `${ACTIVATIONS}/${id}/`)).status, 200);
  });

  test('logs and result have their own shapes', async (t) => {
    const { id } = await invoked(t);
    const logs = await wsk('GET', `${ACTIVATIONS}/${id}/logs`);
    assert.deepEqual([Object.keys(logs.json), logs.json.logs.length], [['logs'], 1]);
    const { json: { size, ...result } } = await wsk('GET', `${ACTIVATIONS}/${id}/result`);
    assert.deepEqual(result, { result: { hello: 'stranger' }, status: 'success', success: true });
  });

  test('get --last finds the newest', async (t) => {
    const { name, id } = await invoked(t);
    const { json } = await wsk('GET', `${ACTIVATIONS}?limit=1&name=${name}&skip=0`);
    assert.deepEqual(json.map((item) => item.activationId), [id]);
    assert.equal((await wsk('GET', `${ACTIVATIONS}?limit=1&skip=0`)).json.length, 1);
  });

  test('poll sees what comes', async (t) => {
    const first = await wsk('GET', `${ACTIVATIONS}?docs=true&limit=1&skip=0`);
    assert.ok(first.json.length <= 1);
    const since = Date.now() - 1000;
    const { name, id } = await invoked(t);
    const [record] = await until('entry', async () => {
      const { json } = await wsk('GET', `${ACTIVATIONS}?docs=true&limit=0&name=${name}&since=${since}&skip=0`);
      return json.length > 0 && json;
    });
    assert.deepEqual([record.activationId, record.logs.length], [id, 1]);
  });

  test('refuses what it cannot answer', async () => {
    assertError(await wsk('GET', `${ACTIVATIONS}/abcde`), 400, 'Activation id length is 5 but must be 32.');
    assertError(await wsk('GET', `${ACTIVATIONS}/${'g'.repeat(32)}`), 400, 'The activation id is not valid.');
    assertError(await wsk('GET', `${ACTIVATIONS}/${'0'.repeat(32)}`), 404, 'The requested resource does not exist.');
    assertError(await wsk('GET', `${ACTIVATIONS}?count=true&docs=true`), 400,
      /The parameter 'docs' is not permitted with 'count'\.$/);
    assertError(await wsk('GET', `${ACTIVATIONS}?since=yesterday`), 400,
      /Parameter is not a valid value for epoch seconds: yesterday$/);
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const answer = await wsk(method, ACTIVATIONS);
      assert.deepEqual([answer.status, typeof answer.json.error, typeof answer.json.code], [405, 'string', 'string'], method);
    }
  });
});

describe('the platform', () => {
  test('names itself without credentials', async () => {
    const { status, json, headers } = await wsk('GET', API, { auth: null });
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(json).sort(),
      ['api_version', 'api_version_path', 'build', 'buildno', 'description', 'swagger_paths']);
    assert.deepEqual([json.description, json.api_version, json.api_version_path, json.swagger_paths],
      ['OpenWhisk API', '1.0.0', 'v1', { ui: '/docs', 'api-docs': '/api-docs' }]);
    assertCors({ headers });
  });

  test('tells its limits and runtimes', async () => {
    const { status, json } = await wsk('GET', '/', { auth: null });
    assert.equal(status, 200);
    assert.deepEqual([json.description, json.api_paths], ['OpenWhisk', ['/api/v1']]);
    for (const key of ['actions_per_minute', 'triggers_per_minute', 'concurrent_actions', 'sequence_length',
      'min_action_duration', 'max_action_duration', 'min_action_memory', 'max_action_memory', 'min_action_logs',
      'max_action_logs']) {
      assert.equal(typeof json.limits[key], 'number', key);
    }
    const [runtime] = json.runtimes.nodejs;
    assert.deepEqual(Object.keys(runtime).sort(), ['attached', 'default', 'deprecated', 'image', 'kind', 'requireMain']);
  });

  test('answers a ping', async () => {
    const { status, text } = await wsk('GET', '/ping', { auth: null });
    assert.deepEqual([status, text], [200, 'pong']);
  });

  test('tells the limits of the namespace', async () => {
    const { status, json } = await wsk('GET', `${API}/namespaces/_/limits`);
    assert.equal(status, 200);
    for (const key of ['invocationsPerMinute', 'concurrentInvocations', 'firesPerMinute', 'maxActionMemory']) {
      assert.equal(typeof json[key], 'number', key);
    }
  });

  test('has one namespace for a key', async () => {
    for (const target of [`${API}/namespaces`, `${API}/namespaces/`]) {
      const { status, json } = await wsk('GET', target);
      assert.deepEqual([status, json.length], [200, 1], target);
    }
  });

  test('answers OPTIONS of any path', async () => {
    for (const target of [ACTIONS, `${API}/no/such/path`]) {
      const answer = await wsk('OPTIONS', target, { auth: null });
      assert.deepEqual([answer.status, answer.text], [200, 'OK'], target);
      assertCors(answer);
    }
  });

  test('has no other paths', async () => {
    assertError(await wsk('GET', `${API}/no/such/path`), 404, 'The requested resource could not be found.');
  });

  test('does not answer HEAD', async () => {
    assert.equal((await wsk('HEAD', ACTIONS)).status, 405);
  });
});

describe('a request', () => {
  test('without credentials is told to bring some', async () => {
    const answer = await wsk('GET', ACTIONS, { auth: null });
    assertError(answer, 401, 'The resource requires authentication, which was not supplied with the request');
    assert.match(answer.headers['www-authenticate'], /^Basic realm="OpenWhisk secure realm"/);
    assertCors(answer);
  });

  for (const [what, auth] of [
    ['a wrong key', `${AUTH.split(':')[0]}:${'a'.repeat(64)}`],
    ['a key alone', 'guest'],
    ['no UUID', `guest:${'a'.repeat(64)}`],
  ]) {
    test(`with ${what} is refused`, async () => {
      assertError(await wsk('GET', ACTIONS, { auth }), 401, 'The supplied authentication is invalid');
    });
  }

  test('keeps its own id', async () => {
    const id = unique('mine');
    const answer = await wsk('GET', `${ACTIONS}/${unique('missing')}`, { headers: { 'X-Request-ID': id } });
    assert.deepEqual([answer.headers['x-request-id'], answer.json.code], [id, id]);
  });

  test('gets an id if it has none, or one of the system', async () => {
    for (const headers of [{}, { 'X-Request-ID': 'sid_invoker' }]) {
      const answer = await wsk('GET', `${API}/namespaces`, { headers });
      assert.match(answer.headers['x-request-id'], /^[A-Za-z0-9]{32}$/);
    }
  });

  test('hands its id to the action', async (t) => {
    const name = await create(t, { code: 'function main() { return { id: process.env.__OW_TRANSACTION_ID }; }' });
    const id = unique('mine');
    const { json } = await wsk('POST', `${ACTIONS}/${name}?blocking=true&result=true`, { body: {}, headers: { 'X-Request-ID': id } });
    assert.deepEqual(json, { id });
  });

  test('hands its trace to the action', async (t) => {
    const name = await create(t, { code: 'function main() { return { trace: process.env.__OW_TRACEPARENT }; }' });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { json } = await wsk('POST', `${ACTIONS}/${name}?blocking=true&result=true`, { body: {}, headers: { traceparent } });
    assert.match(json.trace, /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/);
  });

  test('that is too large is refused', async () => {
    const name = unique('raw');
    const parameters = [{ key: 'a', value: 'x'.repeat(1_100_000) }];
    assertError(await put(name, { parameters }), 413, /^parameters larger than allowed: \d+ > 1048576 bytes\.$/);
    assertError(await put(name, { annotations: parameters }), 413, /^annotations larger than allowed: \d+ > 1048576 bytes\.$/);
  });
});
