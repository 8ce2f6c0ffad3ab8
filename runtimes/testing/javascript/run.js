'use strict';
// What calls return, and how they fail.
const assert = require('node:assert/strict');

module.exports = ({ describe, test, start, startAction }) => {
  const answerOf = async (t, code, value) => (await startAction(t, code)).run(value);

  const returns = (name, code, body) => test(name, async (t) => {
    const answer = await answerOf(t, code, { a: 1 });
    assert.deepEqual([answer.failed, answer.body], [false, body]);
  });

  const fails = (name, code, error) => test(name, async (t) => {
    const answer = await answerOf(t, code, {});
    assert.equal(answer.failed, true);
    if (error instanceof RegExp) assert.match(answer.body.error, error);
    else assert.deepEqual(answer.body, { error });
  });

  describe('a call returns', () => {
    returns('its object', 'function main(args) { return { got: args }; }', { got: { a: 1 } });
    returns('an array', 'function main() { return [1, "two"]; }', [1, 'two']);
    returns('an empty object for nothing', 'function main() {}', {});
    returns('null as it is', 'function main() { return null; }', null);
    returns('what a promise resolves to', 'function main() { return new Promise((r) => setTimeout(r, 1, { late: 1 })); }',
      { late: 1 });
    returns('an empty object for a promise of nothing', 'async function main() {}', {});
    returns('what an async function returns', 'async function main() { await null; return { async: 1 }; }', { async: 1 });
    returns('what a thenable resolves to', 'function main() { return { then(done) { done({ then: 1 }); } }; }', { then: 1 });
    returns('an error that it made itself', 'function main() { return { error: "mine", other: 1 }; }',
      { error: 'mine', other: 1 });
    returns('text outside ASCII', 'function main() { return { text: "ä€😀" }; }', { text: 'ä€😀' });
    returns('the name of a key that a prototype has', 'function main() { return JSON.parse(\'{"__proto__":1}\'); }',
      JSON.parse('{"__proto__":1}'));
  });

  describe('a promise that is rejected', () => {
    test('with an error is an application error with its name, message and stack', async (t) => {
      const answer = await answerOf(t, 'function main() { return Promise.reject(new TypeError("no way")); }');
      assert.equal(answer.failed, false);
      const { name, message, stack, ...others } = answer.body.error;
      assert.deepEqual([name, message, others], ['TypeError', 'no way', {}]);
      assert.match(stack, /^TypeError: no way\n/);
    });

    test('by a throw in an async function is the same', async (t) => {
      const answer = await answerOf(t, 'async function main() { throw new Error("async"); }');
      assert.deepEqual([answer.failed, answer.body.error.message], [false, 'async']);
    });

    returns('with an object has that object',
      'const main = () => Promise.reject({ code: 7, why: { deep: true }, f() {} });',
      { error: { code: 7, why: { deep: true } } });
    returns('with a cyclic object says where it is',
      'function main() { const o = { a: 1 }; o.self = o; return Promise.reject(o); }',
      { error: { a: 1, self: '[Circular]' } });
    returns('with a text has that text', 'function main() { return Promise.reject("words"); }', { error: 'words' });
    returns('with nothing has an empty object', 'function main() { return Promise.reject(); }', { error: {} });

    test('leaves the action usable', async (t) => {
      const code = 'function main({ bad }) { return bad ? Promise.reject("bad") : { good: 1 }; }';
      const launcher = await startAction(t, code);
      await launcher.run({ bad: true });
      assert.deepEqual((await launcher.run({})).body, { good: 1 });
    });
  });

  describe('a call fails', () => {
    fails('when it throws an error', 'function main() { throw new Error("broken"); }',
      'An error has occurred: Error: broken');
    fails('when it throws a text', 'function main() { throw "words"; }', 'An error has occurred: words');
    fails('when it throws what has no text', 'function main() { throw Object.create(null); }',
      'An error has occurred: an error that cannot be shown');
    fails('when it returns a text', 'function main() { return "text"; }', 'The action did not return a dictionary.');
    fails('when it returns a number', 'async function main() { return 5; }', 'The action did not return a dictionary.');
    fails('when it returns a function', 'function main() { return main; }', 'The action did not return a dictionary.');
    fails('when its result is cyclic', 'function main() { const o = {}; o.o = o; return o; }',
      /^An error has occurred: TypeError: (Converting circular structure|JSON.stringify cannot serialize cyclic)/);
    fails('when its result has a BigInt', 'function main() { return { n: 1n }; }',
      /^An error has occurred: TypeError: .* serialize a? ?BigInt/);
    fails('when a getter of its result throws', 'function main() { return { get a() { throw new Error("got"); } }; }',
      'An error has occurred: Error: got');

    test('and the thrown error is in the log', async (t) => {
      const answer = await answerOf(t, 'function main() { throw new Error("broken"); }');
      assert.match(answer.stderr, /[Ee]rror: broken\n +at main/);
    });

    test('after a failed init', async (t) => {
      const launcher = await start(t);
      await launcher.init('throw 1;');
      assert.deepEqual((await launcher.run()).body, { error: 'System not initialized.' });
    });

    test('when its argument is no dictionary', async (t) => {
      const answer = await answerOf(t, 'function main() {}', 'text');
      assert.equal(answer.body.error,
        "Internal system error: the argument must be a dictionary but has type 'string'.");
    });

    test('when one is running and calls may not overlap', async (t) => {
      const launcher = await startAction(t, 'let end; function main(a) { if (a.wait) return new Promise(() => {}); }');
      launcher.startRun({ wait: true });
      assert.equal((await launcher.run({})).body.error, 'System not ready, status is running.');
    });
  });

  test('a call may have an array as argument', async (t) => {
    const answer = await answerOf(t, 'function main(args) { return { count: args.length }; }', [1, 2, 3]);
    assert.deepEqual(answer.body, { count: 3 });
  });

  test('a call with null as argument gets an empty object', async (t) => {
    assert.deepEqual((await answerOf(t, 'function main(args) { return { args }; }', null)).body, { args: {} });
  });

  describe('the environment of a call', () => {
    const SHOW = `function main() {
    return Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("__OW_")));
  }`;

    test('loses what the next call does not have', async (t) => {
      const launcher = await startAction(t, SHOW);
      await launcher.run({}, { namespace: 'guest', api_key: 'u:k' });
      assert.deepEqual((await launcher.run({}, { namespace: 'guest' })).body, { __OW_NAMESPACE: 'guest' });
    });
  });
};
