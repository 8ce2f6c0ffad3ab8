'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { RESULT, RUN, describe, frame, start, startAction, test } = require('./support.js');

const MEGABYTE = 1024 * 1024;
const ECHO = 'def main(args): return args';

describe('frames', () => {
  for (const concurrency of [1, 2]) {
    test(`may come byte by byte, at concurrency ${concurrency}`, async (t) => {
      const launcher = await startAction(t, 'async def main(args): return args', { concurrency });
      for (const byte of frame(RUN, 9, '{"value":{"slow":1}}')) {
        launcher.socket.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      assert.deepEqual((await launcher.answerOf(9)).body, { slow: 1 });
    });
  }

  for (const kind of ['def', 'async def']) {
    test(`of results that are not read hold up further calls of ${kind}, and none is lost`, async (t) => {
      const code = `import os\n${kind} main(args):
        os.write(2, b".")
        return {"n": args["n"], "text": "x" * (1 << 20)}`;
      const launcher = await startAction(t, code, { concurrency: 4 });
      launcher.socket.pause();
      const streams = Array.from({ length: 40 }, (_, n) => launcher.startRun({ n, pad: 'y'.repeat(20_000) }));
      const dots = await launcher.stderrOf(1);
      assert.ok(dots < 20, `${dots} calls ran`);
      launcher.socket.resume();
      for (const [n, stream] of streams.entries()) {
        const { body } = await launcher.answerOf(stream);
        assert.deepEqual([body.n, body.text.length], [n, MEGABYTE]);
      }
    });
  }

  test('come through signals', async (t) => {
    const code = `import signal
signals = 0
def count(*_):
    global signals
    signals += 1
signal.signal(signal.SIGALRM, count)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
def main(args): return {"text": args["text"], "signals": signals}`;
    const launcher = await startAction(t, code);
    const text = 'x'.repeat(2 * MEGABYTE);
    for (let i = 0; i < 3; i += 1) {
      const { body } = await launcher.run({ text });
      assert.equal(body.text, text);
      assert.ok(body.signals > 0);
    }
  });
});

describe('the launcher exits', () => {
  const exitAfter = async (t, bytes) => {
    const launcher = await start(t);
    launcher.socket.write(bytes);
    return launcher.exit();
  };

  test('when the proxy closes the socket in the middle of a frame', async (t) => {
    const launcher = await startAction(t, ECHO);
    launcher.socket.end(frame(RUN, 1, '{"value":{}}').subarray(0, 12));
    assert.equal((await launcher.exit()).code, 0);
  });

  for (const [kind, concurrency] of [['def', 2], ['async def', 2]]) {
    test(`when the proxy closes the socket in the middle of a call of ${kind}`, async (t) => {
      const sleep = kind === 'def' ? 'time.sleep(3600)' : 'await asyncio.sleep(3600)';
      const code = `import asyncio, atexit, threading, time
atexit.register(time.sleep, 3600)
threading.Thread(target=time.sleep, args=(3600,)).start()
${kind} main(args): ${sleep}`;
      const launcher = await startAction(t, code, { concurrency });
      launcher.startRun();
      launcher.socket.end();
      assert.equal((await launcher.exit()).code, 0);
    });
  }

  test('when the proxy is gone before the answer', async (t) => {
    const code = `import os, time
def main(args):
    os.write(2, b".")
    while os.path.exists(args["gate"]): time.sleep(0.001)
    return {"text": "x" * 1000000}`;
    const launcher = await startAction(t, code);
    const gate = launcher.writeFiles({ gate: '' });
    launcher.startRun({ gate: `${gate}/gate` });
    await launcher.stderrOf(1);
    launcher.socket.destroy();
    fs.rmSync(`${gate}/gate`);
    assert.equal((await launcher.exit()).code, 71);
  });

  for (const text of ['{"value":', '', '{"value":{}}{}', '{"value":\xff}', "{'value':1}", '{"a":"\n"}']) {
    test(`on a frame that is not JSON: ${JSON.stringify(text)}`, async (t) => {
      assert.deepEqual(await exitAfter(t, frame(RUN, 1, Buffer.from(text, 'latin1'))),
        { code: 70, signal: null, stdout: '', stderr: 'launcher: a frame is not JSON\n' });
    });
  }
});

describe('an action that ends the process', () => {
  const ends = (name, code, expected, words = /^$/) => test(name, async (t) => {
    const launcher = await startAction(t, `import atexit, os, signal, sys, threading, time\n${code}`);
    launcher.startRun();
    const { stderr, ...exit } = await launcher.exit();
    assert.deepEqual(exit, { code: null, signal: null, stdout: '', ...expected });
    assert.match(stderr, words);
  });

  ends('by sys.exit gives its code', 'def main(args):\n  print("bye", end="")\n  sys.exit(3)',
    { code: 3, stdout: 'bye' });
  ends('by sys.exit in an async function gives its code', 'async def main(args): sys.exit(4)', { code: 4 });
  ends('by sys.exit with a text says it', 'def main(args): sys.exit("words")', { code: 1 }, /^words\n$/);
  ends('by sys.exit runs what it registered', 'atexit.register(print, "at exit")\ndef main(args): sys.exit()',
    { code: 0, stdout: 'at exit\n' });
  ends('by os._exit gives its code', 'def main(args): os._exit(5)', { code: 5 });
  ends('by a signal dies of it', 'def main(args): os.kill(os.getpid(), signal.SIGTERM)', { signal: 'SIGTERM' });
  ends('by an interrupt says so', 'def main(args): os.kill(os.getpid(), signal.SIGINT); time.sleep(1)',
    { signal: 'SIGINT' }, /KeyboardInterrupt\n$/);
  ends('by closing the socket is not answered for', 'def main(args): os.close(3)', { code: 71 });

  test('by what a signal handler raises between calls says so', async (t) => {
    const code = `import signal
def fail(*_): raise ValueError("stray")
signal.signal(signal.SIGALRM, fail)
def main(args): signal.setitimer(signal.ITIMER_REAL, 0.02)`;
    const launcher = await startAction(t, code);
    await launcher.run();
    const exit = await launcher.exit();
    assert.equal(exit.code, 1);
    assert.match(exit.stderr, /ValueError: stray\n$/);
  });

  test('is none that a signal handler raises in', async (t) => {
    const code = `import signal, time
def late(*_): raise TimeoutError("late")
signal.signal(signal.SIGALRM, late)
def main(args):
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(10)`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { error: 'late' });
  });
});

