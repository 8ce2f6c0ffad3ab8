'use strict';
// Drives a real launcher as a proxy does: a Unix socket at its file descriptor 3, pipes as its stdout and stderr.

const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const DEADLINE_MS = 30_000;

const HELLO = 0x01;
const INIT_DONE = 0x02;
const RESULT = 0x03;
const LOG = 0x04;
const CHUNK = 0x05;
const INIT = 0x10;
const RUN = 0x11;
const CANCEL = 0x12;

const frame = (kind, stream, payload) => {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUInt32LE(body.length + 5, 0);
  head.writeUInt8(kind, 4);
  head.writeUInt32LE(stream, 5);
  return Buffer.concat([head, body]);
};

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// A pipe whose reading end is polled without blocking, as the proxy reads it.
class Pipe {
  constructor(directory, name) {
    const file = path.join(directory, name);
    execFileSync('mkfifo', [file]);
    this.reader = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    this.writer = fs.openSync(file, fs.constants.O_WRONLY);
    this.pieces = [];
    this.buffer = Buffer.alloc(64 * 1024);
  }

  drain() {
    if (this.reader === undefined) return;
    try {
      for (;;) {
        const count = fs.readSync(this.reader, this.buffer, 0, this.buffer.length, null);
        if (count === 0) return;
        this.pieces.push(Buffer.from(this.buffer.subarray(0, count)));
      }
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }

  take() {
    const text = Buffer.concat(this.pieces).toString();
    this.pieces = [];
    return text;
  }

  closeWriter() {
    fs.closeSync(this.writer);
  }

  closeReader() {
    this.drain();
    fs.closeSync(this.reader);
    this.reader = undefined;
  }
}

class Launcher {
  constructor(command, directory) {
    this.directory = directory;
    this.files = 0;
    this.streams = 0;
    this.frames = [];
    this.waiting = [];
    this.rest = Buffer.alloc(0);
    this.pieces = [];
    this.pieceBytes = 0;
    this.stdout = new Pipe(directory, 'stdout');
    this.stderr = new Pipe(directory, 'stderr');
    this.child = spawn(command[0], command.slice(1), {
      stdio: ['ignore', this.stdout.writer, this.stderr.writer, 'pipe'],
      cwd: directory,
      // As in a sandbox, whose /tmp is both.
      env: { PATH: process.env.PATH, HOME: directory, TMPDIR: directory },
    });
    this.stdout.closeWriter();
    this.stderr.closeWriter();
    this.socket = this.child.stdio[3];
    this.socket.on('data', (bytes) => this.onData(bytes));
    this.socket.on('error', () => {});
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.polling = setInterval(() => this.drain(), 1);
  }

  async end() {
    this.child.kill('SIGKILL');
    await this.exited;
    clearInterval(this.polling);
    this.stdout.closeReader();
    this.stderr.closeReader();
    this.socket.destroy();
  }

  drain() {
    this.stdout.drain();
    this.stderr.drain();
  }

  onData(bytes) {
    this.pieces.push(bytes);
    this.pieceBytes += bytes.length;
    if (this.pieceBytes < (this.wanted ?? 9)) return;
    let rest = Buffer.concat(this.pieces);
    while (rest.length >= 9 && rest.length >= rest.readUInt32LE(0) + 4) {
      const end = rest.readUInt32LE(0) + 4;
      this.onFrame({ kind: rest[4], stream: rest.readUInt32LE(5), payload: rest.subarray(9, end) });
      rest = rest.subarray(end);
    }
    this.pieces = [rest];
    this.pieceBytes = rest.length;
    this.wanted = rest.length >= 9 ? rest.readUInt32LE(0) + 4 : 9;
  }

  onFrame(received) {
    // What a run wrote is in the pipes by now: later polls must not add to it.
    this.drain();
    this.frames.push({ ...received, stdout: this.stdout.take(), stderr: this.stderr.take() });
    this.waiting.splice(0).forEach((wake) => wake());
  }

