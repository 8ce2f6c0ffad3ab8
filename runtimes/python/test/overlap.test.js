'use strict';
const assert = require('node:assert/strict');
const { LOG, RUN, describe, frame, start, startAction, test } = require('./support.js');

const options = { concurrency: 10 };

// Both ways in which calls overlap: the code with a plain function main, and with an async one. `wait` lets others run.
const both = (name, code, body) => {
  test(`of a plain function ${name}`, (t) => body(t, `import time, sys
wait = lambda: time.sleep(0.001)
${code.replace(/async def main/g, 'def main').replace(/await /g, '')}`));
  test(`of an async function ${name}`, (t) => body(t, `import asyncio, sys
wait = lambda: asyncio.sleep(0.001)
${code}`));
};

const NUMBERS = [0, 1, 2, 3, 4, 5];

describe('what overlapping calls', () => {
  both('write comes in frames of their own', `
async def main(args):
    for i in range(5):
        print(args["n"], i)
        print("e", args["n"], i, file=sys.stderr)
        await wait()`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      const { logs, stdout, stderr } = await launcher.answerOf(stream);
      assert.equal(logs.stdout, [0, 1, 2, 3, 4].map((i) => `${n} ${i}\n`).join(''));
      assert.equal(logs.stderr, [0, 1, 2, 3, 4].map((i) => `e ${n} ${i}\n`).join(''));
      assert.deepEqual([stdout, stderr, logs.frames], ['', '', 10]);
    }
  });

  both('write without an end of line comes when they end', `
async def main(args):
    print("no", end=" ")
    await wait()
    sys.stdout.write("end")
    sys.stderr.write("err")`, async (t, code) => {
    const { logs } = await (await startAction(t, code, options)).run();
    assert.deepEqual(logs, { stdout: 'no end', stderr: 'err', frames: 2 });
  });

  both('raise is in their logs', 'async def main(args): raise ValueError("broken")', async (t, code) => {
    const { failed, logs, body, stderr } = await (await startAction(t, code, options)).run();
    assert.deepEqual([failed, body, stderr], [false, { error: 'broken' }, '']);
    assert.match(logs.stderr, /^Traceback .*\n {2}File ".*source", line 3, in main\n[^]*\nValueError: broken\n$/);
  });

  both('write may be bytes', `
async def main(args):
    sys.stdout.buffer.write("bytes ".encode())
    sys.stdout.buffer.write(memoryview(bytearray("ä".encode()[:1])))
    sys.stdout.buffer.write("ä\\n".encode()[1:])
    sys.stdout.buffer.write(b"\\xff\\n")
    sys.stdout.flush()`, async (t, code) => {
    assert.equal((await (await startAction(t, code, options)).run()).logs.stdout, 'bytes ä\n\ufffd\n');
  });

  both('write is cut into frames between characters', `
async def main(args): print("x" + "😀" * 50000)`, async (t, code) => {
    const { logs } = await (await startAction(t, code, options)).run();
    assert.equal(logs.stdout, `x${'😀'.repeat(50_000)}\n`);
    assert.ok(logs.frames > 1);
  });

  both('write comes before they end when it is long', `
async def main(args):
    for _ in range(100): print("x" * 1000, end="")`, async (t, code) => {
    const { logs } = await (await startAction(t, code, options)).run();
    assert.equal(logs.stdout, 'x'.repeat(100_000));
    assert.ok(logs.frames > 1);
  });

  both('log comes in frames of their own', `
import logging
logging.basicConfig(format="%(message)s")
async def main(args):
    logging.warning("a %s", args["n"])
    await wait()
    logging.warning("b %s", args["n"])`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      assert.equal((await launcher.answerOf(stream)).logs.stderr, `a ${n}\nb ${n}\n`);
    }
  });

  both('write after their end goes to the pipe, unattributed', `
import threading
go = threading.Event()
def late():
    go.wait()
    print("late")
threads = []
async def main(args):
    if "end" in args:
        go.set()
        threads[0].join()
    else:
        threads.append(threading.Thread(target=late))
        threads[0].start()`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    assert.equal((await launcher.run()).logs.stdout, '');
    const answer = await launcher.run({ end: true });
    assert.deepEqual([answer.stdout, answer.logs.stdout], ['late\n', '']);
    assert.equal(launcher.frames.filter((f) => f.kind === LOG).length, 0);
  });

  both('write by threads of theirs is theirs', `
import threading
async def main(args):
    class Mine(threading.Thread):
        def run(self): print("mine", args["n"])
    def work(text, n): print(text, n)
    plain = threading.Thread(target=work, args=("thread", args["n"]))
    for thread in (plain, Mine(), threading.Timer(0, work, ("timer", args["n"]))):
        thread.start()
        await wait()
        thread.join()`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      assert.equal((await launcher.answerOf(stream)).logs.stdout, `thread ${n}\nmine ${n}\ntimer ${n}\n`);
    }
  });

  both('raise in threads of theirs is theirs', `
import threading
def fail(n): raise ValueError(n)
async def main(args):
    thread = threading.Thread(target=fail, args=(args["n"],))
    thread.start()
    await wait()
    thread.join()`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      const { logs } = await launcher.answerOf(stream);
      assert.match(logs.stderr, new RegExp(`^Exception in thread [^]*\\nValueError: ${n}\\n$`));
    }
  });

  both('write by a pool of threads is of the one that asked for it', `
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
def work(n): sys.stdout.write(f"pool {n}\\n")
async def main(args):
    future = pool.submit(work, args["n"])
    await wait()
    future.result()
    list(pool.map(work, ["map"] * args["n"]))`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      assert.equal((await launcher.answerOf(stream)).logs.stdout, `pool ${n}\n${'pool map\n'.repeat(n)}`);
    }
  });

  both('write by child processes goes to the pipe', `
import subprocess
async def main(args): subprocess.run(["echo", "from child"])`, async (t, code) => {
    const answer = await (await startAction(t, code, options)).run();
    assert.deepEqual([answer.stdout, answer.logs.frames], ['from child\n', 0]);
  });

  both('write by forked processes goes to the pipe', `
import os
async def main(args):
    child = os.fork()
    if child == 0:
        print("from child")
        os._exit(0)
    os.waitpid(child, 0)`, async (t, code) => {
    const answer = await (await startAction(t, code, options)).run();
    assert.deepEqual([answer.stdout, answer.logs.frames], ['from child\n', 0]);
  });

  both('write to a stream that they made instead is theirs', `
import io
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
async def main(args): print("out")`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    assert.equal((await launcher.run()).logs.stdout, 'out\n');
    assert.equal((await launcher.run()).logs.stdout, 'out\n');
  });

  test('write has nothing of what was written while the action was loaded', async (t) => {
    const launcher = await start(t);
    const init = await launcher.init('print("loading")\ndef main(args): print("in")', options);
    assert.deepEqual([init.stdout, launcher.frames.length], ['loading\n', 0]);
    const answer = await launcher.run();
    assert.deepEqual([answer.stdout, answer.logs.stdout], ['', 'in\n']);
  });

  test('write by asyncio.to_thread and executors of the loop is theirs', async (t) => {
    const code = `import asyncio
async def main(args):
    await asyncio.to_thread(print, "to_thread", args["n"])
    await asyncio.get_running_loop().run_in_executor(None, print, "executor", args["n"])`;
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      assert.equal((await launcher.answerOf(stream)).logs.stdout, `to_thread ${n}\nexecutor ${n}\n`);
    }
  });

  test('write while a frame is sent does not get into that frame', async (t) => {
    const code = `import signal, sys
signal.signal(signal.SIGALRM, lambda *_: sys.stderr.write("tick\\n"))
async def main(args):
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    sys.stdout.write("😀" * 200000)
    signal.setitimer(signal.ITIMER_REAL, 0)`;
    const launcher = await startAction(t, code, options);
    launcher.socket.pause();
    const stream = launcher.startRun();
    // The socket does not take all of it, so the handler runs in the middle of a frame.
    await launcher.stderrOf(50);
    launcher.socket.resume();
    assert.equal((await launcher.answerOf(stream)).logs.stdout, '😀'.repeat(200_000));
  });

  test('write when garbage is collected does not get into another line', async (t) => {
    const code = `import gc, sys
class Loud:
    def __init__(self): self.itself = self
    def __del__(self): sys.stdout.write("collected\\n")
gc.set_threshold(1)
def main(args):
    for i in range(200):
        Loud()
        sys.stdout.write(f"line {i}\\n")`;
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const stream of streams) {
      const lines = (await launcher.answerOf(stream)).logs.stdout.split('\n').filter((line) => line.startsWith('line'));
      assert.deepEqual(lines, Array.from({ length: 200 }, (_, i) => `line ${i}`));
    }
  });
});

