'use strict';
const assert = require('node:assert/strict');
const { describe, start, startAction, test } = require('./support.js');

const PARSE_FAILED = 'Invalid Ruby Code: failed to parse the input code';
const CHECK_FAILED = /^Invalid Ruby Code: method checking failed \/ {2}\/ /;

const result = async (t, code, options, value = {}) => {
  const launcher = await startAction(t, code, options);
  const answer = await launcher.run(value);
  assert.equal(answer.failed, false, answer.body.error);
  return answer.body;
};

const initFailure = async (t, code, options) => {
  const launcher = await start(t);
  const init = await launcher.init(code, options);
  assert.equal(init.failed, true);
  return init;
};

describe('a script', () => {
  test('runs its method main', async (t) => {
    const code = 'def main(args)\n  { "hello" => args["name"] }\nend';
    assert.deepEqual(await result(t, code, {}, { name: 'you' }), { hello: 'you' });
  });

  test('may name another method', async (t) => {
    assert.deepEqual(await result(t, 'def niam(args) = { other: true }', { main: 'niam' }), { other: true });
  });

  for (const main of ['Api::V1::get', 'Api::V1.get']) {
    test(`may name a method of a module as ${main}`, async (t) => {
      const code = 'module Api; class V1; def self.get(args) = { got: args["a"] }; end; end';
      assert.deepEqual(await result(t, code, { main }, { a: 1 }), { got: 1 });
    });
  }

  test('may start with an interpreter line', async (t) => {
    assert.deepEqual(await result(t, '#!/usr/bin/env ruby\ndef main(args) = { sh: true }'), { sh: true });
  });

  test('may have text outside ASCII', async (t) => {
    assert.deepEqual(await result(t, 'def main(args) = { "größe" => "☃" }'), { größe: '☃' });
  });

  test('may end with data', async (t) => {
    assert.deepEqual(await result(t, 'def main(args) = { a: 1 }\n__END__\nthis is no Ruby'), { a: 1 });
  });

  test('keeps its state between calls', async (t) => {
    const launcher = await startAction(t, '$n = 0\n@m = 0\ndef main(args) = { n: $n += 1, m: @m += 2 }');
    await launcher.run();
    assert.deepEqual((await launcher.run()).body, { n: 2, m: 4 });
  });

  test('is not the program', async (t) => {
    assert.deepEqual(await result(t, 'IS = __FILE__ == $0\ndef main(args) = { is: IS }'), { is: false });
  });

  test('may have constants that are named like those of the launcher', async (t) => {
    const code = `module TriplaneLauncher; end
      class Launcher; end; class Wire; end; module Host; end; RUN = 1
      def main(args) = { a: RUN }`;
    assert.deepEqual(await result(t, code), { a: 1 });
  });

  test('finds nothing of the launcher among what has a name', async (t) => {
    const code = `def main(args)
      { constants: Object.constants.grep(/Triplane|Launcher|Wire/), locals: TOPLEVEL_BINDING.local_variables,
        methods: self.class.private_instance_methods(false) - [:main] + singleton_methods - [:inspect, :to_s] }
    end`;
    assert.deepEqual(await result(t, code), { constants: [], locals: [], methods: [] });
  });

  test('requires other files relative to itself', async (t) => {
    const launcher = await start(t);
    const root = launcher.writeFiles({
      source: 'require_relative "lib/two"\ndef main(args) = { two: TWO }',
      'lib/two.rb': 'TWO = 2',
    });
    assert.equal((await launcher.initPath({ path: `${root}/source` })).failed, false);
    assert.deepEqual((await launcher.run()).body, { two: 2 });
  });

  test('can require the standard library', async (t) => {
    const code = 'require "set"\nrequire "zlib"\ndef main(args) = { crc: Zlib.crc32("a"), set: Set[1, 1].size }';
    assert.deepEqual(await result(t, code), { crc: 0xe8b7be43, set: 1 });
  });

  test('need not require json', async (t) => {
    assert.deepEqual(await result(t, 'def main(args) = JSON.parse(\'{"a":1}\')'), { a: 1 });
  });

  test('sees the environment of init while it is loaded', async (t) => {
    const code = 'SEEN = ENV["GREETING"]\ndef main(args) = { seen: SEEN }';
    assert.deepEqual(await result(t, code, { env: { GREETING: 'hi' } }), { seen: 'hi' });
  });

  test('is not disturbed by variables that the system does not have', async (t) => {
    const code = 'def main(args) = { a: ENV["A"], b: ENV["B"], c: ENV["C"] }';
    const env = { '': 'none', 'A=x': 'none', B: 'b\0rest', C: 'c' };
    assert.deepEqual(await result(t, code, { env }), { a: null, b: 'b', c: 'c' });
  });
});

