'use strict';
// Runs commands of the plugin in one process, because loading it takes most of the time of a command: takes the words of a
// command line as a message, and answers with what it printed and its exit code.

const path = require('node:path');
const { Config, Errors, run } = require('@oclif/core');

const ROOT = path.dirname(require.resolve('@adobe/aio-cli-plugin-runtime/package.json'));

let printed = '';
for (const stream of [process.stdout, process.stderr]) {
  stream.write = (text) => {
    printed += text;
    return true;
  };
}

const exitCode = (error) => error.oclif?.exit ?? 1;

process.on('message', async ({ directory, words }) => {
  printed = '';
  let code = 0;
  try {
    process.chdir(directory);
    await run(words, await Config.load(ROOT));
  } catch (error) {
    code = exitCode(error);
    if (!(error instanceof Errors.ExitError)) printed += `${error.message}\n`;
  }
  process.send({ code, printed });
});
