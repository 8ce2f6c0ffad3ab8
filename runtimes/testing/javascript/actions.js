'use strict';
// Actions of JavaScript for the cases of all languages, and texts of its runtime.

const { FRAME_TEXTS } = require('../cases.js');

const actions = {
  echo: 'function main(args) { return args; }',
  large: `const fs = require('fs');
    function main({ n }) { fs.writeSync(2, '.'); return { n, text: 'x'.repeat(1 << 20) }; }`,
  print: 'function main({ text }) { console.log(text); console.error(text); return {}; }',
  loading: `process.stdout.write('loading');
    function main() { process.stdout.write('running'); return {}; }`,
  environment: `function main() {
    return Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('__OW_')));
  }`,
};

const texts = {
  ...FRAME_TEXTS,
  twice: 'Cannot initialize the action more than once.',
  early: 'System not initialized.',
};

module.exports = { actions, texts };
