'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const {
  CANCEL, CHUNK, FLAGS, HELLO, INIT, JAVA, RUN, driver, frame, javac, launcherClasses, launcherSources, mapAction,
  plain, start, startAction, suite, temporary, tool,
} = require('./support.js');

const MEGABYTE = 1024 * 1024;
const LARGE = { flags: ['-Xmx1g'] };

suite('frames', () => {
  const echo = mapAction('return args;');
  const text = plain.action('public static String main(String text) { return text; }');
  const large = mapAction(`FileOutputStream raw = new FileOutputStream(FileDescriptor.err); raw.write('.');
    return Map.of("n", args.get("n"), "text", "x".repeat(1 << 20));`);

  test('may come many at once, whether calls overlap or not', async (t) => {
    for (const concurrency of [1, 16]) {
      const running = await startAction(t, echo, { concurrency });
      const streams = Array.from({ length: 2000 }, (_, i) => i + 1);
      const frames = streams.map((i) => frame(RUN, i, JSON.stringify({ value: { i, pad: 'x'.repeat(i % 100) } })));
      running.socket.write(Buffer.concat(frames));
      for (const i of streams) assert.equal((await running.answerOf(i)).body.i, i);
    }
  });

  test('may be 48 MB in both directions', async (t) => {
    const body = { text: 'x'.repeat(48 * MEGABYTE) };
    for (const action of [echo, text]) {
      const answer = await (await startAction(t, action, { launcher: LARGE })).run(body);
      assert.equal(answer.body.text, body.text);
    }
  });

  test('of results that are not read hold up further calls, and none is lost', async (t) => {
    const running = await startAction(t, large, { concurrency: 4 });
    running.socket.pause();
    const streams = Array.from({ length: 40 }, (_, n) => running.startRun({ n, pad: 'y'.repeat(20_000) }));
    await running.stderrOf(4);
    await new Promise((done) => setTimeout(done, 50));
    const dots = await running.stderrOf(4);
    assert.ok(dots <= 8, `${dots} calls ran`);
    running.socket.resume();
    for (const [n, stream] of streams.entries()) {
      const { body } = await running.answerOf(stream);
      assert.deepEqual([body.n, body.text.length], [n, MEGABYTE]);
    }
  });
});

suite('the launcher exits', () => {
  const sleeper = mapAction('System.out.println("begun"); Thread.sleep(60_000); return args;',
    `static { Runtime.getRuntime().addShutdownHook(new Thread(() -> { for (;;) {
      try { Thread.sleep(60_000); } catch (InterruptedException e) { } } })); }`);

  test('when the proxy closes the socket in the middle of calls, however many overlap', async (t) => {
    for (const concurrency of [1, 2]) {
      const running = await startAction(t, sleeper, { concurrency });
      for (let i = 0; i < concurrency; i += 1) running.startRun();
      const begun = () => (concurrency === 1 ? running.stdout.pieces.length : running.frames.length);
      while (begun() < concurrency) await new Promise((wake) => setTimeout(wake, 1));
      running.socket.end();
      assert.equal((await running.exit()).code, 0);
    }
  });

  const echo = mapAction('return args;');
  for (const payload of ['{"value":', '5', '{"value":{"a":01}} x']) {
    test(`on a call that is ${JSON.stringify(payload)}`, async (t) => {
      const running = await startAction(t, echo);
      running.send(RUN, 1, payload);
      assert.deepEqual(await running.exit(),
        { code: 70, signal: null, stdout: '', stderr: 'launcher: a frame is not a JSON object\n' });
    });
  }
});

suite('an action that ends the process', () => {
  const ender = mapAction(`
    String how = String.valueOf(args.get("how"));
    if (how.equals("exit")) { System.out.println("bye"); System.exit(3); }
    if (how.equals("memory")) { List<byte[]> all = new ArrayList<>(); for (;;) all.add(new byte[1 << 20]); }
    if (how.equals("large")) return Map.of("a", new byte[Integer.MAX_VALUE - 8]);
    if (how.equals("thread")) { Thread thread = new Thread(() -> { byte[][] all = new byte[1 << 20][];
      for (int i = 0; ; i++) all[i] = new byte[1 << 20]; }); thread.start(); thread.join(); Thread.sleep(60_000); }
    if (how.equals("stray")) {
      Thread thread = new Thread(() -> { throw new IllegalStateException("stray"); }); thread.start(); thread.join();
    }
    return Map.of();`);
  const loader = mapAction('return args;', 'static { System.exit(4); }');
  const NO_MEMORY = 'The action exhausted its memory and was aborted.';
  const small = { launcher: { flags: ['-Xmx32m'] } };

  test('by System.exit gives its code', async (t) => {
    const running = await startAction(t, ender);
    running.startRun({ how: 'exit' });
    const exit = await running.exit();
    assert.deepEqual([exit.code, exit.stdout], [3, 'bye\n']);
  });

  test('by System.exit while it is loaded gives its code', async (t) => {
    const running = await start(t);
    running.startInit(loader.files(), { main: loader.main });
    assert.equal((await running.exit()).code, 4);
  });

  test('by using up its memory is told so', async (t) => {
    for (const how of ['memory', 'large']) {
      const running = await startAction(t, ender, small);
      const answer = await running.run({ how });
      assert.deepEqual([answer.failed, answer.body], [true, { error: NO_MEMORY }]);
      assert.match(answer.stderr, /^java\.lang\.OutOfMemoryError: /);
      assert.equal((await running.exit()).code, 3);
    }
  });

  test('by using up its memory in a thread of its own says so on stderr', async (t) => {
    const running = await startAction(t, ender, small);
    running.startRun({ how: 'thread' });
    const exit = await running.exit();
    assert.equal(exit.code, 3);
    assert.match(exit.stderr, /^Exception in thread "Thread-\d+" java\.lang\.OutOfMemoryError: Java heap space/);
  });

  test('cannot be one whose thread throws something else', async (t) => {
    const running = await startAction(t, ender);
    const answer = await running.run({ how: 'stray' });
    assert.equal(answer.failed, false);
    assert.match(answer.stderr, /^Exception in thread "Thread-\d+" java\.lang\.IllegalStateException: stray\n\tat /);
  });

  test('by an argument that is larger than its memory is told so', async (t) => {
    const running = await startAction(t, ender, small);
    const answer = await running.run({ text: 'x'.repeat(40 * MEGABYTE) });
    assert.deepEqual([answer.failed, answer.body], [true, { error: NO_MEMORY }]);
    assert.equal((await running.exit()).code, 3);
  });
});

