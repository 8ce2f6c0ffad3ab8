'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { LOG, mapAction, start, startAction, suite } = require('./support.js');

const MEGABYTE = 1024 * 1024;

suite('what a call writes, when calls do not overlap,', () => {
  const writer = mapAction(`
    String how = String.valueOf(args.get("how"));
    if (how.equals("lines")) { System.out.println("out ä"); System.err.println("err ä"); }
    if (how.equals("part")) { System.out.print("no line"); System.err.print("none"); }
    if (how.equals("large")) {
      System.out.println("x".repeat(4 << 20)); System.err.println("y".repeat(4 << 20));
    }
    if (how.equals("many")) for (int i = 0; i < 5000; i++) System.out.println(i);
    if (how.equals("around")) {
      FileOutputStream raw = new FileOutputStream(FileDescriptor.out);
      raw.write('a'); System.out.print('b'); System.out.flush(); raw.write("c".repeat(300000).getBytes());
    }
    if (how.equals("buffered")) {
      System.setOut(new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)), false));
      System.out.println("late");
    }
    if (how.equals("broken")) {
      System.setOut(new PrintStream(System.out) { public void flush() { throw new IllegalStateException("flush"); } });
      System.setErr(null);
    }
    if (how.equals("close")) { System.out.close(); System.err.close(); System.out.println("lost"); }
    if (how.equals("child")) new ProcessBuilder("echo", "from child").inheritIO().start().waitFor();
    return Map.of();`, 'static { System.out.println("loading"); }');
  const begin = (t) => startAction(t, writer);

  test('is in the pipes before its result, whole lines or not', async (t) => {
    const launcher = await begin(t);
    const lines = await launcher.run({ how: 'lines' });
    assert.deepEqual([lines.stdout, lines.stderr, lines.logs.frames], ['out ä\n', 'err ä\n', 0]);
    const part = await launcher.run({ how: 'part' });
    assert.deepEqual([part.stdout, part.stderr], ['no line', 'none']);
    const many = (await launcher.run({ how: 'many' })).stdout.trimEnd().split('\n');
    assert.deepEqual(many, Array.from({ length: 5000 }, (_, i) => String(i)));
    assert.equal((await launcher.run()).stdout, '');
  });

  test('may go around System.out', async (t) => {
    const launcher = await begin(t);
    assert.equal((await launcher.run({ how: 'around' })).stdout, `ab${'c'.repeat(300_000)}`);
    assert.equal((await launcher.run({ how: 'child' })).stdout, 'from child\n');
  });

  test('may go through a stream of the action that buffers', async (t) => {
    const launcher = await begin(t);
    assert.equal((await launcher.run({ how: 'buffered' })).stdout, 'late\n');
  });

  test('may be nothing any more: broken, missing and closed streams harm no call', async (t) => {
    const launcher = await begin(t);
    for (const how of ['close', 'broken', 'nothing']) assert.equal((await launcher.run({ how })).failed, false, how);
  });
});

