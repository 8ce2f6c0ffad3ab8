'use strict';
const assert = require('node:assert/strict');
const { RUN, describe, start, startAction, test } = require('./support.js');

const ERROR_OCCURRED = 'Invalid Action: An error occurred running the action';
const NO_DICTIONARY = 'The action did not return a dictionary or array.';

const answerOf = async (t, code, value) => (await startAction(t, code)).run(value);

const returns = (name, code, body, value = { a: 1 }) => test(name, async (t) => {
  const answer = await answerOf(t, code, value);
  assert.deepEqual([answer.failed, answer.body], [false, body]);
});

const fails = (name, code, error, log) => test(name, async (t) => {
  const answer = await answerOf(t, code, {});
  assert.deepEqual([answer.failed, answer.body], [true, { error }]);
  assert.match(answer.stderr, log);
});

describe('a call returns', () => {
  returns('its hash', 'def main(args) = { got: args }', { got: { a: 1 } });
  returns('an array', 'def main(args) = [1, "two"]', [1, 'two']);
  returns('an empty hash', 'def main(args) = {}', {});
  returns('an empty array', 'def main(args) = []', []);
  returns('an error that it made itself',
    'def main(args) = { "error" => "mine", "other" => 1 }', { error: 'mine', other: 1 });
  returns('text outside ASCII', 'def main(args) = { text: "ä€😀" }', { text: 'ä€😀' });
  returns('text of another encoding', 'def main(args) = { text: "ä€".encode("UTF-16LE") }', { text: 'ä€' });
  returns('what an object of a class says it is',
    'class A; def to_json(*) = \'{"a":1}\'; end; def main(args) = A.new', { a: 1 });
  returns('what the parts say they are',
    'class Time; def to_json(*) = "5"; end; def main(args) = { at: Time.now }', { at: 5 });
  returns('the environment as text, as OpenWhisk does', 'def main(args) = { env: ENV }', { env: 'ENV' });
});

describe('an argument', () => {
  const ECHO = 'def main(args) = args';

  returns('is a hash with names that are texts', 'def main(args) = { n: args["o"]["l"][0]["n"] }', { n: 7 },
    { o: { l: [{ n: 7 }] } });
  returns('may be an array', 'def main(args) = { count: args.size }', { count: 3 }, [1, 2, 3]);
  returns('is empty for null', 'def main(args) = { args: args }', { args: {} }, null);
  returns('may be taken as optional', 'def main(args = nil) = args', { a: 1 });
  returns('is UTF-8', 'def main(args) = { size: args["t"].size, encoding: args["t"].encoding.to_s }',
    { size: 2, encoding: 'UTF-8' }, { t: 'ä😀' });
  returns('keeps text, numbers and truth',
    ECHO, { t: 'ä\u0000"', i: 9007199254740991, f: 1.5, yes: true, no: null, '': 0 },
    { t: 'ä\u0000"', i: 9007199254740991, f: 1.5, yes: true, no: null, '': 0 });
  returns('makes no objects of classes', ECHO, { json_class: 'String', a: 1 }, { json_class: 'String', a: 1 });

  test('that is nested too deeply fails that call', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(RUN, 9, `{"value":${'['.repeat(10_000)}${']'.repeat(10_000)}}`);
    const answer = await launcher.answerOf(9);
    assert.equal(answer.failed, true);
    assert.match(answer.body.error, /^the argument cannot be decoded: nesting of 101 is too deep/);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });

  test('with half a character fails that call', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(RUN, 9, '{"value":{"a":"\\ud83d"}}');
    const answer = await launcher.answerOf(9);
    assert.equal(answer.failed, true);
    assert.match(answer.body.error, /^the argument cannot be decoded: .*surrogate/);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});

