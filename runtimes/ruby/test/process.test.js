'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { FLAGS, LAUNCHER, RESULT, RUBY } = require('./support.js');
const { describe, start, startAction, test } = require('./support.js');

const MEGABYTE = 1024 * 1024;

describe('frames', () => {
  test('are not lost for a signal', async (t) => {
    const code = '$n = 0\ntrap("USR1") { $n += 1 }\ndef main(args) = { n: $n, text: args["text"] }';
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
    const launcher = await startAction(t, 'at_exit { sleep }\nThread.new { sleep }\ndef main(args) = {}');
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  test('when there is no socket', () => {
    assert.equal(spawnSync(RUBY, [...FLAGS, LAUNCHER]).status, 71);
  });
});

describe('an action that ends the process', () => {
  const ends = (name, body, exit) => test(name, async (t) => {
    const launcher = await startAction(t, `def main(args)\n${body}\nend`);
    launcher.startRun();
    assert.deepEqual(await launcher.exit(), { signal: null, stdout: '', stderr: '', ...exit });
    assert.equal(launcher.frames.length, 0);
  });

  ends('by exit gives its code', 'print "bye"; exit 3', { code: 3, stdout: 'bye' });
  ends('by exit! gives its code', 'print "bye"; exit! 3', { code: 3, stdout: 'bye' });
  ends('by abort gives 1 and says why', 'abort "why"', { code: 1, stderr: 'why\n' });
  ends('runs what it registered for that', 'at_exit { print "end" }; exit', { code: 0, stdout: 'end' });
  ends('by a signal ends so', 'Process.kill("TERM", $$); sleep', { code: null, signal: 'SIGTERM' });
  ends('by another program in its place leaves that its outputs', 'exec "echo exec"', { code: 0, stdout: 'exec\n' });

  test('while it is loaded gives its code', async (t) => {
    const launcher = await start(t);
    launcher.startInit('exit 4');
    assert.equal((await launcher.exit()).code, 4);
    assert.equal(launcher.frames.length, 0);
  });

  test('by a thread whose exception ends all says so on stderr, also between calls', async (t) => {
    const code = `def main(args)
      Thread.new { Thread.current.abort_on_exception = true; sleep 0.01; raise "stray" }
      {}
    end`;
    const launcher = await startAction(t, code);
    await launcher.run();
    const exit = await launcher.exit();
    assert.equal(exit.code, 1);
    assert.match(exit.stderr, /stray \(RuntimeError\)/);
  });

  test('is not one whose thread fails by itself', async (t) => {
    const code = 'def main(args)\n  Thread.new { raise "stray" }.join rescue nil\n  { a: 1 }\nend';
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual(answer.body, { a: 1 });
    assert.match(answer.stderr, /terminated with exception .*\n.*stray \(RuntimeError\)/);
  });
});

describe('an action cannot break the framing', () => {
  const survives = (name, tamper) => test(name, async (t) => {
    const launcher = await startAction(t, `def main(args) = { got: args["a"], env: ENV["__OW_NAMESPACE"] }\n${tamper}`);
    const first = await launcher.run({ a: 1 }, { namespace: 'guest' });
    assert.deepEqual(first.body, { got: 1, env: 'guest' });
    const second = await launcher.run({ a: 'ä'.repeat(100_000) }, { namespace: 'other', another: 'a' });
    assert.equal(second.body.got.length, 100_000);
    assert.equal(second.body.env, 'other');
  });

  const breaks = (owner, names) => `${owner}.class_eval do
    ${names.map((name) => `define_method(:${name}) { |*| Kernel.raise "broken" }`).join('\n')}
  end`;

  survives('by changing JSON',
    'def JSON.parse(*) = raise("broken")\ndef JSON.generate(*) = raise("broken")\ndef JSON.dump(*) = nil');
  survives('by taking JSON away', 'JSON.send(:remove_const, :ParserError); Object.send(:remove_const, :JSON)');
  survives('by changing strings',
    breaks('String', ['bytesize', 'byteslice', 'getbyte', 'unpack', 'unpack1', '<<', 'upcase', 'b',
    'scrub', 'gsub', 'force_encoding']));
  survives('by changing arrays', breaks('Array', ['pack', 'each', 'map', 'first']));
  survives('by changing hashes', breaks('Hash', ['each', 'each_pair', 'map', 'select', 'fetch', 'values_at']));
  survives('by changing files',
    breaks('IO', ['read', 'readpartial', 'sysread', 'write', 'syswrite', 'flush', 'print', 'puts']));
  survives('by changing the environment',
    '%i[[]= delete key? value?].each { |n| ENV.define_singleton_method(n) { |*| raise "broken" } }');
  survives('by changing processes',
    'def Process.pid = 1\ndef Process.exit!(*) = raise("broken")\nmodule Kernel; def exit(*) = 1; end');
  survives('by changing what every object has',
    `class Object; def method(*) = raise("broken"); def to_s = raise("broken")
    def inspect = raise("broken"); def extra = 1; end; class BasicObject; def more = 1; end`);
  survives('by constants of names that the launcher uses',
    'INIT = RUN = RESULT = HELLO = PACK = 99; class Wire; end; class Variable; end');
  survives('by collecting garbage', 'GC.start; GC.compact if GC.respond_to?(:compact)');
  survives('by changing the directory', 'Dir.chdir("/"); File.umask(0777)');

  test('in its errors, either', async (t) => {
    const code = `def main(args) = raise(args["text"])
      ${breaks('String', ['scrub', 'gsub', 'b', 'force_encoding', 'bytesize'])}
      ${breaks('Exception', ['full_message', 'backtrace'])}`;
    const launcher = await startAction(t, code);
    const answer = await launcher.run({ text: 'häßlich' });
    assert.deepEqual(answer.body, { error: 'Invalid Action: An error occurred running the action' });
    assert.match(answer.stderr, /häßlich \(RuntimeError\)|RuntimeError, which cannot be shown/);
  });

  test('through a child process, which does not inherit the socket', async (t) => {
    const code = `def main(args)
      lines = %x(ls -l /proc/self/fd).lines + IO.popen(["ls", "-l", "/proc/self/fd"], &:readlines)
      pid = spawn("ls", "-l", "/proc/self/fd", close_others: false)
      Process.wait(pid)
      { sockets: lines.grep(/socket:/) }
    end`;
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual(answer.body, { sockets: [] });
    assert.doesNotMatch(answer.stdout, /socket:/);
  });

  test('through a fork, whose child does not answer', async (t) => {
    const code = `def main(args)
      child = fork
      return { from: "child" } unless child
      { from: "parent", child: Process.wait2(child)[1].exitstatus }
    end`;
    const launcher = await startAction(t, code);
    for (let i = 0; i < 3; i += 1) assert.deepEqual((await launcher.run()).body, { from: 'parent', child: 0 });
    assert.equal(launcher.frames.filter((f) => f.kind === RESULT).length, 0);
  });

  test('through a fork whose child fails', async (t) => {
    const code = 'def main(args)\n  fork ? Process.wait : raise("child")\n  { from: "parent" }\nend';
    const launcher = await startAction(t, code);
    const answer = await launcher.run();
    assert.deepEqual(answer.body, { from: 'parent' });
    assert.match(answer.stderr, /child \(RuntimeError\)/);
    assert.deepEqual((await launcher.run()).body, { from: 'parent' });
  });

  test('through a fork while it is loaded', async (t) => {
    const launcher = await startAction(t, 'fork\ndef main(args) = { a: 1 }');
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });
});
