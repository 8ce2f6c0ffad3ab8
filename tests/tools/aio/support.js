'use strict';
// Somebody who uses the plugin: a home of their own, and commands one after another.

const { fork } = require('node:child_process');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const DEADLINE_MS = 60_000;

const required = (name, example) => {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}, for example ${example}`);
  return value;
};

const HOST = required('TRIPLANE_URL', 'http://127.0.0.1:3233');
const AUTH = required('TRIPLANE_AUTH', 'uuid:key');

class User {
  constructor() {
    this.home = fs.mkdtempSync(path.join(os.tmpdir(), 'triplane-aio-'));
    this.write('.wskprops', `APIHOST=${HOST}\nAUTH=${AUTH}\nNAMESPACE=_\n`);
    const env = {
      ...process.env,
      HOME: this.home,
      WSK_CONFIG_FILE: path.join(this.home, '.wskprops'),
      // the key of the properties, not a login at Adobe
      USE_RUNTIME_AUTH: 'true',
    };
    this.runner = fork(path.join(__dirname, 'runner.js'), { env, cwd: this.home });
  }

  write(name, content) {
    fs.writeFileSync(path.join(this.home, name), content);
    return name;
  }

  read(name) {
    return fs.readFileSync(path.join(this.home, name), 'utf8');
  }

  // Runs `aio rt WORDS`; answers its exit code and what it printed.
  run(...words) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`aio rt ${words.join(' ')} does not end`)), DEADLINE_MS);
      this.runner.once('message', (said) => {
        clearTimeout(late);
        resolve(said);
      });
      this.runner.send({ directory: this.home, words: ['runtime', ...words] });
    });
  }

  // The same of what has to succeed; answers what it printed.
  async aio(...words) {
    const { code, printed } = await this.run(...words);
    assert.equal(code, 0, `aio rt ${words.join(' ')}: ${printed}`);
    return printed;
  }

  // The same of what prints JSON.
  async json(...words) {
    return JSON.parse(await this.aio(...words, '--json'));
  }

  // The same of what has to fail.
  async fails(text, ...words) {
    const { code, printed } = await this.run(...words);
    assert.notEqual(code, 0, printed);
    assert.match(printed, text);
  }

  leave() {
    this.runner.kill();
    fs.rmSync(this.home, { recursive: true });
  }
}

// Polls until something is there.
const until = async (what, probe) => {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`no ${what} in time`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
};

const annotation = (entity, key) => entity.annotations.find((item) => item.key === key)?.value;

module.exports = { AUTH, HOST, User, annotation, until };
