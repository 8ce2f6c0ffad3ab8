'use strict';
// The Deno launcher under test. Where there is no Deno, its tests are skipped.

const path = require('node:path');
const { driver, ...protocol } = require('../../testing/launcher.js');
const { find, unless } = require('../../testing/found.js');

const DENO = find('deno', 'TRIPLANE_DENO');
// As README.md has them.
const FLAGS = ['run', '--quiet', '--allow-all', '--no-prompt', '--no-config', '--no-lock'];
const LAUNCHER = path.join(__dirname, '..', 'launcher.cjs');

module.exports = {
  ...unless(DENO === undefined, 'there is no Deno on PATH; TRIPLANE_DENO can name one'),
  ...protocol,
  ...driver([DENO, ...FLAGS, LAUNCHER]),
};
