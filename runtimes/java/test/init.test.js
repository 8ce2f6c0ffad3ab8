'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { test } = require('node:test');
const { mapAction, plain, start, startAction, suite, tool } = require('./support.js');

const MAIN = 'public static Map<String, Object> main(Map<String, Object> args)';
const FAILED = 'An error has occurred (see logs for details): ';

const result = async (t, action, options, value = {}) => {
  const launcher = await startAction(t, action, options);
  const answer = await launcher.run(value);
  assert.equal(answer.failed, false, answer.body.error);
  return answer.body;
};

const failedInit = async (t, files, options) => {
  const launcher = await start(t);
  const init = await launcher.init(files, options);
  assert.equal(init.failed, true);
  return { error: init.body.error, stderr: init.stderr, launcher };
};

const failedAction = (t, { main, files }, options) => failedInit(t, files(), { main, ...options });

suite('an archive', () => {
  const hello = mapAction('return Map.of("hello", args.get("name"));');
  const others = plain.action(`
    public static Map<String, Object> other(Map<String, Object> args) { return Map.of("other", true); }
    static class Nested { ${MAIN} { return Map.of("nested", true); } }`);
  const hidden = plain.action(`${MAIN} { return Map.of("hidden", true); }`, { modifiers: '' });
  const reader = mapAction(`try (InputStream in = Action.class.getResourceAsStream("/data.txt")) {
    return Map.of("text", new String(in.readAllBytes())); }`);
  const twoResources = mapAction('return Map.of("inner", read("/inner.txt"), "beside", read("/beside.txt"));',
    `static String read(String name) throws Exception {
      try (InputStream in = Action.class.getResourceAsStream(name)) { return new String(in.readAllBytes()); } }`);
  const stateful = mapAction('n += 1; return Map.of("n", n);', 'static int n;');
  const environment = mapAction('return Map.of("seen", SEEN);',
    'static final String SEEN = System.getenv("GREETING");');
  const loaders = mapAction(`Class<?> other = Thread.currentThread().getContextClassLoader().loadClass("a1.Action");
    return Map.of("same", Class.forName("a1.Action") == other);`);
  const isolated = mapAction(`try { Class.forName("triplane.Launcher"); return Map.of("seen", true);
    } catch (ClassNotFoundException e) { return Map.of("seen", false); }`);

  test('runs main of the class that is named', async (t) => {
    assert.deepEqual(await result(t, hello, {}, { name: 'you' }), { hello: 'you' });
  });

  test('may name another method', async (t) => {
    assert.deepEqual(await result(t, others, { main: `${others.main}#other` }), { other: true });
  });

  test('may name a nested class', async (t) => {
    assert.deepEqual(await result(t, others, { main: `${others.main}$Nested` }), { nested: true });
  });

  test('may have a class that is not public', async (t) => {
    assert.deepEqual(await result(t, hidden), { hidden: true });
  });

  test('has its resources on the class path', async (t) => {
    const files = () => ({ ...reader.files(), 'data.txt': 'data' });
    assert.deepEqual(await result(t, { ...reader, files }), { text: 'data' });
  });

  test('has the jars beside its classes and in lib on the class path', async (t) => {
    const launcher = await start(t);
    const jar = (name) => {
      const root = launcher.writeFiles({ [`${name}.txt`]: name });
      execFileSync(tool('jar'), ['--create', '--file', `${root}/${name}.jar`, '-C', root, `${name}.txt`]);
      return fs.readFileSync(`${root}/${name}.jar`);
    };
    const files = { ...twoResources.files(), 'lib/inner.jar': jar('inner'), 'beside.jar': jar('beside') };
    const init = await launcher.init(files, { main: twoResources.main });
    assert.equal(init.failed, false, init.body.error);
    assert.deepEqual((await launcher.run()).body, { inner: 'inner', beside: 'beside' });
  });

  test('may have classes for newer versions of Java', async (t) => {
    const manifest = (multi) => ({ 'META-INF/MANIFEST.MF': `Manifest-Version: 1.0\nMulti-Release: ${multi}\n` });
    const versions = {
      'data.txt': 'old', 'META-INF/versions/9/data.txt': '9', 'META-INF/versions/11/data.txt': '11',
      'META-INF/versions/99/data.txt': '99',
    };
    const files = (multi) => () => ({ ...reader.files(), ...versions, ...manifest(multi) });
    assert.deepEqual(await result(t, { ...reader, files: files(true) }), { text: '11' });
    assert.deepEqual(await result(t, { ...reader, files: files(false) }), { text: 'old' });
  });

  test('keeps its state between calls', async (t) => {
    const launcher = await startAction(t, stateful);
    await launcher.run();
    assert.deepEqual((await launcher.run()).body, { n: 2 });
  });

  test('sees the environment of init while it is loaded', async (t) => {
    const env = { GREETING: 'hi', 'no=name': 'x', EMPTY: '' };
    assert.deepEqual(await result(t, environment, { env }), { seen: 'hi' });
  });

  test('finds its classes by the context of the thread', async (t) => {
    const files = () => ({ ...loaders.files(), ...hello.files() });
    assert.deepEqual(await result(t, { ...loaders, files }), { same: true });
  });

  test('does not see the classes of the launcher', async (t) => {
    assert.deepEqual(await result(t, isolated), { seen: false });
  });

  test('of sources is compiled', async (t) => {
    const files = {
      'pack/Hello.java': `package pack; import java.util.*; public class Hello { ${MAIN} { return Helper.help(); } }`,
      'pack/Helper.java': `package pack; import java.util.*;
        class Helper { static Map<String, Object> help() { return Map.of("a", 1); } }`,
    };
    assert.deepEqual(await result(t, { main: 'pack.Hello', files: () => files }), { a: 1 });
  });
});