describe('an action cannot break the framing', () => {
  const survives = (name, tamper) => test(name, async (t) => {
    const code = `import builtins, os, sys
variables = os.environ._data
${tamper}
def main(args):
    if "bad" in args: return {"bad": {1}}
    namespace = variables.get(b"__OW_NAMESPACE")
    return {"got": args["a"], "env": namespace and namespace.decode()}`;
    const launcher = await startAction(t, code);
    const first = await launcher.run({ a: 1 }, { namespace: 'guest' });
    assert.deepEqual(first.body, { got: 1, env: 'guest' });
    const second = await launcher.run({ a: 'ä'.repeat(100_000) }, { namespace: 'other' });
    assert.equal(second.body.got.length, 100_000);
    assert.equal(second.body.env, 'other');
    assert.deepEqual((await launcher.run({})).body, { error: "'a'" });
    assert.equal((await launcher.run({ bad: 1 })).failed, true);
    assert.deepEqual((await launcher.run({ a: 2 })).body, { got: 2, env: null });
  });

  survives('by changing json', `import json, json.decoder, json.encoder, json.scanner
def broken(*_, **__): raise RuntimeError("broken")
for module in (json, json.decoder, json.encoder, json.scanner):
    for name in dir(module):
        if callable(getattr(module, name)) and not name.startswith("__"): setattr(module, name, broken)`);
  survives('by deleting builtins', `for name in dir(builtins):
    if not name.startswith("__") and name not in ("dir", "delattr"): delattr(builtins, name)`);
  survives('by changing builtins', `def broken(*_, **__): raise RuntimeError("broken")
for name in ("len", "isinstance", "type", "str", "dict", "getattr", "hasattr", "int", "memoryview"):
    setattr(builtins, name, broken)`);
  survives('by changing os', `import posix
def broken(*_, **__): raise RuntimeError("broken")
for module in (os, posix):
    for name in ("read", "write", "readv", "_exit", "getpid", "close"): setattr(module, name, broken)`);
  survives('by replacing the environment', 'os.environ = {}');
  survives('by forgetting modules', 'for name in list(sys.modules): del sys.modules[name]');
  survives('by closing its output', 'sys.stdout.close()\nsys.stderr.close()');
  survives('by replacing its output', 'sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = 5');
  survives('by closing the descriptors of its output', 'os.close(1)\nos.close(2)');
  survives('by leaving its directory', 'os.chdir("/")');
  survives('by tracing', 'sys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)');
  survives('by collecting garbage', 'import gc\ngc.collect()\ngc.disable()');
  survives('by watching what is imported', 'sys.meta_path.clear()\nsys.path_hooks.clear()\nsys.path.clear()');
  survives('by other defaults of sockets', 'import socket\nsocket.setdefaulttimeout(0.001)');

  test('through a child process, which does not inherit the socket', async (t) => {
    const code = `import subprocess
def main(args):
    list = ["sh", "-c", "ls /proc/$$/fd"]
    listed = subprocess.run(list, capture_output=True, text=True, close_fds=False).stdout.split()
    return {"socket": "3" in listed, "stdout": "1" in listed}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { socket: false, stdout: true });
  });

  test('through a forked child, which has no socket', async (t) => {
    const code = `import os
def main(args):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(os.path.exists("/proc/self/fd/3")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return {"socket": os.read(reader, 10).decode()}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { socket: 'False' });
  });

  for (const [name, ending] of [
    ['returns', 'return {"child": True}'], ['raises', 'raise ValueError("child")'], ['exits', 'sys.exit(0)'],
  ]) {
    test(`through a forked child that ${name}`, async (t) => {
      const code = `import os, sys
def main(args):
    child = os.fork()
    if child == 0:
        print("child")
        ${ending}
    os.waitpid(child, 0)
    print("parent")
    return {"child": False}`;
      const launcher = await startAction(t, code);
      for (let i = 0; i < 2; i += 1) {
        const answer = await launcher.run();
        assert.deepEqual([answer.body, answer.stdout], [{ child: false }, 'child\nparent\n']);
      }
      assert.equal(launcher.frames.filter((f) => f.kind === RESULT).length, 0);
    });
  }

  test('through a forked child that returns with a file in the place of the socket', async (t) => {
    const code = `import os
def main(args):
    child = os.fork()
    if child == 0: os.open(args["file"], os.O_WRONLY)
    else: os.waitpid(child, 0)
    return {"size": os.path.getsize(args["file"])}`;
    const launcher = await startAction(t, code);
    const file = `${launcher.directory}/file`;
    fs.writeFileSync(file, '');
    assert.deepEqual((await launcher.run({ file })).body, { size: 0 });
  });

  test('through a forked child that returns while the action is loaded', async (t) => {
    const code = `import os
child = os.fork()
if child != 0: os.waitpid(child, 0)
def main(args): return {"child": child == 0}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { child: false });
    assert.equal(launcher.frames.length, 0);
  });

  test('through child processes of multiprocessing', async (t) => {
    const code = `import multiprocessing, os
def square(n): return n * n
def main(args):
    with multiprocessing.get_context("fork").Pool(2) as pool: return {"squares": pool.map(square, [1, 2, 3])}`;
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { squares: [1, 4, 9] });
    assert.deepEqual((await launcher.run()).body, { squares: [1, 4, 9] });
  });

  test('through a child that outlives it', async (t) => {
    const code = `import os, sys, time
def main(args):
    child = os.fork()
    if child == 0:
        os.close(0); os.close(1); os.close(2)
        time.sleep(30)
    print(child)
    sys.stdout.flush()
    os._exit(6)`;
    const launcher = await startAction(t, code);
    const closed = new Promise((resolve) => launcher.socket.once('end', resolve));
    launcher.startRun();
    const exit = await launcher.exit();
    await closed;
    process.kill(Number(exit.stdout), 'SIGKILL');
    assert.equal(exit.code, 6);
  });
});
