'use strict';
const { run } = require('../../testing/javascript');

const IN_THE_LOG = 'Bun says where in the log only';

run(require('./support.js'), {
  'with the stack of a syntax error': IN_THE_LOG,
  'with the first error when await stands in a plain function': IN_THE_LOG,
});
