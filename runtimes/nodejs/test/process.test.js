'use strict';
const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { CANCEL, CHUNK, HELLO, RESULT, RUN, frame, start, startAction } = require('./support.js');

const MEGABYTE = 1024 * 1024;
const ECHO = 'function main(args) { return args; }';

describe('frames', () => {
  test('may come byte by byte', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.socket.setNoDelay?.(true);
    for (const byte of frame(RUN, 9, '{"value":{"slow":1}}')) {
      launcher.socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    assert.deepEqual((await launcher.answerOf(9)).body, { slow: 1 });
  });

  test('may come many at once', async (t) => {
    const launcher = await startAction(t, ECHO, { concurrency: 500 });
    const streams = Array.from({ length: 2000 }, (_, i) => i + 1);
    launcher.socket.write(Buffer.concat(streams.map((i) => frame(RUN, i, JSON.stringify({ value: { i } })))));
    for (const i of streams) assert.deepEqual((await launcher.answerOf(i)).body, { i });
  });

  test('keep their stream number up to the largest', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(RUN, 0xffffffff, '{"value":{"a":1}}');
    assert.deepEqual((await launcher.answerOf(0xffffffff)).body, { a: 1 });
  });

  test('may be 48 MB in both directions', async (t) => {
    const launcher = await startAction(t, ECHO);
    const text = 'x'.repeat(48 * MEGABYTE);
    const answer = await launcher.run({ text });
    assert.equal(answer.body.text, text);
  });

  test('of results that are not read hold up further calls, and none is lost', async (t) => {
    const code = `const fs = require("fs");
      function main({ n }) { fs.writeSync(2, "."); return { n, text: "x".repeat(1 << 20) }; }`;
    const launcher = await startAction(t, code, { concurrency: 500 });
    launcher.socket.pause();
    const streams = Array.from({ length: 60 }, (_, n) => launcher.startRun({ n, pad: 'y'.repeat(20_000) }));
    // More than the launcher holds back.
    const dots = await launcher.stderrOf(6);
    assert.ok(dots < 30, `${dots} calls ran`);
    launcher.socket.resume();
    for (const [n, stream] of streams.entries()) {
      const { body } = await launcher.answerOf(stream);
      assert.deepEqual([body.n, body.text.length], [n, MEGABYTE]);
    }
  });

  test('of cancels and chunks are passed over', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(CANCEL, 1, '');
    launcher.send(CHUNK, 1, 'piece');
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});

