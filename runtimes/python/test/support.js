'use strict';
// The Python launcher under test.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const nodeTest = require('node:test');
const { driver, ...protocol } = require('../../testing/launcher.js');

const LAUNCHER = path.join(__dirname, '..', 'launcher.py');
// How README.md says that it is started.
const FLAGS = ['-I', '-S', '-B', '-X', 'utf8'];

const ask = (command, code) =>
  execFileSync(command, ['-c', code], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

const isUsable = (python) => {
  try {
    return ask(python, 'import sys; print(sys.version_info >= (3, 9))') === 'True';
  } catch {
    return false;
  }
};

// The binary itself: what is on PATH may be a script that chooses one of several.
const onPath = () => {
  try {
    return ask('python3', 'import sys; print(sys.executable)');
  } catch {
    return undefined;
  }
};

const findPython = () => {
  const named = process.env.TRIPLANE_PYTHON;
  if (named === undefined) return ['/usr/bin/python3', onPath()].find((python) => python && isUsable(python));
  if (!isUsable(named)) throw new Error(`TRIPLANE_PYTHON names no Python 3.9 or newer: ${named}`);
  return named;
};

const PYTHON = findPython();
const skip = PYTHON === undefined && 'this machine has no Python 3.9 or newer';
const test = (name, body) => nodeTest.test(name, { skip }, body);

// Waits until the launcher waits, so that its warm-up is over.
const idle = async (launcher) => {
  const isWaiting = () => / S /.test(fs.readFileSync(`/proc/${launcher.child.pid}/stat`, 'utf8'));
  while (!isWaiting()) await new Promise((wake) => setTimeout(wake, 1));
};

module.exports = {
  FLAGS, LAUNCHER, PYTHON, describe: nodeTest.describe, driver, idle, test, ...protocol,
  ...driver([PYTHON, ...FLAGS, LAUNCHER]),
};
