'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { FLAGS, LAUNCHER, PHP, RESULT } = require('./support.js');
const { describe, start, startAction, test } = require('./support.js');

const MEGABYTE = 1024 * 1024;

describe('frames', () => {
  test('are not lost for a signal', async (t) => {
    const code = `<?php pcntl_async_signals(true); pcntl_signal(SIGUSR1, fn () => $GLOBALS["n"]++, false); $n = 0;
      function main($args) { return ["n" => $GLOBALS["n"], "text" => $args["text"]]; }`;
    const launcher = await startAction(t, code);
    const text = 'x'.repeat(MEGABYTE);
    launcher.socket.pause();
    const stream = launcher.startRun({ text });
    for (let i = 0; i < 20; i += 1) {
      launcher.child.kill('SIGUSR1');
      await new Promise((wake) => setTimeout(wake, 2));
    }
    launcher.socket.resume();
    assert.equal((await launcher.answerOf(stream)).body.text, text);
    assert.ok((await launcher.run({ text })).body.n > 0);
  });
});

describe('the launcher exits', () => {
  test('at once then, whatever the action registered for its end', async (t) => {
    const code = `<?php register_shutdown_function(function () { for (;;) { sleep(1); } });
      class A { function __destruct() { for (;;) { sleep(1); } } } $a = new A(); function main() {}`;
    const launcher = await startAction(t, code);
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  test('when there is no socket', () => {
    assert.equal(spawnSync(PHP, [...FLAGS, LAUNCHER]).status, 71);
  });

  test('when PHP lacks what the launcher needs, and says what', () => {
    const { status, stdout, stderr } = spawnSync(PHP, [...FLAGS, '-d', 'extension_dir=/nowhere', LAUNCHER]);
    assert.deepEqual([status, String(stdout), String(stderr)],
      [71, '', "launcher: PHP's extension FFI is not installed\n"]);
  });
});

describe('an action that ends the process', () => {
  const ends = (name, code, exit) => test(name, async (t) => {
    const launcher = await startAction(t, code);
    launcher.startRun();
    assert.deepEqual(await launcher.exit(), { signal: null, stdout: '', stderr: '', ...exit });
    assert.equal(launcher.frames.length, 0);
  });

  ends('by exit gives its code', '<?php function main() { echo "bye"; exit(3); }', { code: 3, stdout: 'bye' });
  ends('by die gives 0 and says why', '<?php function main() { die("why"); }', { code: 0, stdout: 'why' });
  ends('with an open buffer has that in its output', '<?php function main() { ob_start(); echo "bye"; exit(1); }',
    { code: 1, stdout: 'bye' });
  ends('runs what it registered for that',
    '<?php function main() { register_shutdown_function(fn () => print("end")); exit; }',
    { code: 0, stdout: 'end' });

  test('while it is loaded gives its code', async (t) => {
    const launcher = await start(t);
    launcher.startInit('<?php exit(4);');
    assert.equal((await launcher.exit()).code, 4);
    assert.equal(launcher.frames.length, 0);
  });

  const fatal = (name, code, log) => test(name, async (t) => {
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual([answer.failed, answer.body], [true, { error: 'An error occurred running the action.' }]);
    assert.match(answer.stderr, log);
    assert.equal((await launcher.exit()).code, 255);
  });

  fatal('by a class that is there already is answered for', '<?php function main() { eval("class Error {};"); }',
    /^PHP Fatal error: {2}Cannot declare class Error/);
  fatal('by needing more memory than it allowed itself is answered for',
    '<?php function main() { ini_set("memory_limit", "8M"); return [str_repeat("x", 1 << 24)]; }',
    /^PHP Fatal error: {2}Allowed memory size of 8388608 bytes exhausted/);
  fatal('by an error that it triggered is answered for',
    '<?php function main() { trigger_error("mine", E_USER_ERROR); }', /^PHP Fatal error: {2}mine in /);

  test('by a fatal error has all its output before the answer', async (t) => {
    const code = `<?php function main() {
      register_shutdown_function(fn () => print("end"));
      ob_start(); echo "out "; eval("class Error {};");
    }`;
    const launcher = await startAction(t, code);
    assert.equal((await launcher.run()).stdout, 'out end');
  });
});

describe('an action cannot break the framing', () => {
  const survives = (name, tamper) => test(name, async (t) => {
    const code = `<?php ${tamper}
      function main(array $args) { return ["got" => $args["a"], "env" => $_ENV["__OW_NAMESPACE"]]; }`;
    const launcher = await startAction(t, code);
    const first = await launcher.run({ a: 1 }, { namespace: 'guest' });
    assert.deepEqual(first.body, { got: 1, env: 'guest' });
    const second = await launcher.run({ a: 'ä'.repeat(100_000) }, { namespace: 'other' });
    assert.equal(second.body.got.length, 100_000);
    assert.equal(second.body.env, 'other');
  });

  survives('by an error handler that throws', 'set_error_handler(function () { throw new Exception("broken"); });');
  survives('by an exception handler', 'set_exception_handler(function () { exit(9); });');
  survives('by settings of PHP', `ini_set("default_charset", "broken"); ini_set("serialize_precision", "3");
    ini_set("precision", "3"); ini_set("output_buffering", "1"); error_reporting(0); setlocale(LC_ALL, "C");`);
  survives('by changing the directory and the time',
    'chdir("/"); date_default_timezone_set("Asia/Tokyo"); umask(0777);');
  survives('by emptying what is global',
    'foreach (array_keys($GLOBALS) as $name) { if ($name[0] !== "_") { unset($GLOBALS[$name]); } }');
  survives('by collecting garbage', 'gc_collect_cycles(); gc_disable();');

  test('through a child process, which does not inherit the socket', async (t) => {
    const code = `<?php function main() {
      exec("ls -l /proc/self/fd", $lines);
      $process = proc_open(["ls", "-l", "/proc/self/fd"], [1 => ["pipe", "w"]], $pipes);
      $more = explode("\\n", stream_get_contents($pipes[1]));
      return ["sockets" => preg_grep("/socket:/", [...$lines, ...$more])];
    }`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { sockets: [] });
  });

  test('through a fork, whose child does not answer', async (t) => {
    const code = `<?php function main() {
      $child = pcntl_fork();
      if ($child === 0) { return ["from" => "child"]; }
      pcntl_waitpid($child, $status);
      return ["from" => "parent", "child" => pcntl_wexitstatus($status)];
    }`;
    const launcher = await startAction(t, code);
    for (let i = 0; i < 3; i += 1) assert.deepEqual((await launcher.run()).body, { from: 'parent', child: 0 });
    assert.equal(launcher.frames.filter((f) => f.kind === RESULT).length, 0);
  });

  test('through a fork whose child fails', async (t) => {
    const code = `<?php function main() {
      $child = pcntl_fork();
      if ($child === 0) { eval("class Error {};"); }
      pcntl_waitpid($child, $status);
      return ["from" => "parent"];
    }`;
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual(answer.body, { from: 'parent' });
    assert.match(answer.stderr, /^PHP Fatal error: /);
    assert.deepEqual((await launcher.run()).body, { from: 'parent' });
  });

  test('through a fork while it is loaded', async (t) => {
    const code = '<?php pcntl_fork(); function main() { return ["a" => 1]; }';
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });
});
