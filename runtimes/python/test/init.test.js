'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { FLAGS, LAUNCHER, PYTHON, describe, driver, idle, start, startAction, test } = require('./support.js');

const NOT_BUILT = 'The action failed to generate or locate a binary. See logs for details.';
const NOT_STARTED = 'Cannot start action. Check logs for details.';
const ECHO = 'def main(args): return args';

const result = async (t, code, options, value = {}) => {
  const launcher = await startAction(t, code, options);
  const answer = await launcher.run(value);
  assert.equal(answer.failed, false, answer.body.error);
  assert.equal(answer.stderr, '');
  return answer.body;
};

// The error of an init that fails, and what is in the log.
const failure = async (t, code, options) => {
  const launcher = await start(t);
  const init = await launcher.init(code, options);
  assert.equal(init.failed, true);
  assert.equal(init.stdout, '');
  return { error: init.body.error, log: init.stderr };
};

test('the launcher may be compiled', async (t) => {
  const compiled = `${(await start(t)).directory}/launcher.pyc`;
  const compile = 'import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)';
  execFileSync(PYTHON, ['-I', '-S', '-c', compile, LAUNCHER, compiled, '/triplane/launcher.py']);
  const launcher = await driver([PYTHON, ...FLAGS, compiled]).startAction(t, 'def main(args): return args["a"]');
  const answer = await launcher.run({ a: { b: 1 } });
  assert.deepEqual([answer.body, answer.stderr], [{ b: 1 }, '']);
  assert.doesNotMatch((await launcher.run({})).stderr, /triplane/);
});

