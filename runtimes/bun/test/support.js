'use strict';
// The Bun launcher under test. Where there is no Bun, its tests are skipped.

const path = require('node:path');
const { driver, ...protocol } = require('../../testing/launcher.js');
const { find, unless } = require('../../testing/found.js');

const BUN = find('bun', 'TRIPLANE_BUN');
const LAUNCHER = path.join(__dirname, '..', 'launcher.js');

module.exports = {
  ...unless(BUN === undefined, 'there is no Bun on PATH; TRIPLANE_BUN can name one'),
  ...protocol,
  ...driver([BUN, '--no-install', LAUNCHER]),
};
