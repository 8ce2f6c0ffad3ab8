'use strict';
// The PHP launcher under test. Where there is no PHP, its tests are skipped.

const fs = require('node:fs');
const path = require('node:path');
const nodeTest = require('node:test');
const { driver, ...protocol } = require('../../testing/launcher.js');

const PHP = process.env.TRIPLANE_PHP || '/usr/bin/php';
// What can be set on the command line only; see README.md.
const FLAGS = ['-n', '-d', 'short_open_tag=0', '-d', 'zend.assertions=-1'];
const LAUNCHER = path.join(__dirname, '..', 'launcher.php');

const skip = `there is no PHP at ${PHP}; TRIPLANE_PHP can name one`;
const skipped = {
  describe: (name) => nodeTest.describe(name, { skip }),
  test: (name) => nodeTest.test(name, { skip }),
};
const { describe, test } = fs.existsSync(PHP) ? nodeTest : skipped;

module.exports = { FLAGS, LAUNCHER, PHP, describe, test, ...protocol, ...driver([PHP, ...FLAGS, LAUNCHER]) };