suite('what overlapping calls write', () => {
  const options = { concurrency: 10 };
  const writer = mapAction(`
    String how = String.valueOf(args.get("how"));
    if (how.equals("lines")) for (int i = 0; i < 5; i++) {
      System.out.println(args.get("n") + " " + i); System.err.println("e " + args.get("n") + " " + i); Thread.sleep(1);
    }
    if (how.equals("parts")) {
      for (byte b : "bytes ä😀\\n".getBytes("UTF-8")) { System.out.write(b); System.out.flush(); }
      System.out.print("text "); System.out.printf("%d%n", 5);
      System.out.write(new byte[] {(byte) 0xff, '!'}); System.out.print("end");
    }
    if (how.equals("long")) System.out.println("x" + "😀".repeat(50000));
    if (how.equals("throw")) throw new Exception("broken");
    if (how.equals("close")) System.out.close();
    if (how.equals("thread")) {
      Thread thread = new Thread(() -> System.out.println("from a thread")); thread.start(); thread.join();
    }
    if (how.equals("leave")) {
      late = new Thread(() -> { go.acquireUninterruptibly(); System.out.println("late"); });
      late.start();
    }
    if (how.equals("go")) { go.release(); late.join(); }
    return Map.of();`, `static Thread late;
    static java.util.concurrent.Semaphore go = new java.util.concurrent.Semaphore(0);
    static { System.out.println("loading"); }`);
  const begin = (t) => startAction(t, writer, options);

  test('comes in frames of their own', async (t) => {
    const launcher = await begin(t);
    const streams = [0, 1, 2, 3].map((n) => launcher.startRun({ how: 'lines', n }));
    for (const [n, stream] of streams.entries()) {
      const { logs, stdout, stderr } = await launcher.answerOf(stream);
      assert.equal(logs.stdout, [0, 1, 2, 3, 4].map((i) => `${n} ${i}\n`).join(''));
      assert.equal(logs.stderr, [0, 1, 2, 3, 4].map((i) => `e ${n} ${i}\n`).join(''));
      assert.deepEqual([stdout, stderr], ['', '']);
      assert.ok(logs.frames <= 10, `${logs.frames} frames for 10 lines`);
    }
  });

  test('has the error that one threw', async (t) => {
    const { logs, body } = await (await begin(t)).run({ how: 'throw' });
    assert.match(body.error, /java\.lang\.Exception: broken$/);
    assert.match(logs.stderr, /^java\.lang\.Exception: broken\n\tat /);
  });

  test('is UTF-8 whatever they write, and cut between characters', async (t) => {
    const launcher = await begin(t);
    const parts = await launcher.run({ how: 'parts' });
    assert.equal(parts.logs.stdout, 'bytes ä😀\ntext 5\n\ufffd!end');
    const long = await launcher.run({ how: 'long' });
    assert.equal(long.logs.stdout, `x${'😀'.repeat(50_000)}\n`);
    assert.ok(long.logs.frames > 1);
  });

  test('is that of the threads that they started, too', async (t) => {
    assert.equal((await (await begin(t)).run({ how: 'thread' })).logs.stdout, 'from a thread\n');
  });

  test('after their end goes to the pipe, unattributed', async (t) => {
    const launcher = await begin(t);
    assert.equal((await launcher.run({ how: 'leave' })).logs.stdout, '');
    const answer = await launcher.run({ how: 'go' });
    assert.deepEqual([answer.stdout, answer.logs.stdout], ['late\n', '']);
    assert.equal(launcher.frames.filter((f) => f.kind === LOG).length, 0);
  });

  test('is not stopped by one that closes System.out', async (t) => {
    const launcher = await begin(t);
    await launcher.run({ how: 'close' });
    assert.equal((await launcher.run({ how: 'lines', n: 1 })).logs.stdout.length, 20);
  });

  test('has nothing of what was written while the action was loaded', async (t) => {
    const launcher = await start(t);
    const init = await launcher.init(writer.files(), { main: writer.main, ...options });
    assert.equal(init.stdout, 'loading\n');
    assert.equal((await launcher.run({ how: 'lines', n: 1 })).logs.stdout.length, 20);
  });
});

suite('calls that may overlap', () => {
  const options = { concurrency: 5 };
  const waiter = mapAction(`
    if (args.containsKey("end")) end(args.get("end")).release(); else end(args.get("n")).acquire();
    if (args.containsKey("bad")) throw new Exception("bad");
    return Map.of("n", String.valueOf(args.get("n")));`,
  `static Map<Object, java.util.concurrent.Semaphore> ends = new java.util.concurrent.ConcurrentHashMap<>();
    static java.util.concurrent.Semaphore end(Object n) {
      return ends.computeIfAbsent(n, key -> new java.util.concurrent.Semaphore(0)); }`);

  test('end in the order in which they are done, failed or not', async (t) => {
    const launcher = await startAction(t, waiter, options);
    const [first, second, third] = [{ n: 'a' }, { n: 'b', bad: true }, { n: 'c' }]
      .map((value) => launcher.startRun(value));
    await launcher.run({ end: 'c' });
    assert.deepEqual((await launcher.answerOf(third)).body, { n: 'c' });
    await launcher.run({ end: 'b' });
    assert.equal((await launcher.answerOf(second)).failed, true);
    await launcher.run({ end: 'a' });
    assert.deepEqual((await launcher.answerOf(first)).body, { n: 'a' });
  });

  test('wait when there are more of them', async (t) => {
    const launcher = await startAction(t, waiter, { concurrency: 2 });
    ['a', 'b', 'c'].forEach((n) => launcher.startRun({ n }));
    launcher.startRun({ end: 'a' });
    // Both calls that run wait for what only the last one does.
    await new Promise((done) => setTimeout(done, 50));
    assert.equal(launcher.frames.length, 0);
  });
});
