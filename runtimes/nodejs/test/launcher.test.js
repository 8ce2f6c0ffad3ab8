'use strict';
const { run } = require('../../testing/javascript');

run(require('./support.js'));
