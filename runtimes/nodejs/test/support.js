'use strict';
// The Node.js launcher under test.

const path = require('node:path');
const { describe, test } = require('node:test');
const { driver, ...protocol } = require('../../testing/launcher.js');

const LAUNCHER = path.join(__dirname, '..', 'launcher.js');

module.exports = { LAUNCHER, describe, test, ...protocol, ...driver([process.execPath, LAUNCHER]) };
