'use strict';
const assert = require('node:assert/strict');
const { RUN, describe, frame, start, startAction, test } = require('./support.js');

const NO_DICTIONARY = 'The action did not return a dictionary or array.';
const ECHO = 'def main(args): return args';

const answerOf = async (t, code, value) => (await startAction(t, code)).run(value);

const returns = (name, code, body) => test(name, async (t) => {
  const answer = await answerOf(t, code, { a: 1 });
  assert.deepEqual([answer.failed, answer.body, answer.stdout, answer.stderr], [false, body, '', '']);
});

const fails = (name, code, error) => test(name, async (t) => {
  const answer = await answerOf(t, code, {});
  assert.equal(answer.failed, true);
  if (error instanceof RegExp) assert.match(answer.body.error, error);
  else assert.deepEqual(answer.body, { error });
});

// An exception is an application error, as in OpenWhisk.
const raises = (name, code, error) => test(name, async (t) => {
  const answer = await answerOf(t, code, {});
  assert.deepEqual([answer.failed, answer.body], [false, { error }]);
  assert.match(answer.stderr, /^Traceback \(most recent call last\):\n {2}File ".*\/source", line \d+, in /);
});

describe('a call returns', () => {
  returns('its dictionary', 'def main(args): return {"got": args}', { got: { a: 1 } });
  returns('a list', 'def main(args): return [1, "two"]', [1, 'two']);
  returns('a tuple as an array', 'def main(args): return 1, "two"', [1, 'two']);
  returns('an empty dictionary', 'def main(args): return {}', {});
  returns('null for nothing', 'def main(args): pass', null);
  returns('what is like a dictionary', `from collections import OrderedDict, defaultdict
def main(args): return OrderedDict(a=defaultdict(list, b=[1]))`, { a: { b: [1] } });
  returns('all that JSON has', 'def main(args): return {"a": [None, True, False, 1, -2.5, 1e300, "", {}, []]}',
    { a: [null, true, false, 1, -2.5, 1e300, '', {}, []] });
  returns('keys that are no text as text', 'def main(args): return {1: 1, None: 2, False: 3, 2.5: 4}',
    { 1: 1, null: 2, false: 3, 2.5: 4 });
  returns('an error that it made itself', 'def main(args): return {"error": "mine", "other": 1}',
    { error: 'mine', other: 1 });
  returns('text outside ASCII', 'def main(args): return {"text": "ä€😀\\x00\\x1f\\u2028\\"\\\\"}',
    { text: 'ä€😀\0\x1f\u2028"\\' });
  returns('a question mark for half a character', 'def main(args): return {"\\ud800": "a\\udfffb"}', { '?': 'a?b' });
  returns('what its own classes are taught to be', `import json
class Point: pass
json.JSONEncoder.default = lambda self, value: "taught"
def main(args): return {"point": Point()}`, { point: 'taught' });
});

