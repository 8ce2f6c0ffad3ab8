'use strict';
const assert = require('node:assert/strict');
const { describe, start, startAction, test } = require('./support.js');

const CANNOT_START = 'Cannot start action. Check logs for details.';

const result = async (t, code, options, value = {}) => {
  const launcher = await startAction(t, code, options);
  const answer = await launcher.run(value);
  assert.equal(answer.failed, false, answer.body.error);
  return answer.body;
};

const initFailure = async (t, code, options) => {
  const launcher = await start(t);
  const init = await launcher.init(code, options);
  assert.equal(init.failed, true);
  return init;
};

describe('a script', () => {
  test('runs its function main', async (t) => {
    const code = '<?php function main(array $args): array { return ["hello" => $args["name"]]; }';
    assert.deepEqual(await result(t, code, {}, { name: 'you' }), { hello: 'you' });
  });

  test('may name another function', async (t) => {
    const code = '<?php function niam(array $args) { return ["other" => true]; }';
    assert.deepEqual(await result(t, code, { main: 'niam' }), { other: true });
  });

  test('may name a function in a namespace', async (t) => {
    const code = '<?php namespace My\\Work; function main() { return ["in" => __NAMESPACE__]; }';
    assert.deepEqual(await result(t, code, { main: 'My\\Work\\main' }), { in: 'My\\Work' });
  });

  test('may name a static method', async (t) => {
    const code = '<?php class Api { public static function get(array $args) { return ["got" => $args["a"]]; } }';
    assert.deepEqual(await result(t, code, { main: 'Api::get' }, { a: 1 }), { got: 1 });
  });

  test('may begin with an empty line', async (t) => {
    assert.deepEqual(await result(t, '\n<?php function main() { return ["a" => 1]; }'), { a: 1 });
  });

  test('takes no short tag', async (t) => {
    const launcher = await startAction(t, '<?php function main() { ?><? text ?><?php return ["a" => 1]; }');
    assert.equal((await launcher.run()).stdout, '<? text ?>');
  });

  test('has its variables in the global scope', async (t) => {
    const code = '<?php $n = 0; function main() { global $n; $n += 1; return ["n" => $n]; }';
    const launcher = await startAction(t, code);
    await launcher.run();
    assert.deepEqual((await launcher.run()).body, { n: 2 });
  });

  test('finds nothing of the launcher in the global scope', async (t) => {
    const code = `<?php function main() {
      $own = ["_GET", "_POST", "_COOKIE", "_FILES", "_ENV", "_REQUEST", "_SERVER", "argv", "argc"];
      return ["names" => array_diff(array_keys($GLOBALS), $own)];
    }`;
    assert.deepEqual(await result(t, code), { names: [] });
  });

  test('may have functions and classes that are named like those of the launcher', async (t) => {
    const code = `<?php class Launcher {} class Variable {}
      function launcher() {} function libc() {} function leave() {} const RUN = 1;
      function main() { return ["a" => RUN]; }`;
    assert.deepEqual(await result(t, code), { a: 1 });
  });

  test('requires other files relative to itself', async (t) => {
    const launcher = await start(t);
    const root = launcher.writeFiles({
      source: '<?php require __DIR__ . "/lib/two.php"; function main() { return ["two" => two()]; }',
      'lib/two.php': '<?php function two() { return 2; }',
    });
    assert.equal((await launcher.initPath({ path: `${root}/source` })).failed, false);
    assert.deepEqual((await launcher.run()).body, { two: 2 });
  });

  test('sees the environment of init while it is loaded, in all places', async (t) => {
    const code = `<?php $seen = [getenv("GREETING"), $_ENV["GREETING"], $_SERVER["GREETING"]];
      function main() { return ["seen" => $GLOBALS["seen"]]; }`;
    assert.deepEqual(await result(t, code, { env: { GREETING: 'hi' } }), { seen: ['hi', 'hi', 'hi'] });
  });

  test('is not disturbed by names of variables that the system does not have', async (t) => {
    const code = '<?php function main() { return ["b" => getenv("B"), "a" => getenv("A")]; }';
    const env = { '': 'none', 'A=x': 'none', B: 'b', 5: 'five' };
    assert.deepEqual(await result(t, code, { env }), { b: 'b', a: false });
  });

  test('has the extensions that are installed', async (t) => {
    const code = '<?php function main() { return [ctype_digit("12"), count(token_get_all("a"))]; }';
    assert.deepEqual(await result(t, code), [true, 1]);
  });

  test('has as much memory as the sandbox gives', async (t) => {
    const code = '<?php function main() { return ["limit" => ini_get("memory_limit")]; }';
    assert.deepEqual(await result(t, code), { limit: '-1' });
  });
});