describe('the launcher exits', () => {
  const exitAfter = async (t, bytes) => {
    const launcher = await start(t);
    launcher.socket.write(bytes);
    return launcher.exit();
  };

  test('when the proxy closes the socket', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  test('when the proxy closes the socket in the middle of a call', async (t) => {
    const launcher = await startAction(t, 'process.on("exit", () => { for (;;); }); function main() { return new Promise(() => {}); }');
    launcher.startRun();
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  test('on a frame of unknown type', async (t) => {
    assert.deepEqual(await exitAfter(t, frame(0x77, 0, '{}')),
      { code: 70, signal: null, stdout: '', stderr: 'launcher: frame type 119 is unknown\n' });
  });

  test('on a frame that only it may send', async (t) => {
    assert.equal((await exitAfter(t, frame(HELLO, 0, '{}'))).code, 70);
  });

  test('on a frame that is too short', async (t) => {
    assert.equal((await exitAfter(t, Buffer.from([4, 0, 0, 0, RUN, 0, 0, 0, 0]))).code, 70);
  });

  test('on a frame that is too long, before it comes', async (t) => {
    assert.equal((await exitAfter(t, Buffer.from([0, 0, 0, 0xff, RUN, 0, 0, 0, 0]))).code, 70);
  });

  test('on a frame that is not JSON', async (t) => {
    assert.deepEqual(await exitAfter(t, frame(RUN, 1, '{"value":')),
      { code: 70, signal: null, stdout: '', stderr: 'launcher: a frame is not JSON\n' });
  });

  test('on a frame that is no object', async (t) => {
    assert.equal((await exitAfter(t, frame(RUN, 1, '5'))).code, 70);
  });
});

describe('an action that ends the process', () => {
  test('by process.exit gives its code', async (t) => {
    const launcher = await startAction(t, 'function main() { console.log("bye"); process.exit(3); }');
    launcher.startRun();
    const exit = await launcher.exit();
    assert.deepEqual([exit.code, exit.stdout], [3, 'bye\n']);
  });

  test('by process.exit while it is loaded gives its code', async (t) => {
    const launcher = await start(t);
    launcher.startInit('process.exit(4);');
    assert.equal((await launcher.exit()).code, 4);
  });

  test('by an exception that nothing catches says so on stderr', async (t) => {
    const code = 'function main() { setImmediate(() => { throw new Error("stray"); }); return new Promise(() => {}); }';
    const launcher = await startAction(t, code);
    launcher.startRun();
    const exit = await launcher.exit();
    assert.equal(exit.code, 1);
    assert.match(exit.stderr, /Error: stray/);
  });

  test('by a rejection that nothing handles, between calls, says so on stderr', async (t) => {
    const code = 'function main() { setTimeout(() => Promise.reject(new Error("stray")), 5); }';
    const launcher = await startAction(t, code);
    await launcher.run();
    const exit = await launcher.exit();
    assert.equal(exit.code, 1);
    assert.match(exit.stderr, /Error: stray/);
  });

  test('may catch what nothing else catches', async (t) => {
    const code = `process.on("unhandledRejection", (e) => console.log("caught", e.message));
      function main() { Promise.reject(new Error("stray")); return new Promise((r) => setTimeout(r, 20, {})); }`;
    const launcher = await startAction(t, code);
    assert.equal((await launcher.run()).stdout, 'caught stray\n');
  });
});

describe('an action cannot break the framing', () => {
  const survives = (name, tamper) => test(name, async (t) => {
    const launcher = await startAction(t, `${tamper}\nfunction main(args) { return { got: args.a, env: process.env.__OW_NAMESPACE }; }`);
    const first = await launcher.run({ a: 1 }, { namespace: 'guest' });
    assert.deepEqual(first.body, { got: 1, env: 'guest' });
    const second = await launcher.run({ a: 'ä'.repeat(100_000) }, { namespace: 'other' });
    assert.equal(second.body.got.length, 100_000);
    assert.equal(second.body.env, 'other');
  });

  survives('by changing JSON', 'JSON.parse = JSON.stringify = () => "broken";');
  survives('by changing the prototype of Buffer', `for (const name of Object.getOwnPropertyNames(Buffer.prototype)) {
    if (typeof Buffer.prototype[name] === "function") Buffer.prototype[name] = () => { throw new Error("broken"); };
  }`);
  survives('by changing typed arrays', `const typed = Object.getPrototypeOf(Uint8Array.prototype);
    typed.subarray = typed.set = typed.slice = () => { throw new Error("broken"); };`);
  survives('by changing promises', 'Promise.prototype.then = Promise.resolve = () => { throw new Error("broken"); };');
  survives('by changing fs', 'const fs = require("fs"); fs.writeSync = fs.readFileSync = () => { throw new Error("broken"); };');
  survives('by changing strings and objects', `String.prototype.toUpperCase = String.prototype.slice = () => "broken";
    Object.keys = Object.entries = () => [];`);
  survives('by changing how arrays are walked', 'Array.prototype[Symbol.iterator] = () => { throw new Error("broken"); };');
  survives('by adding to the prototype of objects', 'Object.prototype.extra = "extra"; Object.prototype.toJSON = undefined;');
  survives('by changing the console', 'console.log = console.error = () => { throw new Error("broken"); }; globalThis.console = null;');
  survives('by replacing globals', 'globalThis.Buffer = globalThis.JSON = globalThis.process = undefined, process = require("process");');

  test('by finding the socket on process, the globals or the module of the launcher', async (t) => {
    const code = `function main() {
      const found = [globalThis, process, require.main, require.main.exports].flatMap((o) =>
        Reflect.ownKeys(o).map((k) => { try { return o[k]; } catch { return undefined; } }));
      return { sockets: found.filter((v) => v instanceof require("net").Socket && v.fd !== 0 && v !== process.stdout
        && v !== process.stderr && v !== process.stdin).length };
    }`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { sockets: 0 });
  });

  test('through a child process, which does not inherit the socket', async (t) => {
    const code = `function main() {
      const list = require("child_process").execFileSync("sh", ["-c", "ls /proc/$$/fd"], { encoding: "utf8" });
      return { fds: list.split("\\n").filter(Boolean).map(Number).filter((fd) => fd > 2 && fd < 10) };
    }`;
    const launcher = await startAction(t, code);
    assert.equal((await launcher.run()).body.fds.includes(3), false);
  });

  test('by answering twice', async (t) => {
    const code = 'function main() { return { then(yes, no) { yes({ n: 1 }); yes({ n: 2 }); no(3); } }; }';
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { n: 1 });
    assert.deepEqual((await launcher.run()).body, { n: 1 });
    assert.equal(launcher.frames.filter((f) => f.kind === RESULT).length, 0);
  });
});
