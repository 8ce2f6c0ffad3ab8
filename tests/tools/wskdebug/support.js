'use strict';
// A developer who debugs actions: a directory of their own, and wskdebug in it.

const { spawn } = require('node:child_process');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const openwhisk = require('openwhisk');

const DEADLINE_MS = 60_000;
const COMMAND = path.join(__dirname, 'node_modules/@openwhisk/wskdebug/wskdebug.js');

const required = (name, example) => {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}, for example ${example}`);
  return value;
};

const HOST = required('TRIPLANE_URL', 'http://127.0.0.1:3233');
const AUTH = required('TRIPLANE_AUTH', 'uuid:key');
// Has the image that the server names for nodejs:20.
required('DOCKER_HOST', 'unix:///var/run/docker.sock');

const ow = openwhisk({ apihost: HOST, api_key: AUTH });

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

// A debugger that is attached to an action until it ends.
class Session {
  constructor(directory, words) {
    this.output = '';
    const env = { ...process.env, HOME: directory, WSK_CONFIG_FILE: path.join(directory, '.wskprops') };
    this.child = spawn(process.execPath, [COMMAND, ...words], { cwd: directory, env });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (data) => { this.output += data; });
    }
  }

  // Waits until it has said something.
  said(text) {
    return until(`'${text}'`, () => {
      if (this.output.includes(text)) return true;
      assert.equal(this.child.exitCode, null, this.output);
      return false;
    });
  }

  async end(signal) {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }

  // Ends it as its user does, who presses Ctrl-C.
  stop() {
    return this.end('SIGINT');
  }

  kill() {
    return this.end('SIGKILL');
  }
}

class Developer {
  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'triplane-wskdebug-'));
    this.sessions = [];
    this.write('.wskprops', `APIHOST=${HOST}\nAUTH=${AUTH}\nNAMESPACE=_\n`);
  }

  write(name, content) {
    fs.writeFileSync(path.join(this.directory, name), content);
  }

  // Attaches wskdebug to an action, and waits until it is ready.
  async debug(...words) {
    const session = new Session(this.directory, words);
    this.sessions.push(session);
    await session.said('Ready for activations');
    return session;
  }

  // Ends what is still attached.
  async stop() {
    await Promise.all(this.sessions.map((session) => session.stop()));
    this.sessions = [];
  }

  leave() {
    this.sessions.forEach((session) => session.child.kill('SIGKILL'));
    fs.rmSync(this.directory, { recursive: true });
  }
}

const deploy = (name, code) => ow.actions.update({ name, action: { exec: { kind: 'nodejs:20', code } } });
const call = (name, params) => ow.actions.invoke({ name, params, blocking: true, result: true });
const code = async (name) => (await ow.actions.get(name)).exec.code;
const exists = (name) => ow.actions.get(name).then(() => true, (error) => {
  assert.equal(error.statusCode, 404);
  return false;
});

module.exports = { Developer, call, code, deploy, exists, ow, until };
