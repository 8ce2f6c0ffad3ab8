'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { RUN, mapAction, plain, start, startAction, suite } = require('./support.js');

const CALL_FAILED = 'An error has occurred while invoking the action (see logs for details): ';
const FAILED = 'An error has occurred (see logs for details): ';

// One launcher for all cases: names to the values that they run with and the bodies that are expected.
const answers = async (t, action, cases) => {
  const running = await startAction(t, action);
  for (const [name, { value, body, error }] of Object.entries(cases)) {
    const answer = await running.run(value);
    if (error === undefined) assert.deepEqual([answer.failed, answer.body], [false, body], name);
    else assert.deepEqual([answer.failed, answer.body], [true, { error }], name);
  }
};

suite('a call from map to map', () => {
  const echo = mapAction('return args;');
  const types = mapAction(`Map<String, Object> types = new TreeMap<>();
    args.forEach((name, value) -> types.put(name, value == null ? "null" : value.getClass().getSimpleName()));
    return types;`);
  const made = mapAction(`Map<String, Object> map = new LinkedHashMap<>();
    map.put("set", new TreeSet<>(List.of(2, 1)));
    map.put("array", new Object[] {1, "two", null});
    map.put("ints", new int[] {1, 2});
    map.put("builder", new StringBuilder("text"));
    map.put("char", 'c');
    map.put("enum", Thread.State.NEW);
    map.put("float", 0.1f);
    map.put("atomic", new java.util.concurrent.atomic.AtomicLong(7));
    map.put("sum", new Number() { public int intValue() { return 2; } public long longValue() { return 2; }
      public float floatValue() { return 2.5f; } public double doubleValue() { return 2.5; } });
    map.put("decimal", new java.math.BigDecimal("1.50"));
    map.put("lone", "\\ud83d and \\ude00");
    map.put("control", "\\u0001\\u001f\\b\\f");
    map.put("keys", Map.of(7, "seven"));
    map.put("empty", List.of(Map.of(), List.of(), new int[0], ""));
    return map;`);
  const unfit = mapAction(`Map<String, Object> map = new HashMap<>();
    if (args.containsKey("cyclic")) map.put("me", map);
    if (args.containsKey("nan")) map.put("n", Double.NaN);
    if (args.containsKey("object")) map.put("thread", new StringBuilder().chars());
    if (args.containsKey("nothing")) return null;
    if (args.containsKey("throws")) return new AbstractMap<>() {
      public Set<Map.Entry<String, Object>> entrySet() { throw new IllegalStateException("no entries"); } };
    return map;`);

  test('gets any JSON and gives it back', async (t) => {
    const values = {
      text: { a: 'plain', 'ä€😀': 'ä€😀', escapes: '"\\/\b\f\n\r\t\u0001\u2028', empty: '', '': 'no name' },
      numbers: { a: [0, -0.5, 1e10, 1.7976931348623157e308, 5e-324, 123456789012345680000, -9007199254740991] },
      words: { yes: true, no: false, nothing: null },
      nested: { a: [[], {}, [[{ b: [{}] }]]] },
      application: { error: 'mine', other: 1 },
      large: { list: Array.from({ length: 2000 }, (_, i) => ({ i, text: `item ${i} ä` })) },
    };
    await answers(t, echo, Object.fromEntries(Object.entries(values).map(([k, value]) => [k, { value, body: value }])));
  });

  test('gets JSON however it is written', async (t) => {
    const running = await startAction(t, echo);
    const texts = {
      ' { "value" : { "a" : [ 1 , 2 ] , "b" : { } } } ': { a: [1, 2], b: {} },
      '{"value":{"a":"\\u00e4\\ud83d\\ude00\\/\\u0041"}}': { a: 'ä😀/A' },
      '{"value":{"a":1E+2,"b":-0,"c":1e-2}}': { a: 100, b: 0, c: 0.01 },
      '{"namespace":"guest","value":{"last":1},"more":[{"deep":null},true,1.5e3]}': { last: 1 },
      '{"value":{"a":1,"a":2}}': { a: 2 },
      '{}': {},
      '{"value":null}': {},
    };
    for (const [text, body] of Object.entries(texts)) {
      running.send(RUN, 7, text);
      assert.deepEqual((await running.answerOf(7)).body, body, text);
    }
  });

  test('gets whole numbers exactly, and others as doubles', async (t) => {
    const running = await startAction(t, types);
    const digits = '9'.repeat(30);
    running.send(RUN, 7, `{"value":{"small":1,"long":-9223372036854775808,"big":${digits},"half":0.5,
      "huge":${'1'.repeat(2000)},"text":"t","list":[],"map":{},"yes":true,"none":null}}`);
    assert.deepEqual((await running.answerOf(7)).body, {
      big: 'BigInteger', half: 'Double', huge: 'Double', list: 'ArrayList', long: 'Long', map: 'LinkedHashMap',
      none: 'null', small: 'Long', text: 'String', yes: 'Boolean',
    });
  });

  test('may return collections, arrays, texts and numbers of any class', async (t) => {
    await answers(t, made, { made: { value: {}, body: {
      set: [1, 2], array: [1, 'two', null], ints: [1, 2], builder: 'text', char: 'c', enum: 'NEW', float: 0.1,
      decimal: 1.5, atomic: 7, sum: 2.5, lone: '\ud83d and \ude00', control: '\u0001\u001f\b\f', keys: { 7: 'seven' },
      empty: [{}, [], [], ''],
    } } });
  });

  test('fails when its result is no JSON', async (t) => {
    const illegal = `${FAILED}java.lang.IllegalArgumentException: the result `;
    await answers(t, unfit, {
      cyclic: { value: { cyclic: 1 }, error: `${illegal}is nested deeper than 1000 levels` },
      nan: { value: { nan: 1 }, error: `${illegal}has the number NaN, which JSON has not` },
      object: { value: { object: 1 }, error: `${illegal}has a java.util.stream.IntPipeline$Head, which JSON has not` },
      nothing: { value: { nothing: 1 }, error: `${FAILED}java.lang.NullPointerException: The action returned null` },
      throws: { value: { throws: 1 }, error: `${FAILED}java.lang.IllegalStateException: no entries` },
      none: { value: {}, body: {} },
    });
  });

  test('may be nested deeply, but not without end', async (t) => {
    const running = await startAction(t, echo);
    const nested = (levels) => `{"value":{"a":${'['.repeat(levels)}${']'.repeat(levels)}}}`;
    running.send(RUN, 1, nested(900));
    assert.equal((await running.answerOf(1)).failed, false);
    running.send(RUN, 2, nested(100_000));
    assert.equal((await running.answerOf(2)).body.error,
      `${FAILED}java.lang.IllegalArgumentException: the argument is nested deeper than 1000 levels`);
    assert.equal((await running.run()).failed, false);
  });

  test('says in the log that null was returned', async (t) => {
    const running = await startAction(t, unfit);
    const { stderr } = await running.run({ nothing: 1 });
    assert.equal(stderr, 'java.lang.NullPointerException: The action returned null\n');
  });
});

