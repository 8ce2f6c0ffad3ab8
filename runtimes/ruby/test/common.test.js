'use strict';
const { FRAME_TEXTS, runScripts } = require('../../testing/cases.js');

const actions = {
  echo: 'def main(args) = args',
  large: 'def main(args)\n  $stderr.print "."\n  { n: args["n"], text: "x" * (1 << 20) }\nend',
  print: 'def main(args)\n  puts args["text"]\n  warn args["text"]\n  {}\nend',
  loading: '$stdout.sync = false\nprint "loading"\ndef main(args)\n  print "running"\n  {}\nend',
  environment: 'def main(args) = ENV.select { |name, _| name.start_with?("__OW_") }',
};

const texts = {
  ...FRAME_TEXTS,
  twice: 'Cannot initialize the action more than once.',
  early: 'Invalid Action: no action file found',
};

runScripts(require('./support.js'), { actions, texts });
