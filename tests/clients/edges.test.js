'use strict';
// Edge cases that the reference lists (openwhisk-api.md 1.5, 2, 3, 11.6, Appendix B), over plain HTTP.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const zlib = require('node:zlib');
const { AUTH, deleteLater, request, unique, until, zip } = require('./support.js');

const ACTIONS = '/api/v1/namespaces/_/actions';
const ACTIVATIONS = '/api/v1/namespaces/_/activations';
const ECHO = 'function main(args) { return args; }';

const put = (name, body, overwrite = false) => request('PUT', `${ACTIONS}/${name}?overwrite=${overwrite}`, { body });

const create = async (t, code, fields = {}) => {
  const name = unique('edge');
  deleteLater(t, name);
  const { exec, ...others } = fields;
  const created = await put(name, { exec: { kind: 'nodejs:default', code, ...exec }, ...others });
  assert.equal(created.status, 200, created.text);
  return name;
};

const invoke = (name, body = {}, query = 'blocking=true&result=true') =>
  request('POST', `${ACTIONS}/${name}?${query}`, { body });

const resultOf = async (t, code, fields) => (await invoke(await create(t, code, fields))).json;

const refused = (answer, status, text) => {
  assert.deepEqual([answer.status, answer.json.error], [status, text]);
  assert.equal(answer.json.code, answer.headers['x-request-id']);
};

// A tar archive of regular files: names to contents (POSIX ustar).
const tar = (files) => Buffer.concat([...Object.entries(files).flatMap(([name, text]) => {
  const data = Buffer.from(text);
  const header = Buffer.alloc(512);
  const field = (value, at) => header.write(value, at, 'latin1');
  field(name, 0);
  field('0000644\0', 100);
  field('0000000\0', 108);
  field('0000000\0', 116);
  field(`${data.length.toString(8).padStart(11, '0')}\0`, 124);
  field('00000000000\0', 136);
  field('        ', 148);
  field('0', 156);
  field('ustar\0' + '00', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  field(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)];
}), Buffer.alloc(1024)]);

describe('names', () => {
  test('with illegal characters are refused by every method', async () => {
    for (const name of ['%20', 'hi+there', '$x', 'dora%3F', 'a%2Fb', 'ends%20', '%C3%A4']) {
      for (const method of ['PUT', 'GET', 'DELETE', 'POST']) {
        const body = method === 'PUT' || method === 'POST' ? { body: {} } : {};
        refused(await request(method, `${ACTIONS}/${name}`, body), 400,
          'The name of the entity contains illegal characters.');
      }
    }
  });

  test('of namespaces are checked as well', async () => {
    refused(await request('GET', '/api/v1/namespaces/$x/actions'), 400, 'The namespace contains illegal characters.');
    refused(await request('GET', `/api/v1/namespaces/${'n'.repeat(257)}/actions`), 400,
      'Namespace longer than allowed: 257 > 256.');
  });

  test('are needed', async () => {
    assert.equal((await request('PUT', `${ACTIONS}/`, { body: {} })).status, 405);
  });
});

describe('a kind', () => {
  test('blackbox is refused where there is no engine', async () => {
    const answer = await put(unique('edge'), { exec: { kind: 'blackbox', image: 'some/image' } });
    assert.equal(answer.status, 400);
    assert.equal(answer.json.error, 'the image some/image cannot run on this platform, which has no container engine; its operator can enable one');
  });

  test('sequence needs components that are there', async () => {
    const answer = await put(unique('edge'), { exec: { kind: 'sequence', components: ['/_/missing'] } });
    assert.deepEqual([answer.status, answer.json.error], [400, 'Sequence component does not exist.']);
  });

  test('is trimmed, and its case ignored', async (t) => {
    const name = await create(t, ECHO, { exec: { kind: ' NodeJS:Default ' } });
    assert.match((await request('GET', `${ACTIONS}/${name}`)).json.exec.kind, /^nodejs:\d+$/);
  });
});

