'use strict';
const assert = require('node:assert/strict');
const { describe, start, startAction, test } = require('./support.js');

describe('what a call writes, when calls do not overlap,', () => {
  const writes = (name, code, stdout, stderr = '') => test(name, async (t) => {
    const launcher = await startAction(t, code);
    for (let i = 0; i < 2; i += 1) {
      const answer = await launcher.run();
      assert.deepEqual([answer.stdout, answer.stderr, answer.logs.frames], [stdout, stderr, 0]);
    }
  });

  writes('is in the pipes before its result', `import sys
def main(args):
    print("out")
    print("err", file=sys.stderr)`, 'out\n', 'err\n');
  writes('need not end its line', `import sys
def main(args):
    print("out", end="")
    sys.stderr.write("err")`, 'out', 'err');
  writes('may be bytes', 'import sys\ndef main(args): sys.stdout.buffer.write(b"bytes")', 'bytes');
  writes('may go around Python', `import os
def main(args):
    print("a")
    os.write(1, b"b")
    print("c")`, 'a\nbc\n');
  writes('may be text outside ASCII', 'def main(args): print("ä ☃ 😀")', 'ä ☃ 😀\n');
  writes('may have half a character', 'def main(args): print("a\\ud800")', 'a\\ud800\n');
  writes('by logging is there', `import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
def main(args): logging.info("logged")`, '', 'INFO logged\n');
  writes('by a child process is there', `import subprocess
def main(args):
    print("before")
    subprocess.run(["echo", "from child"])
    print("after")`, 'before\nfrom child\nafter\n');
  writes('by a thread is there', `import threading
def main(args):
    thread = threading.Thread(target=print, args=("thread",))
    thread.start()
    thread.join()`, 'thread\n');
  writes('by an async function is there', `import asyncio
async def main(args):
    print("before", end=" ")
    await asyncio.sleep(0)
    print("after")`, 'before after\n');
  writes('to a stream that it made instead is there', `import codecs, io, sys
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
sys.stderr = codecs.getwriter("latin-1")(sys.stderr.buffer)
def main(args):
    print("out")
    print("err", file=sys.stderr)`, 'out\n', 'err\n');
  writes('to a stream that it made of the one that was there is there', `import io, sys
sys.stdout = io.TextIOWrapper(sys.stdout.detach(), write_through=False)
def main(args): print("out")`, 'out\n');
  writes('to what is no stream is its own affair', `import sys
class Sink:
    def write(self, text): pass
    def flush(self): raise RuntimeError("flushed")
sys.stdout = Sink()
def main(args):
    print("out")
    print("err", file=sys.stderr)`, '', 'err\n');

  test('is in order, line by line', async (t) => {
    const launcher = await startAction(t, 'def main(args):\n  for i in range(20000): print(i)');
    const lines = (await launcher.run()).stdout.trimEnd().split('\n');
    assert.deepEqual(lines, Array.from({ length: 20000 }, (_, i) => String(i)));
  });

  test('is there, whole lines at least, when the process is killed', async (t) => {
    const code = 'import os, signal\ndef main(args):\n  print("last words")\n  os.kill(os.getpid(), signal.SIGKILL)';
    const launcher = await startAction(t, code);
    launcher.startRun();
    const exit = await launcher.exit();
    assert.deepEqual([exit.signal, exit.stdout], ['SIGKILL', 'last words\n']);
  });

  test('belongs to that call only', async (t) => {
    const launcher = await startAction(t, 'def main(args): print("call", args["n"])');
    await launcher.run({ n: 1 });
    assert.equal((await launcher.run({ n: 2 })).stdout, 'call 2\n');
  });
});

describe('the stack of an exception', () => {
  const shown = (name, code) => test(name, async (t) => {
    const launcher = await startAction(t, `import os, sys\n${code}\ndef main(args): raise ValueError("broken")`);
    for (let i = 0; i < 2; i += 1) {
      const answer = await launcher.run();
      assert.deepEqual(answer.body, { error: 'broken' });
      assert.match(answer.stderr, /^Traceback[^]*\nValueError: broken\n$/);
      assert.equal(answer.stdout, '');
    }
  });

  shown('is there when stderr is closed', 'sys.stderr.close()');
  shown('is there when stderr is detached', 'sys.stderr.detach()');
  shown('is there when stderr is gone', 'del sys.stderr');
  shown('is there when stderr is replaced', 'sys.stderr = sys.stdout');
  shown('is there when stdout is closed', 'sys.stdout.close()');
  shown('is there when the way to show it was changed',
    'sys.excepthook = sys.__excepthook__ = sys.modules["traceback"] = None');

  test('comes after what was written before it', async (t) => {
    const code = 'import sys\ndef main(args):\n  sys.stderr.write("before ")\n  raise ValueError("broken")';
    const launcher = await startAction(t, code);
    assert.match((await launcher.run()).stderr, /^before Traceback/);
  });

  test('is missed by nobody when the descriptor is closed', async (t) => {
    const code = 'import os\nos.close(1)\nos.close(2)\ndef main(args): raise ValueError("broken")';
    const launcher = await startAction(t, code);
    assert.deepEqual((await launcher.run()).body, { error: 'broken' });
    assert.deepEqual((await launcher.run()).body, { error: 'broken' });
  });
});