describe('a script', () => {
  test('runs its function main', async (t) => {
    assert.deepEqual(await result(t, 'def main(args): return {"hello": args["name"]}', {}, { name: 'you' }),
      { hello: 'you' });
  });

  test('may name another function', async (t) => {
    assert.deepEqual(await result(t, 'def niam(args): return {"other": True}', { main: 'niam' }), { other: true });
  });

  test('may name a member of an object', async (t) => {
    const code = 'class Api:\n  @staticmethod\n  def get(args): return {"got": True}';
    assert.deepEqual(await result(t, code, { main: 'Api.get' }), { got: true });
  });

  test('may have an object that can be called as main', async (t) => {
    const code = 'class Main:\n  def __call__(self, args): return {"called": True}\nmain = Main()';
    assert.deepEqual(await result(t, code), { called: true });
  });

  test('runs main when none is named', async (t) => {
    assert.deepEqual(await result(t, ECHO, { main: '' }, { a: 1 }), { a: 1 });
  });

  test('is the module main__, which does not start as a program', async (t) => {
    const code = `if __name__ == "__main__": raise SystemExit("started")
def main(args):
    import main__
    return {"name": __name__, "itself": main__.main is main, "spec": __spec__.name}`;
    assert.deepEqual(await result(t, code), { name: 'main__', itself: true, spec: 'main__' });
  });

  test('finds its classes and its source where Python looks for them', async (t) => {
    const code = `import inspect, pickle
from dataclasses import dataclass
@dataclass
class Point:
    x: int
def main(args):
    return {"x": pickle.loads(pickle.dumps(Point(3))).x, "source": inspect.getsource(Point).splitlines()}`;
    assert.deepEqual(await result(t, code), { x: 3, source: ['@dataclass', 'class Point:', '    x: int'] });
  });

  test('imports modules of Python', async (t) => {
    const code = 'from urllib.parse import quote\nimport ssl, sqlite3\ndef main(args): return {"quoted": quote("a b")}';
    assert.deepEqual(await result(t, code), { quoted: 'a%20b' });
  });

  test('imports the packages of the host', async (t) => {
    const code = `import os, site, sys
def main(args):
    found = {path for path in site.getsitepackages() if os.path.isdir(path)}
    return {"all": found <= {*sys.path}, "exit": callable(exit)}`;
    assert.deepEqual(await result(t, code), { all: true, exit: true });
  });

  test('imports other files beside itself', async (t) => {
    const launcher = await start(t);
    const root = launcher.writeFiles({
      source: 'from lib.two import two\ndef main(args): return {"two": two}',
      'lib/two.py': 'two = 2',
    });
    assert.equal((await launcher.initPath({ path: `${root}/source` })).failed, false);
    assert.deepEqual((await launcher.run()).body, { two: 2 });
  });

  test('imports nothing from beside the launcher', async (t) => {
    const code = `import importlib.util, sys
def main(args):
    return {"found": importlib.util.find_spec("launcher") is not None, "main": dir(sys.modules["__main__"])}`;
    const { found, main } = await result(t, code);
    assert.deepEqual([found, main.filter((name) => !name.startsWith('__'))], [false, []]);
  });

  test('may start with a byte order mark', async (t) => {
    assert.deepEqual(await result(t, '\ufeffdef main(args): return {"bom": "ä"}'), { bom: 'ä' });
  });

  test('may start with an interpreter line', async (t) => {
    assert.deepEqual(await result(t, '#!/usr/bin/env python3\ndef main(args): return {"sh": True}'), { sh: true });
  });

  test('may have the line ends of Windows', async (t) => {
    assert.deepEqual(await result(t, 'def main(args):\r\n    return {"crlf": """\r\n"""}\r\n'), { crlf: '\n' });
  });

  test('is UTF-8 whatever the locale, as is all that it opens', async (t) => {
    const code = `def main(args):
    with open("file", "w") as file: file.write("ä€😀")
    with open("file", "rb") as file: return {"bytes": file.read().hex(), "text": "ä€😀"}`;
    assert.deepEqual(await result(t, code), { bytes: 'c3a4e282acf09f9880', text: 'ä€😀' });
  });

  test('keeps its state between calls', async (t) => {
    const launcher = await startAction(t, 'n = 0\ndef main(args):\n  global n\n  n += 1\n  return {"n": n}');
    await launcher.run();
    assert.deepEqual((await launcher.run()).body, { n: 2 });
  });

  test('sees the environment of init while it is loaded', async (t) => {
    const code = 'import os\nseen = os.environ["GREETING"]\ndef main(args): return {"seen": seen}';
    assert.deepEqual(await result(t, code, { env: { GREETING: 'hi' } }), { seen: 'hi' });
  });

  test('is loaded although no environment can hold a variable', async (t) => {
    const env = { '': 'empty', 'a=b': 'equals', NUL: 'a\0b', HALF: '\ud800', GOOD: 'ä' };
    const code = `import os
def main(args): return {name: os.environ[name] for name in ("GOOD", "NUL", "HALF") if name in os.environ}`;
    assert.deepEqual(await result(t, code, { env }), { GOOD: 'ä' });
  });

  test('is not bothered by the environment of the launcher', async (t) => {
    const code = `import sys
def main(args): return {"flags": sys.flags.isolated, "argv": len(sys.argv), "python": "python" in sys.executable}`;
    assert.deepEqual(await result(t, code), { flags: 1, argv: 1, python: true });
  });
});

