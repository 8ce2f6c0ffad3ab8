'use strict';
const assert = require('node:assert/strict');
const { RUN, describe, start, startAction, test } = require('./support.js');

const ERROR_OCCURRED = 'An error occurred running the action.';
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
  returns('its array as an object',
    '<?php function main(array $args): array { return ["got" => $args]; }', { got: { a: 1 } });
  returns('a list as an array', '<?php function main() { return [1, "two"]; }', [1, 'two']);
  returns('a list with holes as an object', '<?php function main() { return [1 => "a"]; }', { 1: 'a' });
  returns('an empty object for an empty array', '<?php function main() { return []; }', {});
  returns('an empty object for null', '<?php function main() { return null; }', {});
  returns('an empty object for nothing', '<?php function main() {}', {});
  returns('a stdClass', '<?php function main() { return (object) ["hello" => "world"]; }', { hello: 'world' });
  returns('an empty stdClass', '<?php function main() { return new stdClass(); }', {});
  returns('an object that is like a list', '<?php function main() { return (object) ["a"]; }', { 0: 'a' });
  returns('a copy of an ArrayObject', '<?php function main() { return new ArrayObject(["a" => 1]); }', { a: 1 });
  returns('an empty ArrayObject', '<?php function main() { return new ArrayObject(); }', {});
  returns('an error that it made itself', '<?php function main() { return ["error" => "mine", "other" => 1]; }',
    { error: 'mine', other: 1 });
  returns('text outside ASCII', '<?php function main() { return ["text" => "ä€😀/"]; }', { text: 'ä€😀/' });
  returns('what is in the middle of its code', '<?php function main() { return ["line" => __LINE__]; }', { line: 1 });
});

