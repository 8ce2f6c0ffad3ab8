'use strict';
// Code that the host's packages have Python run when it starts.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { FLAGS, LAUNCHER, PYTHON, describe, driver, idle, test } = require('./support.js');

// Starts the launcher with such packages, given the files of their directory, and loads an action at once or after the warm-up.
// Python reads the packages of a virtual environment twice, and so runs their code twice.
const load = async (t, packages, code, when = 'at once', options = {}) => {
  const root = fs.mkdtempSync(path.join(fs.realpathSync(require('node:os').tmpdir()), 'packages-test-'));
  t.after(() => fs.rmSync(root, { recursive: true }));
  const version = execFileSync(PYTHON, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2], end="")']);
  const directory = `${root}/lib/python${version}/site-packages`;
  fs.mkdirSync(directory, { recursive: true });
  fs.mkdirSync(`${root}/bin`);
  fs.symlinkSync(PYTHON, `${root}/bin/python3`);
  const home = path.dirname(fs.realpathSync(PYTHON));
  fs.writeFileSync(`${root}/pyvenv.cfg`, `home = ${home}\ninclude-system-site-packages = false\n`);
  for (const [name, text] of Object.entries(packages)) fs.writeFileSync(`${directory}/${name}`, text);
  const send = (launcher) => launcher.startInit(code, options);
  const isEarly = when === 'at once';
  const launcher = await driver([`${root}/bin/python3`, ...FLAGS, LAUNCHER]).start(t, isEarly ? send : undefined);
  if (!isEarly) {
    await idle(launcher);
    send(launcher);
  }
  const init = await launcher.initDone();
  assert.equal(init.failed, false, init.body.error);
  const { body } = await launcher.run();
  return { body, log: init.stderr, directory };
};

describe('code of the host\'s packages', () => {
  const SAYS_SO = { 'package.pth': 'import os; os.ran = "ran"\n' };

  test('runs before the first import that has to look for a module', async (t) => {
    const code = `import os, sys
before = hasattr(os, "ran")
import colorsys
after = os.ran
import wave
def main(args): return [before, after, os.ran]`;
    assert.deepEqual((await load(t, SAYS_SO, code)).body, [false, 'ran', 'ran']);
  });

  test('does not run when nothing is looked for', async (t) => {
    const code = 'import os\ndef main(args): return [hasattr(os, "ran")]';
    assert.deepEqual((await load(t, SAYS_SO, code)).body, [false]);
  });

  test('has run when the warm-up is over', async (t) => {
    const code = 'import os\ndef main(args): return [os.ran]';
    assert.deepEqual((await load(t, SAYS_SO, code, 'after the warm-up')).body, ['ran']);
  });

  test('runs before calls that may overlap', async (t) => {
    const code = 'import os\ndef main(args): return [os.ran]';
    assert.deepEqual((await load(t, SAYS_SO, code, 'at once', { concurrency: 2 })).body, ['ran']);
  });

  test('runs when an action asks the finders itself', async (t) => {
    const code = `import os, sys
specs = [finder.find_spec("colorsys", None) for finder in [*sys.meta_path]]
def main(args): return [os.ran, specs[0].name]`;
    assert.deepEqual((await load(t, SAYS_SO, code)).body, ['ran', 'colorsys']);
  });

  for (const when of ['at once', 'after the warm-up']) {
    test(`finds its directory, and sitecustomize comes after it, ${when}`, async (t) => {
      const packages = {
        'a.pth': 'import sys; sys.found = [sitedir]; sys.path.insert(0, sitedir)\n',
        'b.pth': 'import sys; sys.found[1:] = [sys._getframe(1).f_locals["sitedir"]]\n',
        'sitecustomize.py': 'import sys\nsys.found.append("customized")\n',
      };
      const code = 'import sys, colorsys\ndef main(args): return sys.found';
      const { body, directory } = await load(t, packages, code, when);
      assert.deepEqual(body, [directory, directory, 'customized']);
    });

    test(`adds to the path where it would have been before the action did, ${when}`, async (t) => {
      const packages = { 'a.pth': '/tmp\nimport sys; "/code" in sys.path or sys.path.append("/code")\n', 'b.pth': '/\n' };
      const code = `import sys
sys.path.append("/mine")
import colorsys
def main(args): return sys.path`;
      const { body, directory } = await load(t, packages, code, when);
      assert.deepEqual(body.slice(-5), [directory, '/tmp', '/', '/code', '/mine']);
    });

    test(`gets Python's modules and not the action's, ${when}`, async (t) => {
      const packages = { 'package.pth': 'import colorsys, sys; sys.found = colorsys.__file__\n' };
      const code = {
        '__main__.py': 'import os, sys, wave\ndef main(args): return [sys.found.startswith(os.getcwd())]',
        'colorsys.py': '',
      };
      assert.deepEqual((await load(t, packages, code, when)).body, [false]);
    });

    test(`may import what the action imports, which has the same, ${when}`, async (t) => {
      const packages = { 'package.pth': 'import colorsys, sys; sys.first = colorsys\n' };
      const code = `import sys, colorsys
import colorsys as again
def main(args): return [colorsys is again is sys.first, type(colorsys.__spec__.loader).__name__]`;
      assert.deepEqual((await load(t, packages, code, when)).body, [true, 'SourceFileLoader']);
    });

    test(`may wait for a thread that imports, ${when}`, async (t) => {
      const line = 'thread = threading.Thread(target=__import__, args=("colorsys",)); thread.start(); thread.join()';
      const packages = { 'package.pth': `import threading; ${line}\n` };
      const code = 'import sys, wave\ndef main(args): return ["colorsys" in sys.modules]';
      assert.deepEqual((await load(t, packages, code, when)).body, [true]);
    });

    test(`that fails is in the log, and the rest of its file does not run, ${when}`, async (t) => {
      const packages = {
        'a.pth': 'import sys; sys.ran = []\nimport missing_module\nimport sys; sys.ran.append("a")\n',
        'b.pth': 'import sys; sys.ran.append("b")\n',
      };
      const code = 'import sys, colorsys\ndef main(args): return sorted(set(sys.ran))';
      const { body, log } = await load(t, packages, code, when);
      assert.deepEqual(body, ['b']);
      assert.match(log, /^Error processing .*a\.pth:\n[^]*No module named 'missing_module'\n\nRemainder of file ignored\n$/);
    });
  }
});