describe('RubyGems', () => {
  const LOADED = '$LOADED_FEATURES.any? { |file| file.end_with?("/rubygems.rb") }';

  test('is not loaded when nothing needs it', async (t) => {
    assert.deepEqual(await result(t, `require "set"\ndef main(args) = { loaded: ${LOADED} }`), { loaded: false });
  });

  test('is loaded for a constant of it', async (t) => {
    const code = `def main(args) = { newer: Gem::Version.new("2.10") > Gem::Version.new("2.9"), loaded: ${LOADED} }`;
    assert.deepEqual(await result(t, code), { newer: true, loaded: true });
  });

  test('is loaded for what is found in gems only', async (t) => {
    const code = `require "only/in/gem"\ndef main(args) = { gem: ONLY, loaded: ${LOADED} }`;
    const launcher = await start(t);
    const home = launcher.writeFiles({
      'gems/only-1.0/lib/only/in/gem.rb': 'ONLY = "only"',
      'specifications/only-1.0.gemspec':
        'Gem::Specification.new { |s| s.name = "only"; s.version = "1.0"; s.summary = s.author = "a"; s.files = [] }',
    });
    const init = await launcher.init(code, { env: { GEM_PATH: home } });
    assert.deepEqual(init.body, {});
    assert.deepEqual((await launcher.run()).body, { gem: 'only', loaded: true });
  });

  test('leaves an error for what is found nowhere', async (t) => {
    const code = `begin; require "gone/away"; rescue LoadError => e; ERROR = [e.path, e.message]; end
      def main(args) = { error: ERROR, private: !respond_to?(:require) }`;
    assert.deepEqual(await result(t, code),
      { error: ['gone/away', 'cannot load such file -- gone/away'], private: true });
  });

  test('leaves an error of a file that was found', async (t) => {
    const files = {
      'main.rb': 'begin; require "./inner"; rescue LoadError => e; PATH = e.path; end\ndef main(args) = { path: PATH }',
      'inner.rb': 'require "gone/away"',
    };
    assert.deepEqual(await result(t, files), { path: 'gone/away' });
  });
});

describe('an archive', () => {
  test('runs main of main.rb', async (t) => {
    assert.deepEqual(await result(t, { 'main.rb': 'def main(args) = { main: true }' }), { main: true });
  });

  test('may name another method', async (t) => {
    const files = { 'main.rb': 'def niam(args) = { result: "it works" }' };
    assert.deepEqual(await result(t, files, { main: 'niam' }), { result: 'it works' });
  });

  test('requires its other files', async (t) => {
    const files = {
      'main.rb': `require __dir__ + "/a.rb"; require_relative "lib/b"; require "./c"; require "d"
        def main(args) = [A, B, C, D]`,
      'a.rb': 'A = 1',
      'lib/b.rb': 'B = 2',
      'c.rb': 'C = 3',
      'd.rb': 'D = 4',
    };
    assert.deepEqual(await result(t, files), [1, 2, 3, 4]);
  });

  test('does not hide the standard library by its files', async (t) => {
    const files = { 'main.rb': 'require "set"\ndef main(args) = { size: Set[1].size }', 'set.rb': 'raise "mine"' };
    assert.deepEqual(await result(t, files), { size: 1 });
  });

  test('may bring gems, as bundler makes them stand alone', async (t) => {
    const files = {
      'main.rb': 'require_relative "bundle/bundler/setup"\nrequire "left"\ndef main(args) = { left: LEFT }',
      'bundle/bundler/setup.rb': '$:.unshift File.expand_path("#{__dir__}/../ruby/3.1.0/gems/left-1.0/lib")',
      'bundle/ruby/3.1.0/gems/left-1.0/lib/left.rb': 'LEFT = "left"',
    };
    assert.deepEqual(await result(t, files), { left: 'left' });
  });

  test('loads main.rb once, though another file requires it', async (t) => {
    const files = {
      'main.rb': '$loads = ($loads || 0) + 1\nrequire_relative "other"\ndef main(args) = { loads: $loads }',
      'other.rb': 'require_relative "main"',
    };
    assert.deepEqual(await result(t, files), { loads: 1 });
  });

  test('works in its own directory', async (t) => {
    const files = { 'main.rb': 'def main(args) = { text: File.read("data.txt") }', 'data.txt': 'däta' };
    assert.deepEqual(await result(t, files), { text: 'däta' });
  });

  test('without main.rb is refused', async (t) => {
    const { body } = await initFailure(t, { 'index.rb': 'def main(args) = {}' });
    assert.deepEqual(body, { error: 'Invalid Ruby Code: zipped actions must contain main.rb at the root.' });
  });

  test('with a main.rb that is no Ruby is refused', async (t) => {
    const { body, stderr } = await initFailure(t, { 'main.rb': '10 PRINT "Hello world!"\n20 GOTO 10' });
    assert.deepEqual(body, { error: PARSE_FAILED });
    assert.match(stderr, /main\.rb:1: syntax error/);
  });
});