  // The next frame that fits, which is taken from those received.
  async receive(fits, what) {
    const found = async () => {
      for (;;) {
        const at = this.frames.findIndex(fits);
        if (at >= 0) return this.frames.splice(at, 1)[0];
        await new Promise((wake) => this.waiting.push(wake));
      }
    };
    return within(found(), what);
  }

  send(kind, stream, payload) {
    this.socket.write(frame(kind, stream, payload));
  }

  // Writes files below a new directory: names to texts. Read-only, as code is in a sandbox.
  writeFiles(files) {
    this.files += 1;
    const root = path.join(this.directory, `code-${this.files}`);
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(root, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text, { mode: 0o444 });
    }
    return root;
  }

  // Sends code: the text of a script, or the files of an archive.
  startInit(code, options = {}) {
    const archive = typeof code !== 'string';
    const root = this.writeFiles(archive ? code : { source: code });
    this.sendInit({ path: archive ? root : path.join(root, 'source'), archive, ...options });
  }

  async init(code, options) {
    this.startInit(code, options);
    return this.initDone();
  }

  sendInit(options) {
    const init = { name: 'hello', main: 'main', archive: false, concurrency: 1, env: {}, ...options };
    this.send(INIT, 0, JSON.stringify(init));
  }

  async initPath(options) {
    this.sendInit(options);
    return this.initDone();
  }

  async initDone() {
    return outcome(await this.receive((f) => f.kind === INIT_DONE, 'INIT_DONE'));
  }

  startRun(value, context = {}) {
    this.streams += 1;
    this.send(RUN, this.streams, JSON.stringify({ value, ...context }));
    return this.streams;
  }

  // The answer of a call, with what it wrote: to the pipes until its RESULT, and in LOG frames before it.
  async answerOf(stream) {
    const result = await this.receive((f) => f.kind === RESULT && f.stream === stream, 'RESULT');
    const logs = this.frames.filter((f) => f.kind === LOG && f.stream === stream);
    this.frames = this.frames.filter((f) => !logs.includes(f));
    const text = (output) => logs.filter((f) => f.payload[0] === output)
      .map((f) => f.payload.subarray(1).toString()).join('');
    return { ...outcome(result), logs: { stdout: text(1), stderr: text(2), frames: logs.length } };
  }

  async run(value = {}, context = {}) {
    return this.answerOf(this.startRun(value, context));
  }

  // Waits until stderr has at least that many bytes, and says how many it has.
  async stderrOf(count) {
    const bytes = () => this.stderr.pieces.reduce((sum, piece) => sum + piece.length, 0);
    const grown = async () => {
      while (bytes() < count) await new Promise((wake) => setTimeout(wake, 1));
      return bytes();
    };
    return within(grown(), `${count} bytes of stderr`);
  }

  async exit() {
    const exit = await within(this.exited, 'exit');
    this.drain();
    return { ...exit, stdout: this.stdout.take(), stderr: this.stderr.take() };
  }
}

const outcome = ({ payload, stdout, stderr }) =>
  ({ failed: payload[0] === 1, body: JSON.parse(payload.subarray(1).toString()), stdout, stderr });

// The launcher that a command (the program and its arguments) starts: `start` answers one that said HELLO and that ends with
// the test, after `early` may have sent it something before it ran; `startAction` one with an action.
const driver = (command) => {
  const start = async (t, early = () => {}) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'launcher-test-'));
    const launcher = new Launcher(command, directory);
    t.after(async () => {
      await launcher.end();
      fs.rmSync(directory, { recursive: true, force: true });
    });
    early(launcher);
    launcher.hello = await launcher.receive((f) => f.kind === HELLO, 'HELLO');
    return launcher;
  };
  const startAction = async (t, code, options) => {
    const launcher = await start(t);
    const init = await launcher.init(code, options);
    if (init.failed) throw new Error(`init failed: ${init.body.error}`);
    return launcher;
  };
  return { start, startAction };
};

module.exports = { CANCEL, CHUNK, HELLO, INIT, LOG, RESULT, RUN, driver, frame };
