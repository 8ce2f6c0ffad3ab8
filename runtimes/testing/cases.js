'use strict';
// The cases that every launcher is held to, whatever its language: frames, the end of the process, output, environment.
//
// A language brings, as `language`: `suite` and `test` of Node.js's runner, or of what skips them; `start(t)`, a launcher that
// said HELLO; `startAction(t, name, options)`, one with the action of that name, of which there are
// - `echo`: answers its argument;
// - `large`: writes a point to stderr at once, then answers its `n` with a `text` of 1 MiB;
// - `print`: writes its `text` and a line end to stdout and stderr;
// - `loading`: writes `loading` while it is loaded, without a line end, and `running` in a call;
// - `environment`: answers by name what begins with `__OW_` in its environment;
// `codeOf(name)`, what init is given for it; and `texts`: those of its runtime `twice` for a second init and `early` for a call
// before init, and its own `notJson` and `notObject` for frames.

const assert = require('node:assert/strict');
const { CANCEL, CHUNK, HELLO, INIT, RUN, frame } = require('./launcher.js');

const MEGABYTE = 1024 * 1024;

const frames = ({ suite, test, startAction }) => suite('frames', () => {
  test('may come byte by byte, with the largest number of a stream', async (t) => {
    const launcher = await startAction(t, 'echo');
    for (const byte of frame(RUN, 0xffffffff, '{"value":{"slow":1}}')) {
      launcher.socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    assert.deepEqual((await launcher.answerOf(0xffffffff)).body, { slow: 1 });
  });

  test('may come many at once', async (t) => {
    const launcher = await startAction(t, 'echo', { concurrency: 500 });
    const streams = Array.from({ length: 2000 }, (_, i) => i + 1);
    const value = (i) => ({ i, pad: 'ä'.repeat(i % 100) });
    launcher.socket.write(Buffer.concat(streams.map((i) => frame(RUN, i, JSON.stringify({ value: value(i) })))));
    for (const i of streams) assert.deepEqual((await launcher.answerOf(i)).body, value(i));
  });

  test('may be of any length, whatever the length of a buffer', async (t) => {
    const launcher = await startAction(t, 'echo');
    const around = (bytes) => [-40, -30, -20, -10, -1, 0, 1].map((less) => bytes + less);
    for (const length of [1, ...around(8192), ...around(65_536), 131_072, MEGABYTE]) {
      const text = 'x'.repeat(length);
      assert.equal((await launcher.run({ text })).body.text, text);
    }
  });

  test('may be 48 MB in both directions', async (t) => {
    const launcher = await startAction(t, 'echo');
    const text = 'x'.repeat(48 * MEGABYTE);
    assert.equal((await launcher.run({ text })).body.text, text);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });

  test('of results that are not read hold up further calls, and none is lost', async (t) => {
    const launcher = await startAction(t, 'large', { concurrency: 4 });
    launcher.socket.pause();
    const streams = Array.from({ length: 60 }, (_, n) => launcher.startRun({ n, pad: 'y'.repeat(20_000) }));
    const dots = await launcher.stderrOf(1);
    assert.ok(dots < 30, `${dots} calls ran`);
    launcher.socket.resume();
    for (const [n, stream] of streams.entries()) {
      const { body } = await launcher.answerOf(stream);
      assert.deepEqual([body.n, body.text.length], [n, MEGABYTE]);
    }
  });

  test('of cancels and chunks are passed over', async (t) => {
    const launcher = await startAction(t, 'echo');
    launcher.send(CANCEL, 1, '');
    launcher.send(CHUNK, 1, 'piece');
    launcher.send(CHUNK, 1, 'p'.repeat(200_000));
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});

const ends = ({ suite, test, start, startAction, texts }) => suite('the launcher exits', () => {
  test('when the proxy closes the socket before init', async (t) => {
    const launcher = await start(t);
    launcher.socket.end();
    assert.deepEqual(await launcher.exit(), { code: 0, signal: null, stdout: '', stderr: '' });
  });

  test('when the proxy closes the socket between calls', async (t) => {
    const launcher = await startAction(t, 'echo');
    await launcher.run();
    launcher.socket.end();
    assert.deepEqual(await launcher.exit(), { code: 0, signal: null, stdout: '', stderr: '' });
  });

  test('when the proxy is gone as it answers', async (t) => {
    const launcher = await startAction(t, 'large');
    launcher.startRun({ n: 1 });
    await launcher.stderrOf(1);
    launcher.socket.destroy();
    const { code } = await launcher.exit();
    // A launcher that reads while a call runs may see the end of the socket first.
    assert.ok([0, 71].includes(code), `it exits with ${code}`);
  });

  const refused = {
    'of unknown type': [frame(0x77, 0, '{}'), 'frame type 119 is unknown'],
    'that only it may send': [frame(HELLO, 0, '{}'), 'frame type 1 is unknown'],
    'that is too short': [Buffer.from([4, 0, 0, 0, RUN, 0, 0, 0, 0]), undefined],
    'that is too long, before it comes': [Buffer.from([0, 0, 0, 0xff, RUN, 0, 0, 0, 0]), undefined],
    'that is not JSON': [frame(INIT, 0, '{"main":'), texts.notJson],
    'that is no object': [frame(INIT, 0, '5'), texts.notObject],
  };
  for (const [name, [bytes, said]] of Object.entries(refused)) {
    test(`on a frame ${name}, and says so`, async (t) => {
      const launcher = await start(t);
      launcher.socket.write(bytes);
      const { stderr, ...exit } = await launcher.exit();
      assert.deepEqual(exit, { code: 70, signal: null, stdout: '' });
      if (said === undefined) assert.match(stderr, /^launcher: frame length -?\d+ is out of range\n$/);
      else assert.equal(stderr, `launcher: ${said}\n`);
    });
  }
});

const lives = ({ suite, test, start, startAction, texts }) => suite('an action', () => {
  test('is waited for by a launcher that names the protocol', async (t) => {
    const launcher = await start(t);
    assert.deepEqual(JSON.parse(launcher.hello.payload.toString()), { protocol: 1 });
    assert.equal(launcher.hello.stream, 0);
  });

  test('is not called before init, which may still come', async (t) => {
    const launcher = await start(t);
    const answer = await launcher.run({ a: 1 });
    assert.deepEqual([answer.failed, answer.body], [true, { error: texts.early }]);
  });

  test('is not initialised twice, and runs on', async (t) => {
    const launcher = await startAction(t, 'echo');
    const again = await launcher.init('never read');
    assert.deepEqual([again.failed, again.body], [true, { error: texts.twice }]);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });

  test('gets any JSON and gives it back', async (t) => {
    const launcher = await startAction(t, 'echo');
    const value = { text: 'ä€😀 "\\\n\u0001', number: -1.5e9, none: null, list: [1, [true, false]], deep: { a: { b: 'c' } } };
    assert.deepEqual((await launcher.run(value)).body, value);
  });
});

const output = ({ suite, test, start, startAction, codeOf }) => suite('what a call writes', () => {
  test('is in the pipes before its result', async (t) => {
    const launcher = await startAction(t, 'print');
    for (const text of ['one', 'ünö €😀', '']) {
      const { stdout, stderr, logs } = await launcher.run({ text });
      assert.deepEqual([stdout, stderr, logs.frames], [`${text}\n`, `${text}\n`, 0]);
    }
  });

  test('is there even if it is larger than a pipe', async (t) => {
    const launcher = await startAction(t, 'print');
    const text = 'x'.repeat(4 * MEGABYTE);
    const { stdout, stderr } = await launcher.run({ text });
    assert.ok(stdout === `${text}\n` && stderr === stdout, `${stdout.length} and ${stderr.length} bytes`);
  });

  test('comes with init if it is written then, also without a line end', async (t) => {
    const launcher = await start(t);
    const { code, ...options } = codeOf('loading');
    const init = await launcher.init(code, options);
    assert.deepEqual([init.failed, init.stdout], [false, 'loading']);
    assert.equal((await launcher.run()).stdout, 'running');
  });
});

const environment = ({ suite, test, startAction }) => suite('the environment of a call', () => {
  test('has all texts that came beside the value', async (t) => {
    const launcher = await startAction(t, 'environment');
    const { body } = await launcher.run({}, {
      namespace: 'guest', action_name: '/guest/hello', action_version: '0.0.1', activation_id: 'a1',
      transaction_id: 't1', deadline: '1700000000000', api_key: 'u:k', traceparent: '00-1-2-01', not_text: 5,
    });
    assert.deepEqual(body, {
      __OW_NAMESPACE: 'guest', __OW_ACTION_NAME: '/guest/hello', __OW_ACTION_VERSION: '0.0.1',
      __OW_ACTIVATION_ID: 'a1', __OW_TRANSACTION_ID: 't1', __OW_DEADLINE: '1700000000000', __OW_API_KEY: 'u:k',
      __OW_TRACEPARENT: '00-1-2-01',
    });
  });

  test('changes with the call, and loses what the next one does not have', async (t) => {
    const launcher = await startAction(t, 'environment');
    const seen = async (context) => (await launcher.run({}, context)).body;
    for (let i = 0; i < 3; i += 1) {
      const value = 'ä'.repeat(i * 1000);
      assert.deepEqual(await seen({ namespace: 'guest', api_key: value }), { __OW_NAMESPACE: 'guest', __OW_API_KEY: value });
      assert.deepEqual(await seen({ namespace: 'guest', other: 'o' }), { __OW_NAMESPACE: 'guest', __OW_OTHER: 'o' });
      assert.deepEqual(await seen({}), {});
    }
  });

  test('keeps what init set', async (t) => {
    const env = { __OW_API_HOST: 'http://host', __OW_ACTIVATION_ID: 'a0' };
    const launcher = await startAction(t, 'environment', { env });
    const { body } = await launcher.run({}, { activation_id: 'a1' });
    assert.deepEqual(body, { __OW_API_HOST: 'http://host', __OW_ACTIVATION_ID: 'a1' });
  });
});

/** Runs all cases for a language. */
const run = (language) => [frames, ends, lives, output, environment].forEach((cases) => cases(language));

/** Runs all cases for a language whose actions are texts. */
const runScripts = ({ describe, test, start, startAction }, { actions, texts }) => run({
  suite: describe,
  test,
  start,
  startAction: (t, name, options) => startAction(t, actions[name], options),
  codeOf: (name) => ({ code: actions[name] }),
  texts,
});

/** What most launchers say of a frame. */
const FRAME_TEXTS = { notJson: 'a frame is not JSON', notObject: 'a frame is not an object' };

module.exports = { FRAME_TEXTS, run, runScripts };
