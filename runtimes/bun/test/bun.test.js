'use strict';
const assert = require('node:assert/strict');
const types = require('../../testing/javascript/types.js');
const support = require('./support.js');

const { describe, test, start, startAction } = support;

types(support);

describe('what Bun has beside Node.js', () => {
  test('shows the environment of the call too', async (t) => {
    const code = 'export const main = () => ({ id: Bun.env.__OW_ACTIVATION_ID, gone: Bun.env.__OW_OTHER ?? "gone" });';
    const launcher = await startAction(t, code, { env: { __OW_ACTIVATION_ID: 'of-init' } });
    assert.deepEqual((await launcher.run({}, { activation_id: 'one', other: 'x' })).body, { id: 'one', gone: 'x' });
    assert.deepEqual((await launcher.run({}, { activation_id: 'two' })).body, { id: 'two', gone: 'gone' });
  });

  test('gives it to programs that the action starts', async (t) => {
    const code = `export async function main() {
      return { seen: (await new Response(Bun.spawn(['env']).stdout).text()).includes('__OW_ACTIVATION_ID=one\\n') };
    }`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run({}, { activation_id: 'one' })).body, { seen: true });
  });
});

test('code that cannot be read fails init, and the log says where', async (t) => {
  for (const code of ['function main( {', 'function main() { await 1; }']) {
    const launcher = await start(t);
    const init = await launcher.init(code);
    assert.match(init.body.error, /^Initialization has failed due to: (BuildMessage|AggregateError): /);
    assert.match(init.stderr, /action\.ts:1:/);
    assert.doesNotMatch(init.stderr, /mainOfAction/);
  }
});

test('a large output of a program that shares the outputs is whole', async (t) => {
  const code = `const { execFileSync } = require('child_process');
    function main() { console.log('first'); execFileSync('head', ['-c', '1000000', '/dev/zero'], { stdio: 'inherit' }); }`;
  const launcher = await startAction(t, code);
  assert.equal((await launcher.run()).stdout.length, 1_000_006);
});