suite('the argument of a call', () => {
  const both = plain.action(`
    public static Map<String, Object> main(Map<String, Object> args) { return Map.of("map", args); }
    public static List<Object> main(List<Object> args) { return List.of("list", args.size()); }
    public static String main(String text) { return "{}"; }`);
  const onlyMap = mapAction('return args;');
  const text = plain.action('public static String main(String text) { return "[" + text + "]"; }');

  test('may be an object or an array, each with a method of its own', async (t) => {
    await answers(t, both, {
      object: { value: { a: 1 }, body: { map: { a: 1 } } },
      array: { value: [1, 2, 3], body: ['list', 3] },
      nothing: { value: null, body: { map: {} } },
    });
  });

  test('may be refused for want of a method', async (t) => {
    const noMethod = `java.lang.NoSuchMethodException: ${onlyMap.main}.main(com.google.gson.JsonArray)`;
    await answers(t, onlyMap, {
      array: { value: [1], error: `${FAILED}${noMethod}` },
      text: { value: 'text', error: `${FAILED}the argument is neither an object nor an array` },
      number: { value: 5, error: `${FAILED}the argument is neither an object nor an array` },
      object: { value: { a: 1 }, body: { a: 1 } },
    });
  });

  test('may be the text as it came', async (t) => {
    const running = await startAction(t, text);
    running.send(RUN, 3, '{"value": {"a" : 1.50, "b":"\\u00e4ä"} ,"namespace":"n"}');
    const { payload } = await running.receive((f) => f.stream === 3, 'RESULT');
    assert.equal(payload.toString(), '\0[{"a" : 1.50, "b":"\\u00e4ä"}]');
    assert.deepEqual((await running.run([1, 2])).body, [[1, 2]]);
  });
});

suite('a call fails', () => {
  const thrower = plain.action(`static class Odd extends RuntimeException {
      public String toString() { throw new IllegalStateException("no text"); } }
    static int depth() { return 1 + depth(); }
    public static Map<String, Object> main(Map<String, Object> args) throws Exception {
      switch (String.valueOf(args.get("how"))) {
        case "checked": throw new Exception("broken");
        case "error": throw new AssertionError("wrong");
        case "odd": throw new Odd();
        case "deep": depth();
        case "interrupted": Thread.currentThread().interrupt(); break;
        case "left interrupted": Thread.currentThread().interrupt(); return Map.of("left", true);
        default: break;
      }
      Thread.sleep(1);
      return Map.of("good", true); }`);

  test('when it throws anything, and the next one does not', async (t) => {
    await answers(t, thrower, {
      checked: { value: { how: 'checked' }, error: `${CALL_FAILED}java.lang.Exception: broken` },
      error: { value: { how: 'error' }, error: `${CALL_FAILED}java.lang.AssertionError: wrong` },
      odd: { value: { how: 'odd' }, error: `${CALL_FAILED}${thrower.main}$Odd` },
      deep: { value: { how: 'deep' }, error: `${CALL_FAILED}java.lang.StackOverflowError` },
      interrupted: {
        value: { how: 'interrupted' }, error: `${CALL_FAILED}java.lang.InterruptedException: sleep interrupted`,
      },
      left: { value: { how: 'left interrupted' }, body: { left: true } },
      good: { value: {}, body: { good: true } },
    });
  });

  test('and the stack of what it threw is in the log', async (t) => {
    const running = await startAction(t, thrower);
    const { stderr } = await running.run({ how: 'checked' });
    assert.match(stderr, /^java\.lang\.Exception: broken\n\tat a\d+\.Action\.main/);
  });
});

suite('the environment of a call', () => {
  const show = mapAction(`Map<String, Object> seen = new HashMap<>();
    System.getenv().forEach((name, value) -> { if (name.startsWith("__OW_")) seen.put(name, value); });
    if (args.containsKey("child")) {
      ProcessBuilder child = new ProcessBuilder("sh", "-c", "echo $__OW_NAMESPACE");
      child.environment().put("MORE", "more");
      seen.put("child", new String(child.start().getInputStream().readAllBytes()).trim());
    }
    if (!Objects.equals(System.getenv("__OW_NAMESPACE"), seen.get("__OW_NAMESPACE"))) seen.put("differs", true);
    return seen;`);

  test('is what a child process gets that is given an environment', async (t) => {
    const running = await startAction(t, show);
    assert.equal((await running.run({ child: 1 }, { namespace: 'guest' })).body.child, 'guest');
  });
});
