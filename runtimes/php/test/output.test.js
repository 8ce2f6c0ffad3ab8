'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { describe, startAction, test } = require('./support.js');

const outputOf = async (t, code, value) => {
  const answer = await (await startAction(t, code)).run(value);
  assert.equal(answer.logs.frames, 0);
  return { stdout: answer.stdout, stderr: answer.stderr };
};

const writes = (name, code, output) => test(name, async (t) => {
  assert.deepEqual(await outputOf(t, code), { stdout: '', stderr: '', ...output });
});

const stopReading = (pipe) => {
  fs.closeSync(pipe.reader);
  pipe.reader = fs.openSync('/dev/null');
};

describe('what a call writes', () => {
  writes('by echo and error_log is in the pipes before its result',
    '<?php function main() { echo "out\n"; error_log("err"); }', { stdout: 'out\n', stderr: 'err\n' });
  writes('by streams is there', `<?php function main() {
    fwrite(STDOUT, "a"); fwrite(STDERR, "b");
    file_put_contents("php://output", "c"); file_put_contents("php://stdout", "d");
  }`, { stdout: 'acd', stderr: 'b' });
  writes('to descriptors is there',
    '<?php function main() { fwrite(fopen("php://fd/1", "w"), "one"); }', { stdout: 'one' });
  writes('outside of its tags is there', '<?php function main() { ?>text\n<?php }', { stdout: 'text\n' });
  writes('into a buffer that it leaves open is there',
    '<?php function main() { ob_start(); echo "a"; ob_start(); echo "b"; }',
    { stdout: 'ab' });
  writes('into a buffer with a function is there, as the function has it',
    '<?php function main() { ob_start(fn ($text) => "<$text>"); echo "a"; }', { stdout: '<a>' });
  writes('into a buffer that it throws away is not there',
    '<?php function main() { ob_start(); echo "a"; ob_end_clean(); }', {});
  writes('while its result is encoded is there', `<?php
    class A implements JsonSerializable { function jsonSerialize(): mixed { echo "encoding"; return 1; } }
    function main() { return ["a" => new A()]; }`, { stdout: 'encoding' });
  writes('by a child process is there',
    '<?php function main() { passthru("echo out; echo err >&2"); system("echo more"); }',
    { stdout: 'out\nmore\n', stderr: 'err\n' });

  test('is in order, line by line', async (t) => {
    const { stdout } = await outputOf(t, '<?php function main() { for ($i = 0; $i < 20000; $i++) { echo $i, "\n"; } }');
    assert.equal(stdout, Array.from({ length: 20_000 }, (_, i) => `${i}\n`).join(''));
  });

  test('belongs to that call only', async (t) => {
    const launcher = await startAction(t, '<?php function main($args) { echo "call ", $args["n"], "\n"; }');
    await launcher.run({ n: 1 });
    assert.equal((await launcher.run({ n: 2 })).stdout, 'call 2\n');
  });

  test('before it throws is there, and then the exception', async (t) => {
    const code = '<?php function main() { ob_start(); echo "out"; throw new Exception("no"); }';
    const { stdout, stderr } = await outputOf(t, code);
    assert.equal(stdout, 'out');
    assert.match(stderr, /^Exception: no in /);
  });

  test('has the warnings of PHP on stderr, as plain text', async (t) => {
    const code = '<?php function main() { echo $unknown; trigger_error("mine", E_USER_NOTICE); }';
    const { stdout, stderr } = await outputOf(t, code);
    assert.equal(stdout, '');
    assert.match(stderr, /^PHP Warning: {2}Undefined variable \$unknown in .* on line 1\nPHP Notice: {2}mine in /);
  });
});

describe('an action', () => {
  test('whose buffer throws still answers', async (t) => {
    const code = `<?php function main() {
      ob_start(function () { throw new Exception("full"); }); echo "lost"; return ["a" => 1];
    }`;
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual(answer.body, { a: 1 });
    assert.match(answer.stderr, /^Exception: full in /);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });

  test('whose buffer cannot be removed still answers', async (t) => {
    const code = '<?php function main() { ob_start(null, 0, 0); echo "held"; return ["a" => 1]; }';
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });

  test('that closes its outputs still answers', async (t) => {
    const code = `<?php function main() {
      if (is_resource(STDOUT)) { fclose(STDOUT); fclose(STDERR); }
      echo "lost"; error_log("lost"); return ["a" => 1];
    }`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  test('whose outputs nobody reads any more still answers', async (t) => {
    const code = '<?php function main() { echo "lost"; error_log("lost"); return ["a" => 1]; }';
    const launcher = await startAction(t, code);
    stopReading(launcher.stdout);
    stopReading(launcher.stderr);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });
});
