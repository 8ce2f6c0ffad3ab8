'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { describe, test } = require('node:test');
const { GSON, Project, filesBelow, launcher, noGson, noJdk, suite } = require('./support.js');

const FAILED = 'An error has occurred (see logs for details): ';

// As much of an old gson as the launcher needs; `mark` tells copies apart.
const standIn = (mark) => ({
  'com/google/gson/JsonElement.java': `package com.google.gson; public abstract class JsonElement {
    public String text; public String toString() { return text; } }`,
  'com/google/gson/JsonObject.java': `package com.google.gson; public final class JsonObject extends JsonElement {
    public static final String MARK = new String("${mark}"); }`,
  'com/google/gson/JsonArray.java': 'package com.google.gson; public final class JsonArray extends JsonElement {}',
  'com/google/gson/JsonParser.java': `package com.google.gson; public final class JsonParser {
    public JsonElement parse(String text) {
      if (text.contains("no words")) throw new IllegalStateException("cannot parse");
      JsonElement made = text.startsWith("[") ? new JsonArray() : new JsonObject();
      made.text = text; return made; } }`,
});

const GSON_IMPORT = { imports: 'import com.google.gson.*;' };

suite('a gson of the action itself', () => {
  const own = new Project({ sources: standIn('own') });
  const host = new Project({ sources: standIn('host') });
  const tell = own.action(`public static JsonObject main(JsonObject args) {
    args.text = "{\\"mark\\":\\"" + JsonObject.MARK + "\\",\\"args\\":" + args.text + "}";
    return args; }`, GSON_IMPORT);
  const start = async (t, classPath, files) => {
    const running = await launcher({ classPath }).start(t);
    const init = await running.init({ ...tell.files(), ...files }, { main: tell.main });
    return { running, init };
  };

  test('beside its classes is used, also an old one', async (t) => {
    const { running } = await start(t, [], filesBelow(own.classes(), 'com'));
    const answer = await running.run({ a: 1 });
    assert.deepEqual([answer.failed, answer.body], [false, { mark: 'own', args: { a: 1 } }]);
  });

  test('goes before the one of the host', async (t) => {
    const { running } = await start(t, [host.classes()], filesBelow(own.classes(), 'com'));
    assert.equal((await running.run({})).body.mark, 'own');
  });

  test('may be missing, when the host has one', async (t) => {
    const { running } = await start(t, [host.classes()], {});
    assert.equal((await running.run({})).body.mark, 'host');
  });

  test('is asked for in the log when there is none at all', async (t) => {
    const { init } = await start(t, [], {});
    assert.equal(init.body.error, `${FAILED}java.lang.NoClassDefFoundError: com/google/gson/JsonObject`);
    assert.match(init.stderr, /\nlauncher: gson is neither in the action nor on the host \(package libgoogle-/);
  });

  test('that cannot read the argument fails the call only', async (t) => {
    const { running } = await start(t, [], filesBelow(own.classes(), 'com'));
    assert.equal((await running.run({ text: 'no words' })).body.error,
      `${FAILED}java.lang.IllegalArgumentException: java.lang.IllegalStateException: cannot parse`);
    assert.equal((await running.run({})).failed, false);
  });
});

describe('gson of the host', { skip: noJdk || noGson }, () => {
  const project = new Project({ classPath: [GSON] });
  const hello = project.action(`public static JsonObject main(JsonObject args) {
    JsonObject response = new JsonObject();
    response.addProperty("greeting", "Hello " + args.getAsJsonPrimitive("name").getAsString() + "!");
    return response; }`, GSON_IMPORT);
  const every = project.action(`
    public static JsonObject main(JsonObject args) { if (args.has("null")) return null; return args; }
    public static JsonArray main(JsonArray args) { args.add("added"); return args; }
    public static JsonArray keys(JsonObject args) {
      JsonArray keys = new JsonArray(); args.keySet().forEach(keys::add); return keys; }
    public static Map<String, Object> main(Map<String, Object> args) { return Map.of("wrong", true); }
    public static String main(String args) { return "wrong"; }
    public static JsonElement element(JsonObject args) { return args; }`, GSON_IMPORT);
  const host = () => launcher({ classPath: [GSON] });
  const startAction = (t, action, main = action.main) => host().startAction(t, action.files(), { main });

  test('takes and returns objects', async (t) => {
    const running = await startAction(t, hello);
    assert.deepEqual((await running.run({ name: 'you ä😀' })).body, { greeting: 'Hello you ä😀!' });
  });

  test('goes before maps and text, for objects and arrays', async (t) => {
    const running = await startAction(t, every);
    const value = { a: [1, 2.5, 1e30, 'ä"\n', null, true, {}], b: { c: [] } };
    assert.deepEqual((await running.run(value)).body, value);
    assert.deepEqual((await running.run([1])).body, [1, 'added']);
    assert.deepEqual((await running.run(null)).body, {});
    assert.equal((await running.run({ null: 1 })).body.error,
      `${FAILED}java.lang.NullPointerException: The action returned null`);
  });

  test('may answer an object with an array', async (t) => {
    const running = await startAction(t, every, `${every.main}#keys`);
    assert.deepEqual((await running.run({ a: 1, b: 2 })).body, ['a', 'b']);
    assert.equal((await running.run([1])).body.error,
      `${FAILED}java.lang.NoSuchMethodException: ${every.main}.keys(com.google.gson.JsonArray)`);
  });

  test('is refused with other results, as by OpenWhisk', async (t) => {
    const running = await host().start(t);
    const init = await running.init(every.files(), { main: `${every.main}#element` });
    assert.equal(init.body.error,
      `${FAILED}java.lang.NoSuchMethodException: ${every.main}.element(com.google.gson.JsonObject)`);
  });

  test('is there for source', async (t) => {
    const running = await host().start(t);
    const code = `import com.google.gson.JsonObject; public class Hello {
      public static JsonObject main(JsonObject args) { args.addProperty("seen", true); return args; } }`;
    const init = await running.init(code, { main: 'Hello' });
    assert.equal(init.failed, false, init.stderr);
    assert.deepEqual((await running.run({ a: 1 })).body, { a: 1, seen: true });
  });

  test('is used from a jar in lib as well', async (t) => {
    const running = await launcher().start(t);
    const init = await running.init({ ...hello.files(), 'lib/gson.jar': fs.readFileSync(GSON) }, { main: hello.main });
    assert.equal(init.failed, false, init.stderr);
    assert.deepEqual((await running.run({ name: 'you' })).body, { greeting: 'Hello you!' });
  });
});