describe('limits', () => {
  for (const [limits, text] of [
    [{ memory: 127 }, 'requirement failed: memory size 127 MB below allowed threshold of 128 MB'],
    [{ memory: 513 }, 'requirement failed: memory size 513 MB exceeds allowed threshold of 512 MB'],
    [{ logs: 11 }, 'requirement failed: log size 11 MB exceeds allowed threshold of 10 MB'],
    [{ timeout: 99 }, 'requirement failed: duration 99 milliseconds below allowed threshold of 100 milliseconds'],
    [{ timeout: 300001 }, 'requirement failed: duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds'],
    [{ concurrency: 0 }, 'requirement failed: concurrency 0 below allowed threshold of 1'],
    [{ timeout: 1.5 }, 'time limit must be whole number'],
    [{ timeout: '1' }, 'time limit must be whole number'],
  ]) {
    test(`${JSON.stringify(limits)} are refused`, async () => {
      refused(await put(unique('edge'), { exec: { kind: 'nodejs:default', code: ECHO }, limits }), 400,
        `The request content was malformed:\n${text}`);
    });
  }

  test('at their bounds are taken', async (t) => {
    const smallest = { timeout: 100, memory: 128, logs: 0, concurrency: 1 };
    const largest = { timeout: 300000, memory: 512, logs: 10, concurrency: 1 };
    for (const limits of [smallest, largest]) {
      const name = await create(t, ECHO, { limits });
      assert.deepEqual((await request('GET', `${ACTIONS}/${name}`)).json.limits, limits);
    }
  });

  test('of instances may not exceed the calls in flight of the namespace', async () => {
    const { json: { concurrentInvocations } } = await request('GET', '/api/v1/namespaces/_/limits');
    const limits = { instances: concurrentInvocations + 1 };
    refused(await put(unique('edge'), { exec: { kind: 'nodejs:default', code: ECHO }, limits }), 400,
      `Max action instance concurrency must not exceed your namespace concurrency of ${concurrentInvocations}.`);
  });
});

describe('an update', () => {
  test('of the version counts on from there', async (t) => {
    const name = await create(t, ECHO, { version: '1.2.3' });
    assert.equal((await put(name, {}, true)).json.version, '1.2.4');
    assert.equal((await put(name, { version: '0.0.2' }, true)).json.version, '0.0.2');
    refused(await put(name, { version: '0.0.0' }, true), 400,
      'The request content was malformed:\nrequirement failed: bad semantic version 0.0.0');
  });

  test('neither adds the annotation for keys nor lets `exec` be set', async (t) => {
    const name = await create(t, ECHO);
    const { json } = await put(name, { delAnnotations: ['provide-api-key'], annotations: [{ key: 'exec', value: 'x' }] }, true);
    assert.deepEqual(json.annotations, [{ key: 'exec', value: json.exec.kind }]);
  });

  test('that takes the annotation for keys away gives the action its key', async (t) => {
    const name = await create(t, 'function main() { return { key: process.env.__OW_API_KEY }; }');
    assert.deepEqual((await invoke(name)).json, {});
    await put(name, { delAnnotations: ['provide-api-key'] }, true);
    assert.deepEqual((await invoke(name)).json, { key: AUTH });
  });
});

describe('parameters', () => {
  test('of the same key: the last wins', async (t) => {
    const parameters = [{ key: 'a', value: 1 }, { key: 'a', value: 2 }];
    assert.deepEqual(await resultOf(t, ECHO, { parameters }), { a: 2 });
  });

  test('without a value are malformed', async () => {
    for (const field of ['parameters', 'annotations']) {
      const body = { exec: { kind: 'nodejs:default', code: ECHO }, [field]: [{ key: 'a' }] };
      refused(await put(unique('edge'), body), 400, 'The request content was malformed:\nparameters malformed!');
    }
  });

  test('that are final are so also for init, but not without a value', async (t) => {
    const name = await create(t, ECHO, {
      annotations: [{ key: 'final', value: true }],
      parameters: [{ key: 'set', value: 1 }, { key: 'open', value: null }, { key: 'init', value: 1, init: true }],
    });
    for (const key of ['set', 'init']) {
      refused(await invoke(name, { [key]: 2 }), 400,
        'Request defines parameters that are not allowed (e.g., reserved properties).');
    }
    assert.deepEqual((await invoke(name, { open: 2 })).json, { set: 1, open: 2 });
  });

  test('arrive as they are written', async (t) => {
    const name = await create(t, 'function main(args) { return { text: JSON.stringify(args) }; }');
    const body = '{"":1,"__proto__":{"x":1},"lone":"\\ud800","zero":"\\u0000","deep":' + '['.repeat(1000) + ']'.repeat(1000) + '}';
    const { json } = await invoke(name, body);
    assert.deepEqual(json.text, JSON.stringify(JSON.parse(body)));
  });
});