describe('overlapping calls', () => {
  both('end in the order in which they are done', `
ends = {}
async def main(args):
    if "end" in args:
        ends[args["end"]] = True
    else:
        while args["n"] not in ends: await wait()
    return args`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const [first, second] = ['a', 'b'].map((n) => launcher.startRun({ n }));
    await launcher.run({ end: 'b' });
    assert.deepEqual((await launcher.answerOf(second)).body, { n: 'b' });
    await launcher.run({ end: 'a' });
    assert.deepEqual((await launcher.answerOf(first)).body, { n: 'a' });
  });

  both('do not fail for one that fails', `
async def main(args):
    if "bad" in args: raise ValueError("bad")
    for _ in range(20): await wait()
    return args`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const good = launcher.startRun({ good: 1 });
    assert.deepEqual((await launcher.run({ bad: 1 })).body, { error: 'bad' });
    assert.deepEqual((await launcher.answerOf(good)).body, { good: 1 });
  });

  both('run all at once as far as the concurrency goes', `
running, most = 0, 0
async def main(args):
    global running, most
    running += 1
    most = max(most, running)
    while most < 10: await wait()
    running -= 1
    return {}`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = Array.from({ length: 10 }, () => launcher.startRun());
    for (const stream of streams) assert.deepEqual((await launcher.answerOf(stream)).body, {});
  });

  both('may come many at once', 'async def main(args): return args', async (t, code) => {
    const launcher = await startAction(t, code, options);
    const streams = Array.from({ length: 2000 }, (_, i) => i + 1);
    launcher.socket.write(Buffer.concat(streams.map((i) => frame(RUN, i, JSON.stringify({ value: { i } })))));
    for (const i of streams) assert.deepEqual((await launcher.answerOf(i)).body, { i });
  });

  both('may come with init', 'async def main(args):\n  await wait()\n  return args', async (t, code) => {
    const launcher = await start(t);
    launcher.startInit(code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    assert.equal((await launcher.initDone()).failed, false);
    for (const [n, stream] of streams.entries()) assert.deepEqual((await launcher.answerOf(stream)).body, { n });
  });

  both('may be large', 'async def main(args): return args', async (t, code) => {
    const launcher = await startAction(t, code, options);
    const text = 'x'.repeat(3_000_000);
    const streams = NUMBERS.map((n) => launcher.startRun({ n, text }));
    for (const [n, stream] of streams.entries()) assert.deepEqual((await launcher.answerOf(stream)).body, { n, text });
  });

  both('see what the action put into the context when it was loaded', `
from contextvars import ContextVar
variable = ContextVar("variable")
variable.set("loaded")
async def main(args):
    before = variable.get()
    variable.set("changed")
    return {"before": before}`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    await launcher.run();
    assert.deepEqual((await launcher.run()).body, { before: 'loaded' });
  });

  both('end the process by sys.exit, and so one another', `
async def main(args):
    if "exit" in args:
        print("bye")
        sys.exit(args["exit"])
    while True: await wait()`, async (t, code) => {
    for (const [value, expected, stderr] of [[3, 3, ''], [null, 0, ''], ['words', 1, 'words\n']]) {
      const launcher = await startAction(t, code, options);
      launcher.startRun();
      launcher.startRun({ exit: value });
      const closed = new Promise((resolve) => launcher.socket.once('end', resolve));
      const exit = await launcher.exit();
      await closed;
      const logs = launcher.frames.filter((f) => f.kind === LOG).map((f) => f.payload.toString());
      assert.deepEqual([exit.code, logs[0]], [expected, '\x01bye\n']);
      // In a thread it is still the call that speaks, and what came by the pipe may have been read with a frame.
      const spoken = logs.filter((text) => text[0] === '\x02').map((text) => text.slice(1));
      const piped = launcher.frames.map((f) => f.stderr);
      assert.equal([...spoken, ...piped, exit.stderr].join(''), stderr);
    }
  });

  both('survive a forked child that returns', `
import os
async def main(args):
    child = os.fork()
    if child != 0: os.waitpid(child, 0)
    return {"child": child == 0}`, async (t, code) => {
    const launcher = await startAction(t, code, options);
    assert.deepEqual((await launcher.run()).body, { child: false });
    assert.deepEqual((await launcher.run()).body, { child: false });
  });

  test('may turn out to be asynchronous', async (t) => {
    const code = `import asyncio
async def work(args):
    print("in", args["n"])
    await asyncio.sleep(0.001)
    return args
main = lambda args: work(args)`;
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) {
      const answer = await launcher.answerOf(stream);
      assert.deepEqual([answer.body, answer.logs.stdout], [{ n }, `in ${n}\n`]);
    }
  });

  test('of a plain function use no more threads than they need', async (t) => {
    const code = 'import threading\ndef main(args): return {"threads": threading.active_count()}';
    const launcher = await startAction(t, code, options);
    for (let i = 0; i < 20; i += 1) await launcher.run();
    assert.deepEqual((await launcher.run()).body, { threads: 2 });
  });

  test('make do with the threads that there are', async (t) => {
    const code = `import threading, time
started = []
def only_one(*arguments, **named):
    if started: raise RuntimeError("can't start new thread")
    started.append(1)
    return original(*arguments, **named)
name = "_start_new_thread" if hasattr(threading, "_start_new_thread") else "_start_joinable_thread"
original = getattr(threading, name)
setattr(threading, name, only_one)
def main(args):
    time.sleep(0.001)
    return args`;
    const launcher = await startAction(t, code, options);
    const streams = NUMBERS.map((n) => launcher.startRun({ n }));
    for (const [n, stream] of streams.entries()) assert.deepEqual((await launcher.answerOf(stream)).body, { n });
  });

  test('are refused when there can be no thread', async (t) => {
    const code = `import threading
def refused(*arguments, **named): raise RuntimeError("can't start new thread")
threading._start_new_thread = threading._start_joinable_thread = refused
def main(args): return args`;
    const launcher = await startAction(t, code, options);
    for (let i = 0; i < 2; i += 1) {
      const { failed, body } = await launcher.run();
      assert.deepEqual([failed, body], [true, { error: 'An error has occurred: no thread can be started' }]);
    }
  });

  test('keep what is left of a task until it is done', async (t) => {
    const code = `import asyncio, gc
async def main(args):
    if "end" in args:
        gc.collect()
        for future in futures: future.set_result(1)
        return {}
    futures.append(asyncio.get_running_loop().create_future())
    await futures[-1]
    return args
futures = []`;
    const launcher = await startAction(t, code, options);
    const stream = launcher.startRun({ a: 1 });
    await launcher.run({ end: true });
    assert.deepEqual((await launcher.answerOf(stream)).body, { a: 1 });
  });

  test('of an async function are answered when they were cancelled before they began', async (t) => {
    const code = `import asyncio
async def main(args):
    if "cancel" not in args: return args
    while len(asyncio.all_tasks()) == 1: await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}: task.cancel()
    return args`;
    const launcher = await startAction(t, code, options);
    const first = launcher.startRun({ cancel: true });
    const second = launcher.startRun({ a: 1 });
    assert.deepEqual((await launcher.answerOf(second)).body, { error: '' });
    assert.deepEqual((await launcher.answerOf(first)).body, { cancel: true });
  });
});