suite('an action cannot break the framing', () => {
  const tamperer = mapAction(`
    String how = String.valueOf(args.get("how"));
    Thread thread = Thread.currentThread();
    if (how.equals("loader")) thread.setContextClassLoader(null);
    if (how.equals("handler")) Thread.setDefaultUncaughtExceptionHandler((t, e) -> { throw new Error("handler"); });
    if (how.equals("threads")) for (int i = 0; i < 10; i++) {
      Thread other = new Thread(() -> { try { Thread.sleep(60_000); } catch (InterruptedException e) { } });
      other.setDaemon(i % 2 == 0);
      other.start();
    }
    if (how.equals("interrupt")) Thread.getAllStackTraces().keySet().forEach(Thread::interrupt);
    if (how.equals("properties")) System.setProperties(new Properties());
    if (how.equals("args")) args.clear();
    return Map.of("got", String.valueOf(args.get("how")), "space", System.getenv("__OW_NAMESPACE"),
      "loader", thread.getContextClassLoader() == Action.class.getClassLoader());`);
  const child = mapAction(`
    Process process = new ProcessBuilder("sh", "-c", "ls -l /proc/$$/fd | grep socket; true").start();
    return Map.of("sockets", new String(process.getInputStream().readAllBytes()));`);

  for (const concurrency of [1, 4]) {
    test(`by what it does to the process, at concurrency ${concurrency}`, async (t) => {
      const running = await startAction(t, tamperer, { concurrency });
      for (const how of ['loader', 'handler', 'threads', 'interrupt', 'properties', 'args', 'nothing']) {
        const { body } = await running.run({ how }, { namespace: how });
        assert.deepEqual([body.space, body.loader], [how, how !== 'loader']);
      }
    });
  }

  test('through a child process, which does not inherit the socket', async (t) => {
    const running = await startAction(t, child);
    assert.deepEqual((await running.run()).body, { sockets: '' });
  });
});

suite('the sources', () => {
  test('compile for Java 11 without warnings', () => {
    const target = path.join(temporary, 'checked');
    assert.equal(javac(target, [], launcherSources(), ['-Xlint:all', '-Werror', '--release', '11']), '');
  });
});

suite('an archive of classes', () => {
  const echo = mapAction('return args;');
  const FIRST_JAVA = 13;
  const major = () => {
    const { stderr } = spawnSync(JAVA, ['-XshowSettings:properties', '-version'], { encoding: 'utf8' });
    return Number(/java\.specification\.version = (\d+)/.exec(stderr)[1]);
  };

  test('can be made of a rehearsal, and has all that the launcher needs', async (t) => {
    if (major() < FIRST_JAVA) return t.skip(`Java makes such archives from ${FIRST_JAVA} on`);
    const [jar, archive, loaded] = ['jar', 'jsa', 'loaded'].map((name) => path.join(temporary, `launcher.${name}`));
    spawnSync(tool('jar'), ['--create', '--file', jar, '-C', launcherClasses(), '.']);
    const main = ['-cp', jar, 'triplane.Launcher'];
    const make = [...FLAGS, `-XX:ArchiveClassesAtExit=${archive}`, ...main, 'rehearse'];
    const made = spawnSync(JAVA, make, { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stdout + made.stderr);
    const use = [`-XX:SharedArchiveFile=${archive}`, '-Xshare:on', `-Xlog:class+load:file=${loaded}`];
    const running = await driver([JAVA, ...FLAGS, ...use, ...main]).startAction(t, echo.files(), { main: echo.main });
    assert.deepEqual((await running.run({ a: 1 })).body, { a: 1 });
    const ours = fs.readFileSync(loaded, 'utf8').split('\n').filter((line) => line.includes(' triplane.'));
    assert.ok(ours.length > 10);
    assert.deepEqual(ours.filter((line) => !line.includes('shared objects file')), []);
  });
});