describe('init fails', () => {
  const failsCheck = (name, code, log, options) => test(name, async (t) => {
    const { body, stderr } = await initFailure(t, code, options);
    assert.match(body.error, CHECK_FAILED);
    assert.match(stderr, log);
    assert.equal(body.error.replace(CHECK_FAILED, ''), stderr.replace(/\n$/, ''));
    assert.doesNotMatch(stderr, /launcher\.rb.*(load|serve)/);
  });

  test('for a syntax error', async (t) => {
    const { body, stderr } = await initFailure(t, 'def main(');
    assert.deepEqual(body, { error: PARSE_FAILED });
    assert.match(stderr, /source:1: syntax error/);
  });

  failsCheck('for an error raised while loading',
    'raise "not today"', /source:1:in [`'].*': not today \(RuntimeError\)\n/);
  failsCheck('for a required file that is missing', 'require "gone"', /cannot load such file -- gone \(LoadError\)\n/);
  failsCheck('for an error that is no StandardError', 'raise NotImplementedError', /NotImplementedError/);
  failsCheck('for an error that is not UTF-8', 'raise "\\xff"', /source:1:in [`'].*': \ufffd \(RuntimeError\)\n/);
  failsCheck('without the method main', 'def other(args) = {}', /undefined method [`']main' for .* \(NameError\)\n/);
  failsCheck('without the method that is named',
    'def main(args) = {}', /undefined method [`']niam' for /, { main: 'niam' });
  failsCheck('without the module that is named',
    'def main(args) = {}', /uninitialized constant Api/, { main: 'Api::get' });
  failsCheck('for a method of a module that is private',
    'module Api; def self.get = {}; private_class_method :get; end',
    /[`']get' for .*Api/, { main: 'Api::get' });

  test('without a main', async (t) => {
    const { body } = await initFailure(t, 'def main(args) = {}', { main: '' });
    assert.deepEqual(body, { error: 'Missing main/no code to execute.' });
  });

  test('without code', async (t) => {
    assert.deepEqual((await initFailure(t, '')).body, { error: 'Missing main/no code to execute.' });
  });

  test('when the file is not there', async (t) => {
    const launcher = await start(t);
    const init = await launcher.initPath({ path: `${launcher.directory}/gone` });
    assert.match(init.body.error, /cannot load such file/);
  });

  test('after it failed', async (t) => {
    const launcher = await start(t);
    await launcher.init('raise');
    const again = await launcher.init('def main(args) = {}');
    assert.deepEqual(again.body, { error: 'Cannot initialize the action more than once.' });
  });

  test('for want of code, and may be tried again', async (t) => {
    const launcher = await start(t);
    await launcher.init('');
    assert.equal((await launcher.init('def main(args) = {}')).failed, false);
  });
});
