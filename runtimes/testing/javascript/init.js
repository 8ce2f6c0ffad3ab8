'use strict';
// How actions are loaded, and what they are told when they cannot be.
const assert = require('node:assert/strict');

module.exports = ({ describe, test, start, startAction }) => {
  const result = async (t, code, options, value = {}) => {
    const launcher = await startAction(t, code, options);
    const answer = await launcher.run(value);
    assert.equal(answer.failed, false, answer.body.error);
    return answer.body;
  };

  const initError = async (t, code, options) => {
    const launcher = await start(t);
    const init = await launcher.init(code, options);
    assert.equal(init.failed, true);
    return init.body.error;
  };

  describe('a script', () => {
    test('runs its function main', async (t) => {
      const body = await result(t, 'function main(args) { return { hello: args.name }; }', {}, { name: 'you' });
      assert.deepEqual(body, { hello: 'you' });
    });

    test('may define main as a constant', async (t) => {
      assert.deepEqual(await result(t, 'const main = () => ({ a: 1 }); // last comment'), { a: 1 });
    });

    test('may name another function', async (t) => {
      assert.deepEqual(await result(t, 'function other() { return { other: true }; }', { main: 'other' }), { other: true });
    });

    test('may name a member of an object', async (t) => {
      const code = 'const api = { get: () => ({ got: true }) };';
      assert.deepEqual(await result(t, code, { main: 'api.get' }), { got: true });
    });

    test('may export main', async (t) => {
      assert.deepEqual(await result(t, 'exports.main = () => ({ from: "exports" });'), { from: 'exports' });
    });

    test('may export main in a new object', async (t) => {
      assert.deepEqual(await result(t, 'module.exports = { main: () => ({ from: "module" }) };'), { from: 'module' });
    });

    test('may be told to run exports.main', async (t) => {
      const code = 'exports.main = () => ({ from: "exports" });';
      assert.deepEqual(await result(t, code, { main: 'exports.main' }), { from: 'exports' });
    });

    test('can require modules of Node.js', async (t) => {
      const code = 'const path = require("path"); function main() { return { joined: path.join("a", "b") }; }';
      assert.deepEqual(await result(t, code), { joined: 'a/b' });
    });

    test('requires other files relative to itself', async (t) => {
      const launcher = await start(t);
      const root = launcher.writeFiles({
        source: 'const { two } = require("./lib/two"); const m = require("m"); function main() { return { two, m }; }',
        'lib/two.js': 'exports.two = 2;',
        'node_modules/m/index.js': 'module.exports = "module";',
      });
      assert.equal((await launcher.initPath({ path: `${root}/source` })).failed, false);
      assert.deepEqual((await launcher.run()).body, { two: 2, m: 'module' });
    });

    test('can import modules while it runs', async (t) => {
      const code = 'async function main() { const { join } = await import("node:path"); return { joined: join("a", "b") }; }';
      const launcher = await startAction(t, code);
      const answer = await launcher.run();
      assert.deepEqual(answer.body, { joined: 'a/b' });
      assert.equal(answer.stderr, '');
    });

    test('may start with a byte order mark', async (t) => {
      assert.deepEqual(await result(t, '\ufefffunction main() { return { bom: true }; }'), { bom: true });
    });

    test('may start with an interpreter line', async (t) => {
      assert.deepEqual(await result(t, '#!/usr/bin/env node\nfunction main() { return { sh: true }; }'), { sh: true });
    });

    test('keeps its state between calls', async (t) => {
      const launcher = await startAction(t, 'let n = 0; function main() { n += 1; return { n }; }');
      await launcher.run();
      assert.deepEqual((await launcher.run()).body, { n: 2 });
    });

    test('sees the environment of init while it is loaded', async (t) => {
      const code = 'const seen = process.env.GREETING; function main() { return { seen }; }';
      assert.deepEqual(await result(t, code, { env: { GREETING: 'hi' } }), { seen: 'hi' });
    });
  });

  describe('an ES module', () => {
    test('runs the function that it exports as main', async (t) => {
      const code = 'import { join } from "node:path"; export function main(args) { return { path: join("a", args.b) }; }';
      assert.deepEqual(await result(t, code, {}, { b: 'b' }), { path: 'a/b' });
    });

    test('may export without importing', async (t) => {
      assert.deepEqual(await result(t, 'export const main = async () => ({ esm: true });'), { esm: true });
    });

    test('may export main by default', async (t) => {
      assert.deepEqual(await result(t, 'export default function () { return { by: "default" }; }'), { by: 'default' });
    });

    test('may await before it exports', async (t) => {
      const code = 'const value = await Promise.resolve(7); export const main = () => ({ value });';
      assert.deepEqual(await result(t, code), { value: 7 });
    });

    test('leaves no word on stderr', async (t) => {
      const launcher = await start(t);
      const init = await launcher.init('import "fs"; export const main = () => ({});');
      assert.equal(init.stderr, '');
    });
  });

  describe('an archive', () => {
    test('runs main of index.js', async (t) => {
      assert.deepEqual(await result(t, { 'index.js': 'exports.main = () => ({ index: true });' }), { index: true });
    });

    test('runs what package.json names', async (t) => {
      const files = {
        'package.json': '{"main":"lib/start.js"}',
        'lib/start.js': 'exports.main = () => ({ started: require("./part") });',
        'lib/part.js': 'module.exports = "part";',
      };
      assert.deepEqual(await result(t, files), { started: 'part' });
    });

    test('finds its own node_modules', async (t) => {
      const files = {
        'index.js': 'const left = require("left"); exports.main = () => ({ left });',
        'node_modules/left/package.json': '{"name":"left","main":"l.js"}',
        'node_modules/left/l.js': 'module.exports = "left";',
      };
      assert.deepEqual(await result(t, files), { left: 'left' });
    });

    test('works in its own directory', async (t) => {
      const files = {
        'index.js': 'exports.main = () => ({ text: require("fs").readFileSync("data.txt", "utf8") });',
        'data.txt': 'data',
      };
      assert.deepEqual(await result(t, files), { text: 'data' });
    });

    test('may be told a function of a module', async (t) => {
      const files = { 'index.js': '', 'tool.js': 'exports.work = () => ({ worked: true });' };
      assert.deepEqual(await result(t, files, { main: 'tool.work' }), { worked: true });
    });

    test('may be a package of ES modules', async (t) => {
      const files = {
        'package.json': '{"type":"module","main":"start.js"}',
        'start.js': 'import { part } from "./part.js"; export const main = () => ({ part });',
        'part.js': 'export const part = 5;',
      };
      const launcher = await start(t);
      assert.equal((await launcher.init(files)).stderr, '');
      assert.deepEqual((await launcher.run()).body, { part: 5 });
    });

    test('may be a package of ES modules that await', async (t) => {
      const files = {
        'package.json': '{"type":"module","main":"start.js"}',
        'start.js': 'const part = await Promise.resolve(6); export const main = () => ({ part });',
      };
      assert.deepEqual(await result(t, files), { part: 6 });
    });

    test('may have index.mjs only', async (t) => {
      assert.deepEqual(await result(t, { 'index.mjs': 'export const main = () => ({ mjs: true });' }), { mjs: true });
    });

    test('without an entry is refused', async (t) => {
      assert.equal(await initError(t, { 'readme.txt': '' }),
        'Initialization has failed due to: Zipped actions must contain either package.json or index.js at the root.');
    });

    test('whose package.json names a missing file is refused', async (t) => {
      const error = await initError(t, { 'package.json': '{"main":"gone.js"}' });
      assert.match(error, /^Initialization has failed due to: (Resolve)?(Error|Message): Cannot find (module|package) /);
    });
  });

  describe('init fails', () => {
    test('with the stack of a syntax error', async (t) => {
      const error = await initError(t, 'function main( {');
      assert.match(error, /^Initialization has failed due to: /);
      assert.match(error, /SyntaxError: /);
      assert.match(error, /(source|action\.ts):1/);
    });

    test('with the first error when await stands in a plain function', async (t) => {
      assert.match(await initError(t, 'function main() { await 1; }'), /await is only valid in async functions/);
    });

    test('with the stack of an error thrown while loading', async (t) => {
      const error = await initError(t, 'throw new Error("not today");');
      assert.match(error, /^Initialization has failed due to: Error: not today\n {4}at /);
    });

    test('with the text of a thrown string', async (t) => {
      assert.equal(await initError(t, 'throw "words";'), 'Initialization has failed due to: words');
    });

    test('when nothing but undefined was thrown', async (t) => {
      assert.equal(await initError(t, 'throw undefined;'), 'Initialization has failed due to: undefined');
    });

    test('when main is no function', async (t) => {
      assert.equal(await initError(t, 'const main = 5;'),
        "Initialization has failed due to: Action entrypoint 'main' is not a function.");
    });

    test('when there is no main', async (t) => {
      assert.equal(await initError(t, 'const other = 5;', { main: 'niam' }),
        "Initialization has failed due to: Action entrypoint 'niam' is not a function.");
    });

    test('when an ES module does not export main', async (t) => {
      assert.equal(await initError(t, 'import "fs"; export const other = 5;'),
        "Initialization has failed due to: Action entrypoint 'main' is not a function.");
    });

    test('and the error is in the log', async (t) => {
      const launcher = await start(t);
      const init = await launcher.init('throw new Error("not today");');
      assert.match(init.stderr, /^Error during initialization: [^]*rror: not today\n/);
    });

    test('without a main', async (t) => {
      assert.equal(await initError(t, 'function main() {}', { main: '' }), 'Missing main/no code to execute.');
    });

    test('without code', async (t) => {
      assert.equal(await initError(t, ''), 'Missing main/no code to execute.');
    });

    test('when the file is not there', async (t) => {
      const launcher = await start(t);
      const init = await launcher.initPath({ path: `${launcher.directory}/gone` });
      assert.match(init.body.error, /^Initialization has failed due to: Error: ENOENT/);
    });

    test('after it failed', async (t) => {
      const launcher = await start(t);
      await launcher.init('throw 1;');
      const again = await launcher.init('function main() {}');
      assert.equal(again.body.error, 'System not ready, status is stopped.');
    });

    test('for want of code, and may be tried again', async (t) => {
      const launcher = await start(t);
      await launcher.init('');
      assert.equal((await launcher.init('function main() {}')).failed, false);
    });
  });
};