describe('an argument', () => {
  const ECHO = '<?php function main(array $args) { return $args; }';

  returns('is an associative array, also inside',
    '<?php function main($a) { return ["n" => $a["o"]["l"][0]["n"]]; }', { n: 7 },
    { o: { l: [{ n: 7 }] } });
  returns('may be a list',
    '<?php function main(array $args) { return ["count" => count($args)]; }', { count: 3 }, [1, 2, 3]);
  returns('is empty for null',
    '<?php function main(array $args) { return ["args" => count($args)]; }', { args: 0 }, null);
  returns('may be taken by reference',
    '<?php function main(array &$args) { $args["b"] = 2; return $args; }', { a: 1, b: 2 });
  returns('need not be taken', '<?php function main() { return ["a" => 1]; }', { a: 1 });
  returns('may have numbers as names', ECHO, { 5: 'five', a: 'b' }, { 5: 'five', a: 'b' });
  returns('may have an empty name', ECHO, { '': 'empty' }, { '': 'empty' });
  returns('keeps text, numbers and truth', ECHO, { t: 'ä\u0000"', i: 9007199254740991, f: 1.5, yes: true, no: null },
    { t: 'ä\u0000"', i: 9007199254740991, f: 1.5, yes: true, no: null });

  test('may be nested deeply', async (t) => {
    const launcher = await startAction(t, ECHO);
    let value = {};
    for (let i = 0; i < 1000; i += 1) value = { in: value };
    const text = JSON.stringify((await launcher.run(value)).body);
    assert.equal(text.match(/in/g).length, 1000);
  });

  test('that is nested too deeply fails that call', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(RUN, 9, `{"value":${'['.repeat(10_000)}${']'.repeat(10_000)}}`);
    const answer = await launcher.answerOf(9);
    assert.deepEqual([answer.failed, answer.body],
      [true, { error: 'the argument cannot be decoded: Maximum stack depth exceeded' }]);
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
  fails('when it throws an exception', '<?php function main() { throw new Exception("nooooo"); }', ERROR_OCCURRED,
    /^Exception: nooooo in .*source:1\nStack trace:\n#0 /);
  fails('when it throws an error of PHP', '<?php function main() { return strlen(); }', ERROR_OCCURRED,
    /^ArgumentCountError: strlen\(\) expects exactly 1 argument, 0 given/);
  fails('when it does not return what it says', '<?php function main(): array { return "text"; }', ERROR_OCCURRED,
    /^TypeError: main\(\): Return value must be of type array, string returned/);
  fails('when it does not take what it gets',
    '<?php function main(int $args) { return []; }', ERROR_OCCURRED, /^TypeError: /);
  fails('when what it throws cannot be shown',
    `<?php class E extends Exception { function __toString(): string { throw $this; } }
      function main() { throw new E(); }`, ERROR_OCCURRED, /^E, which cannot be shown\n$/);
  fails('when it returns a text', '<?php function main() { return "not a json object"; }', NO_DICTIONARY,
    /^Result must be an array but has type "string": not a json object\n$/);
  fails('when it returns a number', '<?php function main() { return 5; }', NO_DICTIONARY,
    /^Result must be an array but has type "integer": 5\n$/);
  fails('when it returns an object of a class', '<?php class A { public $a = 1; } function main() { return new A(); }',
    NO_DICTIONARY, /^Result must be an array but has type "object"\n$/);
  fails('when it returns a function',
    '<?php function main() { return main(...); }', NO_DICTIONARY, /has type "object"/);
  fails('when its result is not UTF-8', '<?php function main() { return ["a" => "\\xff"]; }', NO_DICTIONARY,
    /^Result cannot be encoded as JSON: Malformed UTF-8 characters/);
  fails('when a name in its result is not UTF-8', '<?php function main() { return ["\\xff" => 1]; }', NO_DICTIONARY,
    /^Result cannot be encoded as JSON: Malformed UTF-8 characters/);
  fails('when its result is not a number', '<?php function main() { return ["a" => NAN]; }', NO_DICTIONARY,
    /^Result cannot be encoded as JSON: Inf and NaN cannot be JSON encoded/);
  fails('when its result contains itself',
    '<?php function main() { $a = ["b" => 1]; $a["a"] = &$a; return $a; }', NO_DICTIONARY,
    /^Result cannot be encoded as JSON: /);
  fails('when its result is nested too deeply',
    '<?php function main() { $a = []; for ($i = 0; $i < 5000; $i++) { $a = [$a]; } return $a; }', NO_DICTIONARY,
    /^Result cannot be encoded as JSON: Maximum stack depth exceeded\n$/);
  fails('when a part of its result throws',
    `<?php class A implements JsonSerializable { function jsonSerialize(): mixed { throw new Exception("got"); } }
      function main() { return ["a" => new A()]; }`, ERROR_OCCURRED, /^Exception: got /);

  test('and the next is served', async (t) => {
    const code = '<?php function main($args) { return isset($args["bad"]) ? throw new Exception() : ["good" => 1]; }';
    const launcher = await startAction(t, code);
    assert.equal((await launcher.run({ bad: 1 })).failed, true);
    assert.deepEqual((await launcher.run({})).body, { good: 1 });
  });

  test('after a failed init', async (t) => {
    const launcher = await start(t);
    await launcher.init('<?php throw new Exception();');
    assert.deepEqual((await launcher.run()).body, { error: 'no action defined yet' });
  });
});

describe('calls that come at once', () => {
  test('run one after the other', async (t) => {
    const code = `<?php function main($args) {
      global $running;
      if ($running) { return ["error" => "two at once"]; }
      $running = true; usleep(1000); $running = false;
      return $args;
    }`;
    const launcher = await startAction(t, code);
    const streams = [1, 2, 3, 4].map((n) => launcher.startRun({ n }));
    for (const [i, stream] of streams.entries()) assert.deepEqual((await launcher.answerOf(stream)).body, { n: i + 1 });
  });
});

describe('the environment of a call', () => {
  const SHOW = `<?php function main() {
    $ours = fn ($name) => str_starts_with($name, "__OW_");
    $shown = array_filter(getenv(), $ours, ARRAY_FILTER_USE_KEY);
    ksort($shown);
    $own = array_filter($_ENV, $ours, ARRAY_FILTER_USE_KEY);
    ksort($own);
    $alone = array_map("getenv", array_combine(array_keys($shown), array_keys($shown)));
    exec("env | grep ^__OW_ | sort", $lines);
    $inherited = array_map(fn ($name, $value) => "$name=$value", array_keys($shown), $shown);
    return ["env" => (object) $shown, "same" => $shown === $own && $shown === $alone && $lines === $inherited];
  }`;

  const shown = async (launcher, context) => {
    const { body } = await launcher.run({}, context);
    assert.equal(body.same, true, 'getenv, $_ENV and what children get differ');
    return body.env;
  };

  test('may have values of any length', async (t) => {
    const launcher = await startAction(t, SHOW);
    for (const length of [0, 1, 63, 64, 65, 10_000, 3, 50_000, 0, 64]) {
      const value = 'ä'.repeat(length);
      assert.deepEqual(await shown(launcher, { api_key: value }), { __OW_API_KEY: value });
    }
  });

  test('loses what the next call does not have, and gets it back', async (t) => {
    const launcher = await startAction(t, SHOW);
    const full = { namespace: 'guest', api_key: 'u:k' };
    for (let i = 0; i < 3; i += 1) {
      assert.deepEqual(await shown(launcher, full), { __OW_NAMESPACE: 'guest', __OW_API_KEY: 'u:k' });
      assert.deepEqual(await shown(launcher, { namespace: 'guest', api_key: 5 }), { __OW_NAMESPACE: 'guest' });
      assert.deepEqual(await shown(launcher, {}), {});
    }
  });

  test('takes no memory that it does not give back', async (t) => {
    const code = `<?php function main() {
      return ["kb" => 4 * explode(" ", file_get_contents("/proc/self/statm"))[1]];
    }`;
    const launcher = await startAction(t, code);
    const run = (i) => launcher.run({}, { activation_id: String(i).padStart(32, '0'), deadline: String(i) });
    for (let i = 0; i < 500; i += 1) await run(i);
    const before = (await run(500)).body.kb;
    for (let i = 501; i < 4500; i += 1) await run(i);
    const grown = (await run(4500)).body.kb - before;
    assert.ok(grown < 256, `${grown} KB more after 4000 calls`);
  });
});
