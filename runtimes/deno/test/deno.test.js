'use strict';
const assert = require('node:assert/strict');
const types = require('../../testing/javascript/types.js');
const support = require('./support.js');

const { describe, test, startAction } = support;

types(support);

describe('what Deno has beside Node.js', () => {
  test('shows the environment of the call too', async (t) => {
    const code = `export function main() {
      Deno.env.set('MINE', 'mine');
      const { __OW_ACTIVATION_ID: listed } = Deno.env.toObject();
      const asked = Deno.env.get('__OW_ACTIVATION_ID');
      return { asked, listed, has: Deno.env.has('__OW_ACTIVATION_ID'), mine: process.env.MINE, none: Deno.env.get('NONE') ?? 'none' };
    }`;
    const launcher = await startAction(t, code, { env: { __OW_ACTIVATION_ID: 'of-init' } });
    for (const id of ['one', 'two']) {
      const { body } = await launcher.run({}, { activation_id: id });
      assert.deepEqual(body, { asked: id, listed: id, has: true, mine: 'mine', none: 'none' });
    }
  });

  test('gives it to programs that the action starts', async (t) => {
    const code = `export async function main() {
      const { stdout } = await new Deno.Command('env', { env: { MORE: 'more' } }).output();
      const lines = new TextDecoder().decode(stdout).split('\\n');
      return { lines: lines.filter((line) => /^(__OW_|MORE)/.test(line)).sort() };
    }`;
    const launcher = await startAction(t, code);
    const { body } = await launcher.run({}, { activation_id: 'one' });
    assert.deepEqual(body, { lines: ['MORE=more', '__OW_ACTIVATION_ID=one'] });
  });

  test('writes to the pipes before the result', async (t) => {
    const code = `export function main() { Deno.stdout.writeSync(new TextEncoder().encode('x'.repeat(300000))); return {}; }`;
    const launcher = await startAction(t, code);
    assert.ok((await launcher.run()).stdout.length > 0);
  });
});