describe('an archive', () => {
  test('runs main of index.php', async (t) => {
    const files = { 'index.php': '<?php function main() { return ["index" => true]; }' };
    assert.deepEqual(await result(t, files), { index: true });
  });

  test('may name another function', async (t) => {
    const files = { 'index.php': '<?php function niam() { return ["result" => "it works"]; }' };
    assert.deepEqual(await result(t, files, { main: 'niam' }), { result: 'it works' });
  });

  test('requires its other files', async (t) => {
    const files = {
      'index.php': '<?php require "a.php"; require __DIR__ . "/lib/b.php"; function main() { return [a(), b()]; }',
      'a.php': '<?php function a() { return "a"; }',
      'lib/b.php': '<?php function b() { return "b"; }',
    };
    assert.deepEqual(await result(t, files), ['a', 'b']);
  });

  test('finds what its vendor/autoload.php loads', async (t) => {
    const files = {
      'index.php': '<?php function main() { return ["part" => Vendor\\Part::NAME]; }',
      'vendor/autoload.php': '<?php spl_autoload_register(fn () => require __DIR__ . "/part.php");',
      'vendor/part.php': '<?php namespace Vendor; class Part { const NAME = "part"; }',
    };
    assert.deepEqual(await result(t, files), { part: 'part' });
  });

  test('may require its vendor/autoload.php itself', async (t) => {
    const files = {
      'index.php': '<?php require_once "vendor/autoload.php"; function main() { return ["n" => $GLOBALS["n"]]; }',
      'vendor/autoload.php': '<?php $GLOBALS["n"] = ($GLOBALS["n"] ?? 0) + 1;',
    };
    assert.deepEqual(await result(t, files), { n: 1 });
  });

  test('works in its own directory', async (t) => {
    const files = {
      'index.php': '<?php function main() { return ["text" => file_get_contents("data.txt")]; }',
      'data.txt': 'data',
    };
    assert.deepEqual(await result(t, files), { text: 'data' });
  });

  test('without index.php is refused', async (t) => {
    const { body } = await initFailure(t, { 'main.php': '<?php function main() {}' });
    assert.deepEqual(body, { error: 'Zipped actions must contain index.php at the root.' });
  });

  test('whose vendor/autoload.php fails is refused', async (t) => {
    const files = {
      'index.php': '<?php function main() {}',
      'vendor/autoload.php': '<?php throw new Exception("no");',
    };
    const { body, stderr } = await initFailure(t, files);
    assert.deepEqual(body, { error: CANNOT_START });
    assert.match(stderr, /^Exception: no in .*autoload\.php:1\n/);
  });
});

describe('init fails', () => {
  const failsWith = (name, code, log, options) => test(name, async (t) => {
    const { body, stderr } = await initFailure(t, code, options);
    assert.deepEqual(body, { error: CANNOT_START });
    assert.match(stderr, log);
  });

  failsWith('for a syntax error', '<?php\nfunction main( {', /^ParseError: syntax error, .*source:2\n/);
  failsWith('for an error thrown while loading',
    '<?php throw new Exception("not today");', /^Exception: not today in /);
  failsWith('for a required file that is missing', '<?php require "gone.php";', /Failed opening required 'gone\.php'/);
  failsWith('for what PHP cannot go on after', '<?php function main() {} function main() {}',
    /^PHP Fatal error: {2}Cannot redeclare main\(\)/);
  failsWith('without the function main', '<?php function other() {}', /^The function main is missing\.\n$/);
  failsWith('without the function that is named', '<?php function main() {}', /^The function niam is missing\.\n$/,
    { main: 'niam' });
  failsWith('for a method that is not static',
    '<?php class A { function main() {} }', /^The function A::main is missing\.\n$/,
    { main: 'A::main' });

  test('and the process has ended after what PHP cannot go on after', async (t) => {
    const launcher = await start(t);
    await launcher.init('<?php function main() {} function main() {}');
    assert.equal((await launcher.exit()).code, 255);
  });

  test('without a main', async (t) => {
    const { body } = await initFailure(t, '<?php function main() {}', { main: '' });
    assert.deepEqual(body, { error: 'Missing main/no code to execute.' });
  });

  test('without code', async (t) => {
    assert.deepEqual((await initFailure(t, '')).body, { error: 'Missing main/no code to execute.' });
  });

  test('when the file is not there', async (t) => {
    const launcher = await start(t);
    const init = await launcher.initPath({ path: `${launcher.directory}/gone` });
    assert.deepEqual(init.body, { error: CANNOT_START });
    assert.match(init.stderr, /No such file or directory/);
  });

  test('after it failed', async (t) => {
    const launcher = await start(t);
    await launcher.init('<?php throw new Exception();');
    const again = await launcher.init('<?php function main() {}');
    assert.deepEqual(again.body, { error: 'Cannot initialize the action more than once.' });
  });

  test('for want of code, and may be tried again', async (t) => {
    const launcher = await start(t);
    await launcher.init('');
    assert.equal((await launcher.init('<?php function main() {}')).failed, false);
  });
});