describe('an invocation', () => {
  for (const body of ['null', '"text"', '1', '[]', '{} {}']) {
    test(`with ${body} is malformed`, async (t) => {
      const answer = await invoke(await create(t, ECHO), body);
      assert.equal(answer.status, 400);
      assert.match(answer.json.error, /^The request content was malformed:\n/);
    });
  }

  test('that asks for the result without waiting does not wait', async (t) => {
    const answer = await invoke(await create(t, ECHO), {}, 'result=true');
    assert.deepEqual([answer.status, Object.keys(answer.json)], [202, ['activationId']]);
    assert.equal(answer.headers['x-openwhisk-activation-id'], answer.json.activationId);
  });

  test('of what is in another namespace is forbidden, be it there or not', async () => {
    refused(await request('POST', '/api/v1/namespaces/nobody/actions/a', { body: {} }), 403,
      "The supplied authentication is not authorized to access 'nobody/a'.");
    refused(await request('GET', '/api/v1/namespaces/nobody/activations'), 403,
      "The supplied authentication is not authorized to access 'nobody'.");
  });
});

describe('Node.js', () => {
  test('runs a gzipped tar in its directory', async (t) => {
    const archive = zlib.gzipSync(tar({
      'index.js': 'exports.main = () => ({ text: require("fs").readFileSync("data.txt", "utf8") });',
      'data.txt': 'data',
    }));
    assert.deepEqual(await resultOf(t, archive.toString('base64')), { text: 'data' });
  });

  test('runs a function of a module', async (t) => {
    const archive = zip({ 'index.js': 'exports.main = () => ({});', 'other.js': 'exports.run = () => ({ other: true });' });
    assert.deepEqual(await resultOf(t, archive.toString('base64'), { exec: { main: 'other.run' } }), { other: true });
  });

  test('answers nothing with an empty object', async (t) => {
    assert.deepEqual(await resultOf(t, 'function main() {}'), {});
  });

  for (const [what, code, text] of [
    ['no entry in an archive', zip({ 'other.js': '1' }).toString('base64'),
      /^Initialization has failed due to: Zipped actions must contain either package\.json or index\.js at the root\.$/],
    ['an archive that leads outside', zip({ '../../evil.js': '1', 'index.js': 'exports.main = () => ({})' }).toString('base64'),
      /^Initialization has failed due to: /],
    ['no code', '', /^Missing main\/no code to execute\.$/],
    ['code that leaves', 'process.exit(1)', /^The action did not initialize and exited unexpectedly\.$/],
    ['a thrown error', 'function main() { throw new Error("boom"); }', /^An error has occurred: Error: boom$/],
    ['a text', 'function main() { return "text"; }', /^The action did not return a dictionary\.$/],
    ['null', 'function main() { return null; }', /^The action did not produce a valid JSON or JSON Array response: null$/],
    ['a circle', 'function main() { const a = {}; a.a = a; return a; }', /^An error has occurred: TypeError: Converting circular/],
  ]) {
    test(`calls ${what} the developer's error`, async (t) => {
      const answer = await invoke(await create(t, code), {}, 'blocking=true');
      assert.deepEqual([answer.status, answer.json.response.status], [502, 'action developer error'], answer.text);
      assert.match(answer.json.response.result.error, text);
    });
  }

  test('ends code that never initialises', async (t) => {
    const answer = await invoke(await create(t, 'while (true) {}', { limits: { timeout: 300 } }), {}, 'blocking=true');
    assert.equal(answer.json.response.result.error,
      'The action exceeded its time limits of 300 milliseconds during initialization.');
    const annotations = Object.fromEntries(answer.json.annotations.map(({ key, value }) => [key, value]));
    assert.equal(annotations.timeout, true);
    assert.ok(annotations.initTime >= 300 && answer.json.duration >= 300, answer.text);
  });

  test('keeps the lines of init, of children and without an end', async (t) => {
    const name = await create(t, `console.log("init");
      function main() {
        require("child_process").execSync("echo child; echo error >&2", { stdio: "inherit" });
        process.stdout.write("\\n\\u0000ä\\nno end");
        return {};
      }`);
    const id = (await invoke(name, {}, 'blocking=true')).headers['x-openwhisk-activation-id'];
    const answer = await until('logs', async () => {
      const logs = await request('GET', `${ACTIVATIONS}/${id}/logs`);
      return logs.status === 200 && logs;
    });
    const of = (stream) => answer.json.logs.map((line) => line.slice(31)).filter((line) => line.startsWith(stream));
    assert.deepEqual(of('stdout: '), ['stdout: init', 'stdout: child', 'stdout: ', 'stdout: \u0000ä', 'stdout: no end']);
    assert.deepEqual(of('stderr: '), ['stderr: error']);
  });
});