suite('source', () => {
  const SOURCE = `package example; import java.util.*;
    /** Ünïcode. */ public class Hello { ${MAIN} { return Map.of("hello", new Inner().text + "ä"); }
      static class Inner { String text = "inner "; } }`;

  test('is compiled', async (t) => {
    const launcher = await start(t);
    const init = await launcher.init(SOURCE, { main: 'example.Hello' });
    assert.deepEqual(init, { failed: false, body: {}, stdout: '', stderr: '' });
    assert.deepEqual((await launcher.run()).body, { hello: 'inner ä' });
  });

  test('of a class Main needs no name, and may start with a byte order mark', async (t) => {
    const launcher = await start(t);
    const init = await launcher.init(`\ufeffimport java.util.*; public class Main { ${MAIN} { return args; } }`);
    assert.deepEqual([init.failed, init.body], [false, {}]);
  });

  test('that is wrong is in the log, with its lines', async (t) => {
    const code = 'public class Hello {\n  int x = "text";\n}';
    const { error, stderr } = await failedInit(t, code, { main: 'example.Hello' });
    assert.equal(error, 'The action failed to generate or locate a binary. See logs for details.');
    assert.match(stderr, /^Hello\.java:2: error: incompatible types: String cannot be converted to int\n/);
  });

  test('needs a compiler', async (t) => {
    const launcher = await start(t, { flags: ['--limit-modules', 'java.base,java.compiler'] });
    const init = await launcher.init(SOURCE, { main: 'example.Hello' });
    assert.equal(init.body.error, `${FAILED}this Java has no compiler, so the code must be a jar`);
  });
});

suite('init fails', () => {
  const good = mapAction('return args;');
  const wrong = plain.action(`
    public Map<String, Object> notStatic(Map<String, Object> args) { return args; }
    static Map<String, Object> notPublic(Map<String, Object> args) { return args; }
    public static int number(Map<String, Object> args) { return 1; }
    public static String mixed(Map<String, Object> args) { return ""; }
    public static Map<String, Object> two(Map<String, Object> args, String more) { return args; }
    public static void main(String[] args) {}`);
  const thrower = mapAction('return args;', 'static { if (true) throw new IllegalStateException("not today"); }');
  const overflow = mapAction('return args;', 'static int depth() { return 1 + depth(); } static int n = depth();');

  test('without a class or method that fits', async (t) => {
    const launcher = await start(t);
    const noClass = (name) => `java.lang.ClassNotFoundException: ${name}`;
    const noMethod = (method) => `java.lang.NoSuchMethodException: ${wrong.main}.${method}(com.google.gson.JsonObject)`;
    const cases = {
      x: noClass(`${wrong.main}x`), '!': noClass(`${wrong.main}!`), '': noMethod('main'), '#': noMethod('main'),
      '#bogus': noMethod('bogus'), '#notStatic': noMethod('notStatic'), '#notPublic': noMethod('notPublic'),
      '#number': noMethod('number'), '#mixed': noMethod('mixed'), '#two': noMethod('two'),
    };
    for (const [suffix, text] of Object.entries(cases)) {
      const { failed, body, stderr } = await launcher.init(wrong.files(), { main: wrong.main + suffix });
      assert.deepEqual([failed, body.error], [true, `${FAILED}${text}`]);
      assert.ok(stderr.startsWith(text), stderr);
    }
  });

  test('and the log says what main may be', async (t) => {
    const { stderr } = await failedAction(t, wrong);
    assert.match(stderr, /\nlauncher: it must be public and static, and take and return JsonObject or JsonArray /);
  });

  test('with the error that loading threw, whose trace is in the log', async (t) => {
    const { error, stderr } = await failedAction(t, thrower);
    assert.equal(error, `${FAILED}java.lang.IllegalStateException: not today`);
    assert.match(stderr, /^java\.lang\.IllegalStateException: not today\n\tat a\d+\.Action\.<clinit>/);
  });

  test('when loading overflows the stack', async (t) => {
    assert.equal((await failedAction(t, overflow)).error, `${FAILED}java.lang.StackOverflowError`);
  });

  test('when a file is no class', async (t) => {
    const { error, stderr } = await failedInit(t, { 'Broken.class': 'notaclassfile' }, { main: 'Broken' });
    assert.ok(error.startsWith(`${FAILED}java.lang.ClassFormatError: Incompatible magic value 1852798049 `), error);
    assert.match(stderr, /^java\.lang\.ClassFormatError/);
  });

  test('without a main', async (t) => {
    assert.equal((await failedAction(t, good, { main: '' })).error, 'Missing main/no code to execute.');
  });

  test('without code', async (t) => {
    assert.equal((await failedInit(t, '', { main: 'Hello' })).error, 'Missing main/no code to execute.');
  });

  test('when the file is not there', async (t) => {
    const launcher = await start(t);
    const path = `${launcher.directory}/gone`;
    const init = await launcher.initPath({ path, main: 'Hello' });
    assert.equal(init.body.error, `${FAILED}java.nio.file.NoSuchFileException: ${path}`);
  });

  test('and may be tried again', async (t) => {
    const { launcher } = await failedAction(t, thrower);
    assert.equal((await launcher.init(good.files(), { main: good.main })).failed, false);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});
