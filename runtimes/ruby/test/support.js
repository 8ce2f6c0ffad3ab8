'use strict';
// The Ruby launcher under test. Where there is no Ruby, its tests are skipped.

const fs = require('node:fs');
const path = require('node:path');
const nodeTest = require('node:test');
const { driver, ...protocol } = require('../../testing/launcher.js');

const RUBY = process.env.TRIPLANE_RUBY || '/usr/bin/ruby';
// As README.md has them.
const FLAGS = ['--disable=gems', '-E', 'UTF-8'];
const LAUNCHER = path.join(__dirname, '..', 'launcher.rb');

const skip = `there is no Ruby at ${RUBY}; TRIPLANE_RUBY can name one`;
const skipped = {
  describe: (name) => nodeTest.describe(name, { skip }),
  test: (name) => nodeTest.test(name, { skip }),
};
const { describe, test } = fs.existsSync(RUBY) ? nodeTest : skipped;

module.exports = { FLAGS, LAUNCHER, RUBY, describe, test, ...protocol, ...driver([RUBY, ...FLAGS, LAUNCHER]) };
