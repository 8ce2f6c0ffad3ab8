'use strict';
// Interpreters that a machine may lack: then their tests are skipped, and say so.

const fs = require('node:fs');
const path = require('node:path');
const nodeTest = require('node:test');

/** The interpreter that the variable names, or the first on PATH; nothing if there is none. */
const find = (program, variable) => {
  const named = process.env[variable];
  const places = named ? [named] : process.env.PATH.split(path.delimiter).map((place) => path.join(place, program));
  return places.find((place) => fs.existsSync(place));
};

/** `describe` and `test` of Node.js's runner, or such as skip, for the reason given. */
const unless = (missing, reason) => (missing
  ? {
    describe: (name) => nodeTest.describe(name, { skip: reason }),
    test: (name) => nodeTest.test(name, { skip: reason }),
  }
  : { describe: nodeTest.describe, test: nodeTest.test });

module.exports = { find, unless };