describe('a call fails', () => {
  fails('when it raises an exception', 'def main(args)\n  raise Exception.new("nooooo")\nend', ERROR_OCCURRED,
    /^\S*source:2:in [`'].*main': nooooo \(Exception\)\n$/);
  fails('when it raises an error of Ruby', 'def main(args) = nil.size', ERROR_OCCURRED,
    /^\S*source:1:in [`'].*main': undefined method [`']size' for nil.* \(NoMethodError\)\n/);
  fails('when its exception has a cause', 'def main(args)\n  raise "one"\nrescue\n  raise "two"\nend', ERROR_OCCURRED,
    /source:4:in [`']rescue in .*main': two \(RuntimeError\)\n[^]*source:2:in [`'].*main': one \(RuntimeError\)\n$/);
  fails('when it takes no argument',
    'def main = {}', ERROR_OCCURRED, /wrong number of arguments \(given 1, expected 0\)/);
  fails('when it throws a symbol',
    'def main(args) = throw(:ball)', ERROR_OCCURRED, /uncaught throw :ball \(UncaughtThrowError\)/);
  fails('when it is too deep for the stack', 'def main(args) = main(args)', ERROR_OCCURRED, /stack level too deep/);
  fails('when it evaluates what is no Ruby', 'def main(args) = eval("class ENV\\nend")', ERROR_OCCURRED, /TypeError/);
  fails('when its exception cannot be shown',
    `class E < StandardError; def message = raise("no"); def detailed_message(...) = message; end
      def main(args) = raise(E)`,
    ERROR_OCCURRED, /^E, which cannot be shown\n$/);
  fails('when its exception is not UTF-8',
    'def main(args) = raise("\\xff")', ERROR_OCCURRED, /in [`'].*main': \ufffd \(RuntimeError\)\n$/);
  fails('when it returns a text', 'def main(args) = "not a json object"', NO_DICTIONARY,
    /^Result must be an array but has type 'String': "not a json object"\n$/);
  fails('when it returns a number', 'def main(args) = 5', NO_DICTIONARY,
    /^Result must be an array but has type 'Integer': 5\n$/);
  fails('when it returns nothing', 'def main(args); end', NO_DICTIONARY,
    /^Result must be an array but has type 'NilClass': null\n$/);
  fails('when it returns an object of a class',
    'def main(args) = Struct.new(:a).new(1)', NO_DICTIONARY, /#<struct a=1>/);
  fails('when what it returns says that it is nothing',
    'def main(args) = Class.new { def to_json(*) = nil }.new', NO_DICTIONARY,
    /^Result must be an array but has type /);
  fails('when it returns what has no methods', 'def main(args) = BasicObject.new', ERROR_OCCURRED, /to_json/);
  fails('when its result is not UTF-8', 'def main(args) = { a: "\\xff" }', ERROR_OCCURRED, /JSON::GeneratorError/);
  fails('when a name in its result is not UTF-8',
    'def main(args) = { "\\xff" => 1 }', ERROR_OCCURRED, /JSON::GeneratorError/);
  fails('when its result is no text', 'def main(args) = { a: "\\xff".b }', ERROR_OCCURRED, /Error/);
  fails('when its result is not a number',
    'def main(args) = { a: Float::NAN }', ERROR_OCCURRED, /NaN not allowed in JSON/);
  fails('when its result contains itself',
    'def main(args) = {}.tap { |a| a[:a] = a }', ERROR_OCCURRED, /nesting of 10\d is too deep/);
  fails('when a part of its result raises',
    'class A; def to_json(*) = raise("got"); end\ndef main(args) = { a: A.new }',
    ERROR_OCCURRED, /in [`'].*to_json': got \(RuntimeError\)/);

  test('and the next is served', async (t) => {
    const launcher = await startAction(t, 'def main(args) = args["bad"] ? raise : { good: 1 }');
    assert.equal((await launcher.run({ bad: 1 })).failed, true);
    assert.deepEqual((await launcher.run({})).body, { good: 1 });
  });

  test('after a failed init', async (t) => {
    const launcher = await start(t);
    await launcher.init('raise');
    assert.deepEqual((await launcher.run()).body, { error: 'Invalid Action: no action file found' });
  });
});

describe('calls that come at once', () => {
  test('run one after the other', async (t) => {
    const code = `def main(args)
      return { error: "two at once" } if $running
      $running = true; sleep 0.001; $running = false
      args
    end`;
    const launcher = await startAction(t, code);
    const streams = [1, 2, 3, 4].map((n) => launcher.startRun({ n }));
    for (const [i, stream] of streams.entries()) assert.deepEqual((await launcher.answerOf(stream)).body, { n: i + 1 });
  });

  test('do not keep threads of the action from running between them', async (t) => {
    const code = '$n = 0\nThread.new { loop { $n += 1; sleep 0.001 } }\ndef main(args) = { n: $n }';
    const launcher = await startAction(t, code);
    for (;;) if ((await launcher.run()).body.n > 3) return;
  });
});

// The variables are set in two ways: by ENV at first, and in memory of their own after so many calls.
for (const [manner, calls] of [['of a call', 0], ['of a call after many', 1100]]) {
  describe(`the environment ${manner}`, () => {
    const SHOW = `def main(args)
      ENV.replace(ENV.to_h.merge("__OW_NAMESPACE" => "replaced")) if args["replace"]
      ENV["__OW_ACTIVATION_ID"] = "changed" if args["change"]
      return {} if args["quick"]
      ours = ->(name, _) { name.start_with?("__OW_") }
      inherited = %x(env -0 | grep -z ^__OW_).split("\\0").to_h { |line| line.split("=", 2) }
      bytes = ->(env) { env.map { |pair| pair.map(&:b) }.sort }
      { env: inherited, same: bytes.(ENV.select(&ours)) == bytes.(inherited) }
    end`;

    const begin = async (t, options) => {
      const launcher = await startAction(t, SHOW, options);
      for (let i = 0; i < calls; i += 1) {
        launcher.startRun({ quick: true }, { namespace: `n${i}`, activation_id: `i${i}`, old: 'old' });
      }
      if (calls > 0) await launcher.answerOf(calls);
      launcher.frames = [];
      return launcher;
    };

    const shown = async (launcher, context) => {
      const { body } = await launcher.run({}, context);
      assert.equal(body.same, true, 'ENV and what children get differ');
      return body.env;
    };

    test('has all that came beside the value', async (t) => {
      const launcher = await begin(t);
      const env = await shown(launcher, {
        namespace: 'guest', action_name: '/guest/hello', action_version: '0.0.1', activation_id: 'a1',
        transaction_id: 't1', deadline: '1700000000000', api_key: 'u:k', traceparent: '00-1-2-01', not_text: 5,
      });
      assert.deepEqual(env, {
        __OW_NAMESPACE: 'guest', __OW_ACTION_NAME: '/guest/hello', __OW_ACTION_VERSION: '0.0.1',
        __OW_ACTIVATION_ID: 'a1', __OW_TRANSACTION_ID: 't1', __OW_DEADLINE: '1700000000000', __OW_API_KEY: 'u:k',
        __OW_TRACEPARENT: '00-1-2-01',
      });
    });

    test('changes with the call', async (t) => {
      const launcher = await begin(t);
      await launcher.run({}, { namespace: 'guest', activation_id: 'a1' });
      const env = await shown(launcher, { namespace: 'guest', activation_id: 'a2' });
      assert.deepEqual(env, { __OW_NAMESPACE: 'guest', __OW_ACTIVATION_ID: 'a2' });
    });

    test('may have values of any length', async (t) => {
      const launcher = await begin(t);
      for (const length of [0, 1, 63, 64, 65, 10_000, 3, 50_000, 0, 64]) {
        const value = 'ä'.repeat(length);
        assert.deepEqual(await shown(launcher, { api_key: value }), { __OW_API_KEY: value });
      }
    });

    test('loses what the next call does not have, and gets it back', async (t) => {
      const launcher = await begin(t);
      const full = { namespace: 'guest', api_key: 'u:k' };
      for (let i = 0; i < 3; i += 1) {
        assert.deepEqual(await shown(launcher, full), { __OW_NAMESPACE: 'guest', __OW_API_KEY: 'u:k' });
        assert.deepEqual(await shown(launcher, { namespace: 'guest', api_key: 5 }), { __OW_NAMESPACE: 'guest' });
        assert.deepEqual(await shown(launcher, { namespace: 'guest', other: 'o' }),
          { __OW_NAMESPACE: 'guest', __OW_OTHER: 'o' });
        assert.deepEqual(await shown(launcher, {}), {});
      }
    });

    test('keeps what init set', async (t) => {
      const launcher = await begin(t, { env: { __OW_API_HOST: 'http://host', __OW_ACTIVATION_ID: 'a0' } });
      const expected = { __OW_API_HOST: 'http://host', __OW_ACTIVATION_ID: 'a1' };
      assert.deepEqual(await shown(launcher, { activation_id: 'a1' }), expected);
    });

    test('is right again after an action replaced it', async (t) => {
      const launcher = await begin(t);
      const context = (id) => ({ namespace: 'guest', activation_id: id });
      await launcher.run({ replace: true }, context('a1'));
      assert.deepEqual((await shown(launcher, context('a2'))).__OW_ACTIVATION_ID, 'a2');
      await launcher.run({ change: true }, context('a3'));
      assert.deepEqual((await shown(launcher, context('a4'))).__OW_ACTIVATION_ID, 'a4');
    });
  });
}

test('the environment takes no memory that it does not give back', async (t) => {
  const launcher = await startAction(t, 'def main(args) = { kb: 4 * File.read("/proc/self/statm").split[1].to_i }');
  const run = (i) => launcher.run({}, { activation_id: String(i).padStart(32, '0'), deadline: String(i) });
  for (let i = 0; i < 2000; i += 1) await run(i);
  const before = (await run(2000)).body.kb;
  for (let i = 2001; i < 6000; i += 1) await run(i);
  const grown = (await run(6000)).body.kb - before;
  assert.ok(grown < 512, `${grown} KB more after 4000 calls`);
});