describe('an archive', () => {
  test('runs main of __main__.py', async (t) => {
    const files = { '__main__.py': 'def main(args): return {"file": __file__.rpartition("/")[2], "name": __name__}' };
    assert.deepEqual(await result(t, files), { file: '__main__.py', name: 'main__' });
  });

  test('may name another function', async (t) => {
    const files = {
      '__main__.py': 'from echo import echo\ndef niam(args): return echo(args)',
      'echo.py': 'def echo(args): return {"echo": args}',
    };
    assert.deepEqual(await result(t, files, { main: 'niam' }, { a: 1 }), { echo: { a: 1 } });
  });

  test('finds its own packages', async (t) => {
    const files = {
      '__main__.py': 'from lib.part import part\nimport left\ndef main(args): return {"part": part, "left": left.left}',
      'lib/__init__.py': '', 'lib/part.py': 'from .deep import part', 'lib/deep.py': 'part = "part"',
      'left.py': 'import main__\nleft = main__.__name__',
    };
    assert.deepEqual(await result(t, files), { part: 'part', left: 'main__' });
  });

  test('works in its own directory', async (t) => {
    const files = { '__main__.py': 'def main(args): return {"text": open("data.txt").read()}', 'data.txt': 'data' };
    assert.deepEqual(await result(t, files), { text: 'data' });
  });

  for (const [when, wait] of [['at once', async () => {}], ['after the warm-up', idle]]) {
    test(`may have a module that is named like one of Python, ${when}`, async (t) => {
      const launcher = await start(t);
      await wait(launcher);
      const files = {
        '__main__.py': 'import json, re\ndef main(args): return {"json": json.mine, "re": re.sub("a", "b", "a")}',
        'json/__init__.py': 'mine = "mine"',
      };
      assert.equal((await launcher.init(files)).stderr, '');
      assert.deepEqual((await launcher.run()).body, { json: 'mine', re: 'b' });
    });
  }

  test('may have data that is named like a module of Python', async (t) => {
    const launcher = await start(t);
    await idle(launcher);
    const files = {
      '__main__.py': `import enum, json, re
def main(args): return {"file": json.__file__[-16:], "same": isinstance(re.I, enum.Enum)}`,
      'json/data.json': '{}', 'enum/data.txt': '', 're.md': '',
    };
    assert.equal((await launcher.init(files)).stderr, '');
    assert.deepEqual((await launcher.run()).body, { file: 'json/__init__.py', same: true });
  });

  test('without __main__.py is refused', async (t) => {
    assert.deepEqual(await failure(t, { 'echo.py': '' }),
      { error: NOT_BUILT, log: 'Zip file does not include mandatory files.\n' });
  });

  test('with an empty __main__.py has no main', async (t) => {
    assert.equal((await failure(t, { '__main__.py': '' })).error, NOT_STARTED);
  });
});

describe('a virtualenv in an archive', () => {
  const PACKAGES = 'virtualenv/lib/python3.1/site-packages';
  const MAIN = { '__main__.py': 'import left\ndef main(args): return {"left": left.left}' };

  test('has packages', async (t) => {
    assert.deepEqual(await result(t, { ...MAIN, [`${PACKAGES}/left.py`]: 'left = "venv"' }), { left: 'venv' });
  });

  test('comes before the archive and before Python', async (t) => {
    const files = {
      '__main__.py': 'import left, this\ndef main(args): return {"left": left.left, "this": this.this}',
      'left.py': 'left = "archive"',
      [`${PACKAGES}/left.py`]: 'left = "venv"', [`${PACKAGES}/this.py`]: 'this = "venv"',
    };
    assert.deepEqual(await result(t, files), { left: 'venv', this: 'venv' });
  });

  test('for this version of Python comes before one for another', async (t) => {
    const version = execFileSync(PYTHON, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2], end="")']);
    const files = {
      ...MAIN, [`${PACKAGES}/left.py`]: 'left = "other"',
      [`virtualenv/lib/python${version}/site-packages/left.py`]: 'left = "own"',
    };
    assert.deepEqual(await result(t, files), { left: 'own' });
  });

  test('may come from Windows', async (t) => {
    const files = { ...MAIN, 'virtualenv/Lib/site-packages/left.py': 'left = "Windows"' };
    assert.deepEqual(await result(t, files), { left: 'Windows' });
  });

  test('may name further directories', async (t) => {
    const files = { ...MAIN, [`${PACKAGES}/more.pth`]: 'more\n', [`${PACKAGES}/more/left.py`]: 'left = "more"' };
    assert.deepEqual(await result(t, files), { left: 'more' });
  });

  test('is active', async (t) => {
    const files = {
      '__main__.py': `import os, sys
def main(args):
    root = os.path.join(os.getcwd(), "virtualenv")
    return {"prefix": sys.prefix == root, "variable": os.environ["VIRTUAL_ENV"] == root,
            "path": os.environ["PATH"].split(":")[0] == root + "/bin"}`,
      [`${PACKAGES}/left.py`]: '',
    };
    assert.deepEqual(await result(t, files), { prefix: true, variable: true, path: true });
  });

  test('without packages is refused', async (t) => {
    assert.deepEqual(await failure(t, { ...MAIN, 'virtualenv/bin/python': '' }),
      { error: NOT_BUILT, log: "Invalid virtualenv. Zip file does not include 'activate_this.py'.\n" });
  });
});

