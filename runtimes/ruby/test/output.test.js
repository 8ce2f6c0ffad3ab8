'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { describe, startAction, test } = require('./support.js');

const outputOf = async (t, code, value) => {
  const answer = await (await startAction(t, code)).run(value);
  assert.equal(answer.logs.frames, 0);
  return { stdout: answer.stdout, stderr: answer.stderr };
};

const writes = (name, body, output) => test(name, async (t) => {
  assert.deepEqual(await outputOf(t, `def main(args)\n${body}\n{}\nend`), { stdout: '', stderr: '', ...output });
});

const stopReading = (pipe) => {
  fs.closeSync(pipe.reader);
  pipe.reader = fs.openSync('/dev/null');
};

describe('what a call writes', () => {
  writes('by puts and warn is in the pipes before its result',
    'puts "out"; warn "err"', { stdout: 'out\n', stderr: 'err\n' });
  writes('by constants and variables is there',
    'STDOUT.print "a"; $stdout << "b"; STDERR.write("c"); $stderr.print "d"',
    { stdout: 'ab', stderr: 'cd' });
  writes('to descriptors is there', 'IO.for_fd(1, "w", autoclose: false).syswrite("one")', { stdout: 'one' });
  writes('with buffers on is there',
    '$stdout.sync = $stderr.sync = false; print "a"; warn "b"', { stdout: 'a', stderr: 'b\n' });
  writes('to an output that it put in place is there',
    '$stdout = File.open("/dev/fd/1", "w"); puts "mine"', { stdout: 'mine\n' });
  writes('to an output that is no file is its own', 'require "stringio"; $stdout = StringIO.new; puts "mine"', {});
  writes('outside ASCII is there as it is', 'print "☃", "\\xff".b', { stdout: '☃\ufffd' });
  writes('while its result is encoded is there',
    'return { a: Class.new { def to_json(*) = (print("encoding"); "1") }.new }',
    { stdout: 'encoding' });
  writes('by a child process is there', 'system("echo out; echo err >&2"); puts %x(echo more)',
    { stdout: 'out\nmore\n', stderr: 'err\n' });
  writes('by a thread that it waits for is there', 'Thread.new { puts "thread" }.join', { stdout: 'thread\n' });
  writes('by a fork is there', 'Process.wait(fork { puts "child" })', { stdout: 'child\n' });

  test('is in order, line by line', async (t) => {
    const { stdout } = await outputOf(t, 'def main(args)\n  20000.times { |i| puts i }\n  {}\nend');
    assert.equal(stdout, Array.from({ length: 20_000 }, (_, i) => `${i}\n`).join(''));
  });

  test('belongs to that call only', async (t) => {
    const launcher = await startAction(t, 'def main(args)\n  puts "call #{args["n"]}"\n  {}\nend');
    await launcher.run({ n: 1 });
    assert.equal((await launcher.run({ n: 2 })).stdout, 'call 2\n');
  });

  test('before it raises is there, and then the exception', async (t) => {
    const code = 'def main(args)\n  $stdout.sync = false; print "out"\n  raise "no"\nend';
    const { stdout, stderr } = await outputOf(t, code);
    assert.equal(stdout, 'out');
    assert.match(stderr, /in [`'].*main': no \(RuntimeError\)\n$/);
  });

  test('has the warnings of Ruby', async (t) => {
    const { stderr } = await outputOf(t, 'def main(args)\n  eval "A = 1; A = 2"\n  {}\nend');
    assert.match(stderr, /already initialized constant A\n/);
  });
});

describe('an action', () => {
  const answersStill = (name, body) => test(name, async (t) => {
    const launcher = await startAction(t, `def main(args)\n  ${body}\n  { a: 1 }\nend`);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    launcher.socket.end();
    assert.equal((await launcher.exit()).code, 0);
  });

  answersStill('that closes its outputs still answers', 'STDOUT.close; STDERR.close');
  answersStill('that opens its outputs anew still answers', 'STDOUT.reopen("/dev/null"); STDERR.reopen("/dev/full")');
  answersStill('whose output cannot be flushed still answers',
    '$stdout = Class.new { def write(*) = 0; def flush = raise("broken") }.new; puts 1');
  answersStill('whose output has no flush still answers',
    '$stdout = $stderr = Class.new { def write(*) = 0 }.new; puts 1');

  test('that raises without outputs still answers', async (t) => {
    const launcher = await startAction(t, 'def main(args)\n  STDOUT.close; STDERR.close\n  raise "lost"\nend');
    assert.equal((await launcher.run()).failed, true);
    assert.equal((await launcher.run()).failed, true);
  });

  test('whose outputs nobody reads any more still answers', async (t) => {
    const code = `def main(args)
      begin; puts "lost"; rescue Errno::EPIPE; end
      args["bad"] ? raise("lost") : { a: 1 }
    end`;
    const launcher = await startAction(t, code);
    stopReading(launcher.stdout);
    stopReading(launcher.stderr);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
    assert.equal((await launcher.run({ bad: 1 })).failed, true);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });
});
