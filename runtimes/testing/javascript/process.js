'use strict';
// The end of the process, and what an action may break.
const assert = require('node:assert/strict');

module.exports = ({ RESULT, describe, test, start, startAction }) => {
  describe('the launcher exits', () => {
    test('when the proxy closes the socket in the middle of a call', async (t) => {
      const launcher = await startAction(t, 'process.on("exit", () => { for (;;); }); function main() { return new Promise(() => {}); }');
      launcher.startRun();
      launcher.socket.end();
      assert.equal((await launcher.exit()).code, 0);
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
      assert.match(exit.stderr, /[Ee]rror: stray/);
    });

    test('by a rejection that nothing handles, between calls, says so on stderr', async (t) => {
      const code = 'function main() { setTimeout(() => Promise.reject(new Error("stray")), 5); }';
      const launcher = await startAction(t, code);
      await launcher.run();
      const exit = await launcher.exit();
      assert.equal(exit.code, 1);
      assert.match(exit.stderr, /[Ee]rror: stray/);
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
};