describe('an async function', () => {
  returns('may be main', `import asyncio
async def main(args):
    await asyncio.sleep(0.001)
    return args`, { a: 1 });
  returns('need not wait', 'async def main(args): return args', { a: 1 });
  returns('may be wrapped', `import functools
def same(function):
    @functools.wraps(function)
    def wrapper(args): return function(args)
    return wrapper
@same
async def main(args): return args`, { a: 1 });
  returns('may be wrapped unseen', `import asyncio
async def work(args):
    await asyncio.sleep(0)
    return args
main = lambda args: work(args)`, { a: 1 });
  returns('may be one that needs the loop before it waits', `import asyncio
def main(args): return asyncio.get_running_loop().create_task(work(args))
async def work(args): return args
main.__wrapped__ = work`, { a: 1 });
  returns('may return any awaitable', `class Later:
    def __await__(self):
        yield from ()
        return {"later": True}
def main(args): return Later()`, { later: true });
  raises('may raise an exception', 'async def main(args): raise ValueError("no way")', 'no way');
  raises('may be cancelled', `import asyncio
async def main(args):
    asyncio.current_task().cancel()
    await asyncio.sleep(1)`, '');
  fails('must return a dictionary, too', 'async def main(args): return "text"', NO_DICTIONARY);

  test('has one loop for all calls', async (t) => {
    const code = `import asyncio
loops, queue = set(), None
async def main(args):
    global queue
    loops.add(asyncio.get_running_loop())
    if queue is None: queue = asyncio.Queue()
    await queue.put(args["n"])
    return {"loops": len(loops), "n": await asyncio.wait_for(queue.get(), 5)}`;
    const launcher = await startAction(t, code);
    await launcher.run({ n: 1 });
    assert.deepEqual((await launcher.run({ n: 2 })).body, { loops: 1, n: 2 });
  });

  test('has the loop that it was loaded with', async (t) => {
    const code = `import asyncio
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
async def main(args): return {"same": asyncio.get_running_loop() is loop}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { same: true });
  });

  for (const [how, run] of [
    ['by asyncio.run', 'asyncio.run(work())'],
    ['in a loop that is closed', `loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(work())
loop.close()`],
  ]) {
    test(`may have run something else while it was loaded, ${how}`, async (t) => {
      const code = `import asyncio\nasync def work(): pass\n${run}\nasync def main(args): return {"done": True}`;
      assert.deepEqual((await answerOf(t, code)).body, { done: true });
    });
  }

  test('may stop its loop, which fails that call only', async (t) => {
    const code = `import asyncio
async def main(args):
    if "stop" in args: asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    return args`;
    const launcher = await startAction(t, code);
    const answer = await launcher.run({ stop: true });
    assert.deepEqual(answer.body, { error: 'Event loop stopped before Future completed.' });
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });

  test('continues what it left when the next call comes', async (t) => {
    const code = `import asyncio
left = []
async def leave():
    await asyncio.sleep(0)
    left.append(1)
async def main(args):
    if args.get("left"):
        await asyncio.sleep(0.001)
        return {"left": left}
    asyncio.ensure_future(leave())
    return {}`;
    const launcher = await startAction(t, code);
    await launcher.run();
    assert.deepEqual((await launcher.run({ left: true })).body, { left: [1] });
  });

  test('may be run by one that is not', async (t) => {
    const code = 'import asyncio\nasync def work(args): return args\ndef main(args): return asyncio.run(work(args))';
    const launcher = await startAction(t, code);
    await launcher.run();
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});

describe('an exception', () => {
  raises('is an application error with its text', 'def main(args): raise ValueError("broken")', 'broken');
  raises('of a key has that key', 'def main(args): return args["gone"]', "'gone'");
  raises('without a text has none', 'def main(args): raise ValueError', '');
  raises('that has a cause is shown with it', `def main(args):
    try: 1 / 0
    except ZeroDivisionError as cause: raise ValueError("broken") from cause`, 'broken');
  raises('that cannot be shown says so', `class Odd(Exception):
    def __str__(self): raise RuntimeError
def main(args): raise Odd()`, 'an error that cannot be shown');
  raises('that is none of Exception is the same', `class Odd(BaseException): pass
def main(args): raise Odd("odd")`, 'odd');
  raises('of deep recursion is the same', 'def main(args): return main(args)', 'maximum recursion depth exceeded');
  raises('of much memory is the same', 'def main(args): return {"a": "x" * (1 << 62)}', '');
  raises('with half a character has a question mark', 'def main(args): raise ValueError("a\\ud800")', 'a?');

  test('has its stack in the log, without the launcher', async (t) => {
    const answer = await answerOf(t, 'def fail():\n    raise ValueError("broken")\n\ndef main(args):\n    fail()');
    const lines = answer.stderr.split('\n').filter((line) => !/^[ ~^]*$/.test(line));
    assert.match(lines[1], /source", line 5, in main$/);
    assert.match(lines[3], /source", line 2, in fail$/);
    assert.deepEqual([lines[0], lines[2], lines[4], lines[5], lines.length], ['Traceback (most recent call last):',
      '    fail()', '    raise ValueError("broken")', 'ValueError: broken', 6]);
  });

  test('of an async function has its stack in the log, without the launcher', async (t) => {
    const answer = await answerOf(t, 'async def main(args):\n    raise ValueError("broken")');
    assert.match(answer.stderr,
      /^Traceback .*\n {2}File ".*source", line 2, in main\n {4}raise .*\n[ ^]*\n?ValueError: broken\n$/);
  });

  test('leaves the action usable', async (t) => {
    const launcher = await startAction(t, 'def main(args): return {"half": 1 / args["n"]}');
    assert.deepEqual((await launcher.run({ n: 0 })).body, { error: 'division by zero' });
    assert.deepEqual((await launcher.run({ n: 2 })).body, { half: 0.5 });
  });
});

describe('a call fails', () => {
  fails('when it returns a text', 'def main(args): return "not a json object"', NO_DICTIONARY);
  fails('when it returns a number', 'def main(args): return 5', NO_DICTIONARY);
  fails('when it returns a truth', 'def main(args): return True', NO_DICTIONARY);
  fails('when its result is no JSON', 'def main(args): return {"a": {1, 2}}',
    'An error has occurred: TypeError: Object of type set is not JSON serializable');
  fails('when its result is no JSON and json is loaded', 'import json\ndef main(args): return {"a": b"bytes"}',
    'An error has occurred: TypeError: Object of type bytes is not JSON serializable');
  fails('when a key of its result is no JSON', 'def main(args): return {(1, 2): 3}',
    'An error has occurred: TypeError: keys must be str, int, float, bool or None, not tuple');
  fails('when its result has no number', 'def main(args): return {"a": float("nan")}',
    /^An error has occurred: ValueError: Out of range float values are not JSON compliant/);
  fails('when its result is infinite', 'def main(args): return [float("-inf")]', /Out of range float values/);
  fails('when its result is cyclic', 'def main(args):\n  a = {}\n  a["a"] = a\n  return a',
    'An error has occurred: ValueError: Circular reference detected');
  fails('when its result is too deep', `def main(args):
    deep = []
    for _ in range(100000): deep = [deep]
    return deep`, /^An error has occurred: RecursionError: /);
  fails('when its result raises', `class Odd(dict):
    def items(self): raise KeyError("odd")
def main(args): return Odd(a=1)`, "An error has occurred: KeyError: 'odd'");

  test('once, and the next one does not', async (t) => {
    const code = `kept = {}
def main(args):
    kept["a"] = {1} if "bad" in args else 1
    return kept`;
    const launcher = await startAction(t, code);
    assert.equal((await launcher.run({ bad: true })).failed, true);
    assert.deepEqual((await launcher.run()).body, { a: 1 });
  });

  test('and the log says what is no JSON', async (t) => {
    const answer = await answerOf(t, 'def main(args): return {"a": {1, 2}}');
    assert.equal(answer.stderr, 'TypeError: Object of type set is not JSON serializable\n');
  });

  test('after a failed init', async (t) => {
    const launcher = await start(t);
    await launcher.init('raise ValueError');
    assert.deepEqual((await launcher.run()).body, { error: 'no action defined yet' });
  });

  const refused = (name, value, error) => test(name, async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.socket.write(frame(RUN, 7, `{"value":${value}}`));
    const answer = await launcher.answerOf(7);
    assert.equal(answer.failed, true);
    assert.match(answer.body.error, error);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
  refused('when its argument is deeper than Python goes', '['.repeat(200_000) + ']'.repeat(200_000),
    /^An error has occurred: RecursionError: /);

  test('only for itself when its argument has more digits than Python takes', async (t) => {
    const launcher = await startAction(t, 'def main(args): return {"digits": args["n"] > 0}');
    launcher.socket.write(frame(RUN, 7, `{"value":{"n":${'9'.repeat(10_000)}}}`));
    const answer = await launcher.answerOf(7);
    // Python 3.9 and 3.10 may be older than the limit.
    if (answer.failed) assert.match(answer.body.error, /^An error has occurred: ValueError: Exceeds the limit/);
    else assert.deepEqual(answer.body, { digits: true });
    assert.equal((await launcher.run({ n: 1 })).failed, false);
  });
});

describe('the argument of a call', () => {
  test('may be an array', async (t) => {
    assert.deepEqual((await answerOf(t, 'def main(args): return {"count": len(args)}', [1, 2, 3])).body, { count: 3 });
  });

  test('that is null is an empty dictionary', async (t) => {
    assert.deepEqual((await answerOf(t, 'def main(args): return {"args": args}', null)).body, { args: {} });
  });

  test('that is missing is an empty dictionary', async (t) => {
    const launcher = await startAction(t, 'def main(args): return {"args": args}');
    launcher.send(RUN, 5, '{}');
    assert.deepEqual((await launcher.answerOf(5)).body, { args: {} });
  });

  test('comes as it was sent', async (t) => {
    const value = {
      text: 'ä€😀\u2028\0"\\', escaped: '\ud83d', n: [0, -1.5, 1e21, null, true], deep: [[[{}]]], '': '',
    };
    const { body } = await answerOf(t, 'def main(args): return [args, args["escaped"] == "\\ud83d"]', value);
    assert.deepEqual(body, [{ ...value, escaped: '?' }, true]);
  });

  test('may have blanks around it', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.send(RUN, 5, ' \n{ "value" : { "a" : 1 } }\r\n');
    assert.deepEqual((await launcher.answerOf(5)).body, { a: 1 });
  });
});

describe('the environment of a call', () => {
  const SHOW = `import os
def main(args): return {name: os.environ[name] for name in os.environ if name.startswith("__OW_")}`;

  test('loses what the next call does not have', async (t) => {
    const launcher = await startAction(t, SHOW);
    await launcher.run({}, { namespace: 'guest', api_key: 'u:k' });
    assert.deepEqual((await launcher.run({}, { namespace: 'guest' })).body, { __OW_NAMESPACE: 'guest' });
  });

  test('may be changed by the action', async (t) => {
    const code = `import os
def main(args):
    before = os.environ.get("__OW_NAMESPACE")
    if args.get("delete"): del os.environ["__OW_NAMESPACE"]
    else: os.environ["__OW_NAMESPACE"] = "mine"
    return {"before": before, "after": os.getenv("__OW_NAMESPACE")}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run({}, { namespace: 'a' })).body, { before: 'a', after: 'mine' });
    assert.deepEqual((await launcher.run({ delete: 1 }, { namespace: 'b' })).body, { before: 'b', after: null });
    assert.deepEqual((await launcher.run({}, { namespace: 'c' })).body, { before: 'c', after: 'mine' });
  });

  const inherits = (name, run) => test(`is inherited by a program that is started by ${name}`, async (t) => {
    const code = `import os, subprocess, sys
SHOW = "echo $__OW_ACTIVATION_ID $__OW_API_KEY $GREETING"
def main(args):
${run.trim().replace(/^/gm, '    ')}
    return {}`;
    const launcher = await startAction(t, code, { env: { GREETING: 'hi' } });
    assert.equal((await launcher.run({}, { activation_id: 'a1', api_key: 'u:k' })).stdout, 'a1 u:k hi\n');
    assert.equal((await launcher.run({}, { activation_id: 'a2' })).stdout, 'a2 hi\n');
  });
  inherits('subprocess', 'subprocess.run(SHOW, shell=True, check=True)');
  inherits('os.system', 'os.system(SHOW)');
  inherits('os.popen', 'print(os.popen(SHOW).read(), end="")');
  inherits('exec', `
child = os.fork()
if child == 0: os.execl("/bin/sh", "sh", "-c", SHOW)
os.waitpid(child, 0)`);
  inherits('spawn', 'os.spawnl(os.P_WAIT, "/bin/sh", "sh", "-c", SHOW)');
  inherits('posix_spawn', 'os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", SHOW], os.environ), 0)');
  inherits('asyncio', `
import asyncio
async def work(): await (await asyncio.create_subprocess_shell(SHOW)).wait()
asyncio.run(work())`);

  test('costs no memory that is never given back', async (t) => {
    const code = `def main(args):
    with open("/proc/self/statm") as file: return {"pages": int(file.read().split()[1])}`;
    const launcher = await startAction(t, code);
    const calls = async (n) => {
      let answer;
      for (let i = 0; i < n; i += 1) answer = await launcher.run({}, { activation_id: `${i}`.padStart(1000, '0') });
      return answer.body.pages;
    };
    const before = await calls(500);
    // By setenv it would be some 550.
    assert.ok(await calls(2000) - before < 250);
  });
});
