'use strict';
// The environment of a call.
const assert = require('node:assert/strict');

module.exports = ({ describe, test, startAction }) => {
  describe('the environment of a call', () => {
    test('is what the call says, and hides that of init', async (t) => {
      const code = 'function main() { return { id: process.env.__OW_ACTIVATION_ID, own: process.env.OWN } }';
      const launcher = await startAction(t, code, { env: { __OW_ACTIVATION_ID: 'of-init', OWN: 'kept' } });
      assert.deepEqual((await launcher.run({}, { activation_id: 'one' })).body, { id: 'one', own: 'kept' });
      assert.deepEqual((await launcher.run({}, { activation_id: 'two' })).body, { id: 'two', own: 'kept' });
    });

    test('can be listed, changed and deleted', async (t) => {
      const code = `function main() {
      const listed = Object.keys(process.env).includes('__OW_ACTIVATION_ID') && '__OW_ACTIVATION_ID' in process.env;
      const copied = { ...process.env }.__OW_ACTIVATION_ID;
      process.env.__OW_ACTIVATION_ID = 7;
      const changed = process.env.__OW_ACTIVATION_ID;
      delete process.env.__OW_ACTIVATION_ID;
      return { listed, copied, changed, deleted: !('__OW_ACTIVATION_ID' in process.env) };
    }`;
      const launcher = await startAction(t, code);
      const expected = { listed: true, copied: 'one', changed: '7', deleted: true };
      assert.deepEqual((await launcher.run({}, { activation_id: 'one' })).body, expected);
    });

    test('is that of the children that it starts', async (t) => {
      const code = `function main() {
      const seen = require('child_process').execFileSync('/usr/bin/env').toString();
      return { seen: seen.includes('__OW_ACTIVATION_ID=one') };
    }`;
      const launcher = await startAction(t, code);
      assert.deepEqual((await launcher.run({}, { activation_id: 'one' })).body, { seen: true });
    });

    test('is its own where calls overlap', async (t) => {
      const code = `async function main() {
      await new Promise((done) => setTimeout(done, 20));
      return { id: process.env.__OW_ACTIVATION_ID };
    }`;
      const launcher = await startAction(t, code, { concurrency: 10 });
      const streams = Array.from({ length: 10 }, (_, i) => launcher.startRun({}, { activation_id: `id-${i}` }));
      for (const [i, stream] of streams.entries()) {
        assert.deepEqual((await launcher.answerOf(stream)).body, { id: `id-${i}` });
      }
    });

    test('takes no memory for calls that are over', async (t) => {
      const launcher = await startAction(t, 'function main() { return { rss: process.memoryUsage().rss } }');
      const calls = 4000;
      const value = 'x'.repeat(8000);
      const run = async (i) => (await launcher.run({}, { activation_id: `${value}${i}` })).body.rss;
      for (let i = 0; i < calls / 4; i += 1) await run(i);
      const before = await run('before');
      for (let i = 0; i < calls; i += 1) await run(i);
      assert.ok(await run('after') - before < calls * value.length / 2);
    });
  });
};
