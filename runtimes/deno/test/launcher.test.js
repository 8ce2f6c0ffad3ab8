'use strict';
const { run } = require('../../testing/javascript');

run(require('./support.js'), {
  'by changing how arrays are walked': 'Deno itself needs that to read',
  'is there if it comes from a tick that the call left': 'Deno gives promises precedence over ticks',
});
