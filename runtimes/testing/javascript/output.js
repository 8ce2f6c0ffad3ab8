'use strict';
// What calls write, and whose it is where they overlap.
const assert = require('node:assert/strict');

module.exports = ({ LOG, describe, test, start, startAction }) => {
  describe('what a call writes, when calls do not overlap,', () => {
    test('is in the pipes before its result', async (t) => {
      const launcher = await startAction(t, 'function main() { console.log("out"); console.error("err"); }');
      const answer = await launcher.run();
      assert.deepEqual([answer.stdout, answer.stderr, answer.logs.frames], ['out\n', 'err\n', 0]);
    });

    test('is in order, line by line', async (t) => {
      const launcher = await startAction(t, 'function main() { for (let i = 0; i < 20000; i++) console.log(i); }');
      const lines = (await launcher.run()).stdout.trimEnd().split('\n');
      assert.deepEqual(lines, Array.from({ length: 20000 }, (_, i) => String(i)));
    });

    test('may go around the console', async (t) => {
      const code = `const fs = require("fs");
      function main() { fs.writeSync(1, "a"); process.stdout.write("b"); fs.writeSync(1, "c".repeat(300000)); }`;
      const launcher = await startAction(t, code);
      assert.equal((await launcher.run()).stdout, `ab${'c'.repeat(300_000)}`);
    });

    test('belongs to that call only', async (t) => {
      const launcher = await startAction(t, 'function main({ n }) { console.log("call", n); }');
      await launcher.run({ n: 1 });
      assert.equal((await launcher.run({ n: 2 })).stdout, 'call 2\n');
    });

    test('is there if it comes from a tick that the call left', async (t) => {
      const code = 'function main() { process.nextTick(() => console.log("tick")); return Promise.resolve({}); }';
      const launcher = await startAction(t, code);
      assert.equal((await launcher.run()).stdout, 'tick\n');
    });

    test('by a child process is there too', async (t) => {
      const code = `const { execFileSync } = require("child_process");
      function main() { execFileSync("echo", ["from child"], { stdio: "inherit" }); }`;
      const launcher = await startAction(t, code);
      assert.equal((await launcher.run()).stdout, 'from child\n');
    });
  });

  describe('what overlapping calls write', () => {
    const options = { concurrency: 10 };

    test('comes in frames of their own', async (t) => {
      const code = `const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
      async function main({ n }) {
        for (let i = 0; i < 5; i++) { console.log(n, i); console.error("e", n, i); await sleep(1); }
      }`;
      const launcher = await startAction(t, code, options);
      const streams = [0, 1, 2, 3].map((n) => launcher.startRun({ n }));
      for (const [n, stream] of streams.entries()) {
        const { logs, stdout, stderr } = await launcher.answerOf(stream);
        assert.equal(logs.stdout, [0, 1, 2, 3, 4].map((i) => `${n} ${i}\n`).join(''));
        assert.equal(logs.stderr, [0, 1, 2, 3, 4].map((i) => `e ${n} ${i}\n`).join(''));
        assert.deepEqual([stdout, stderr], ['', '']);
      }
    });

    test('has the error that one threw', async (t) => {
      const launcher = await startAction(t, 'function main() { throw new Error("broken"); }', options);
      const { logs, body } = await launcher.run();
      assert.deepEqual(body, { error: 'An error has occurred: Error: broken' });
      assert.match(logs.stderr, /[Ee]rror: broken\n/);
    });

    test('may be written as bytes or coded', async (t) => {
      const code = `function main() {
      process.stdout.write(Buffer.from("bytes ä\\n"));
      process.stdout.write("6869", "hex");
      return new Promise((done) => process.stdout.write("!\\n", () => done({})));
    }`;
      const launcher = await startAction(t, code, options);
      assert.equal((await launcher.run()).logs.stdout, 'bytes ä\nhi!\n');
    });

    test('is cut into frames between characters', async (t) => {
      const launcher = await startAction(t, 'function main() { console.log("x" + "😀".repeat(50000)); }', options);
      const { logs } = await launcher.run();
      assert.equal(logs.stdout, `x${'😀'.repeat(50_000)}\n`);
      assert.ok(logs.frames > 1);
    });

    test('after their end goes to the pipe, unattributed', async (t) => {
      const code = `let go; function main({ end }) {
      if (end) { go(); return new Promise((r) => setImmediate(r)).then(() => ({})); }
      new Promise((r) => { go = r; }).then(() => console.log("late"));
    }`;
      const launcher = await startAction(t, code, options);
      assert.equal((await launcher.run({})).logs.stdout, '');
      const answer = await launcher.run({ end: true });
      assert.equal(answer.stdout, 'late\n');
      assert.equal(launcher.frames.filter((f) => f.kind === LOG).length, 0);
    });

    test('has nothing of what was written while the action was loaded', async (t) => {
      const launcher = await start(t);
      const init = await launcher.init('console.log("loading"); function main() { console.log("in"); }', options);
      assert.equal(init.stdout, 'loading\n');
      const answer = await launcher.run();
      assert.equal(answer.logs.stdout, 'in\n');
    });
  });

  describe('calls that may overlap', () => {
    const options = { concurrency: 5 };

    test('end in the order in which they are done', async (t) => {
      const code = `const ends = {}; function main({ n, end }) {
      if (end) { ends[end](); return {}; }
      return new Promise((r) => { ends[n] = () => r({ n }); });
    }`;
      const launcher = await startAction(t, code, options);
      const [first, second] = ['a', 'b'].map((n) => launcher.startRun({ n }));
      await launcher.run({ end: 'b' });
      assert.deepEqual((await launcher.answerOf(second)).body, { n: 'b' });
      await launcher.run({ end: 'a' });
      assert.deepEqual((await launcher.answerOf(first)).body, { n: 'a' });
    });

    test('do not fail for one that fails', async (t) => {
      const code = 'function main({ bad }) { if (bad) throw 1; return new Promise((r) => setTimeout(r, 20, { good: 1 })); }';
      const launcher = await startAction(t, code, options);
      const good = launcher.startRun({});
      assert.equal((await launcher.run({ bad: 1 })).failed, true);
      assert.deepEqual((await launcher.answerOf(good)).body, { good: 1 });
    });
  });
};
