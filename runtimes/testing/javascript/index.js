'use strict';
// The cases that the launchers of Node.js, Deno and Bun have in common, beside those of all languages.

const { runScripts } = require('../cases.js');
const javascript = require('./actions.js');

/** Runs all cases for the launcher that `support` drives, but for those with names in `leftOut`. */
const run = (support, leftOut = {}) => {
  runScripts(support, javascript);
  const test = (name, body) => (Object.hasOwn(leftOut, name) ? support.test.skip(`${name}: ${leftOut[name]}`) : support.test(name, body));
  for (const cases of ['init', 'run', 'output', 'process', 'environment']) require(`./${cases}.js`)({ ...support, test });
};

module.exports = { run };