describe('init fails', () => {
  test('with a syntax error, which is in the log', async (t) => {
    const { error, log } = await failure(t, '10 PRINT "Hello!"\n20 GOTO 10');
    assert.equal(error, NOT_BUILT);
    assert.match(log, /^ {2}File ".*\/source", line 1\n/);
    assert.match(log, /\nSyntaxError: /);
    assert.doesNotMatch(log, /launcher\.py|importlib/);
  });

  test('with code that is no text', async (t) => {
    const { error, log } = await failure(t, 'a = "\0"');
    assert.equal(error, NOT_BUILT);
    assert.match(log, /null bytes/);
  });

  test('with an error while it is loaded, whose stack is in the log', async (t) => {
    const { error, log } = await failure(t, 'def fail():\n  raise ValueError("not today")\nfail()');
    assert.equal(error, NOT_STARTED);
    assert.match(log, /^Traceback \(most recent call last\):\n {2}File ".*\/source", line 3, in <module>\n/);
    assert.match(log, /\nValueError: not today\n$/);
  });

  test('with a package that is not there', async (t) => {
    const { error, log } = await failure(t, `import iamnotsupported\n${ECHO}`);
    assert.equal(error, NOT_STARTED);
    assert.match(log, /\nModuleNotFoundError: No module named 'iamnotsupported'\n$/);
  });

  test('with a syntax error in what it imports', async (t) => {
    const { error, log } = await failure(t, { '__main__.py': 'import bad', 'bad.py': 'def' });
    assert.equal(error, NOT_STARTED);
    assert.match(log, /__main__\.py", line 1, in <module>/);
    assert.match(log, /bad\.py", line 1\n/);
  });

  test('when there is no main', async (t) => {
    const { error, log } = await failure(t, ECHO, { main: 'niam' });
    assert.equal(error, NOT_STARTED);
    assert.match(log, /^ImportError: cannot import name 'niam' from 'main__' \(.*\/source\)\n$/);
  });

  test('when main cannot be called', async (t) => {
    assert.deepEqual(await failure(t, 'main = 5'), { error: NOT_STARTED, log: "TypeError: 'main' is not callable\n" });
  });

  test('when it exits while it is loaded', async (t) => {
    const { error, log } = await failure(t, `import sys\nsys.exit("words")\n${ECHO}`);
    assert.equal(error, NOT_STARTED);
    assert.match(log, /SystemExit: words\n$/);
  });

  test('without code', async (t) => {
    assert.deepEqual(await failure(t, ''), { error: 'Missing main/no code to execute.', log: '' });
  });

  test('without a path', async (t) => {
    assert.equal((await failure(t, '', { path: '' })).error, 'Missing main/no code to execute.');
  });

  test('when the file is not there', async (t) => {
    const launcher = await start(t);
    const init = await launcher.initPath({ path: `${launcher.directory}/gone` });
    assert.equal(init.body.error, NOT_BUILT);
    assert.match(init.stderr, /FileNotFoundError: .*gone/);
  });

  test('and may be tried again', async (t) => {
    const launcher = await start(t);
    await launcher.init('raise ValueError');
    assert.equal((await launcher.init(ECHO)).failed, false);
    assert.deepEqual((await launcher.run({ a: 1 })).body, { a: 1 });
  });
});
