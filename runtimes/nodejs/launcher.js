'use strict';
// The launcher of the Node.js runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks. Those
// of Deno and Bun start it too, each with what is different there.
//
// Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Node.js runtime
// (openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for where this launcher decides itself.
//
// Everything that runs after user code was loaded uses functions captured here, so that an action that changes a
// prototype or a global harms itself and not the framing. The socket stays in this closure.

const fs = require('fs');

const SOCKET_FD = 3;

/**
 * Starts the launcher in an interpreter:
 * - `takesTypes`: whether it reads TypeScript;
 * - `write(bytes, count)` writes to the socket at once; it answers how many bytes it took, and throws if there is no socket;
 * - `listen(buffer, onRead, onEnd)` opens the socket: `onRead(count, bytes)` says whether to read on, `onEnd` takes an error
 *   or nothing; it answers how to `write(bytes, done)` what was not taken at once, and how to `resume()` reading;
 * - `prepareOutput()` makes writes to stdout and stderr end before they return;
 * - `captureConsole()` makes the console write to `process.stdout` and `process.stderr`;
 * - `ownEnv()` is the process's environment, `showEnv(env)` makes an object that stands for it the one that actions see;
 *   `keepEnv(env, last)`, which may be missing, is told of the variables of each call and of the one before.
 */
const launch = (interpreter) => {
  const PROTOCOL = 1;
  const HELLO = 0x01;
  const INIT_DONE = 0x02;
  const RESULT = 0x03;
  const LOG = 0x04;
  const CHUNK = 0x05;
  const INIT = 0x10;
  const RUN = 0x11;
  const CANCEL = 0x12;
  const STATUS_OK = 0;
  const STATUS_FAILED = 1;
  const STDOUT = 1;
  const STDERR = 2;
  const HEADER_BYTES = 9;
  // A header is the length, then type and stream, which the length counts.
  const LENGTH_BYTES = 4;
  const HEAD_TAIL_BYTES = 5;
  // A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
  const PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;
  const READ_BUFFER_BYTES = 64 * 1024;
  // Larger frames get a buffer of their own.
  const SCRATCH_BYTES = 64 * 1024;
  const LOG_PIECE_UNITS_MAX = 16 * 1024;
  // Above this much that the other side did not read yet, nothing more is read from it.
  const QUEUED_BYTES_MAX = 4 * 1024 * 1024;
  // More than any limit of logs: the server truncates earlier, so a drop is seen only when it does not read.
  const QUEUED_LOG_BYTES_MAX = 16 * 1024 * 1024;

  const EXIT_CLOSED = 0;
  const EXIT_BAD_FRAME = 70;
  const EXIT_LOST = 71;

  // --- captured before user code runs -------------------------------------------------------------------------------
  const { parse, stringify } = JSON;
  const { keys, create, hasOwn, getOwnPropertyDescriptor } = Object;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const { apply, ownKeys } = Reflect;
  const { min } = Math;
  const StringOf = String;
  const allocate = Buffer.allocUnsafeSlow;
  const { byteLength, from: bufferFrom } = Buffer;
  const { utf8Slice, utf8Write, copy, subarray } = Buffer.prototype;
  const { toUpperCase, charCodeAt, slice } = String.prototype;
  const { nextTick } = process;
  const { writeSync } = fs;
  const { write: writeNow } = interpreter;
  const reallyExit = process.reallyExit ? process.reallyExit.bind(process) : process.exit.bind(process);
  let consoleError = console.error.bind(console);

  const die = (code, text) => {
    if (text) {
      try {
        writeSync(STDERR, `${text}\n`);
      } catch {
        // Nobody reads stderr: the exit code has to do.
      }
    }
    reallyExit(code);
  };

  // --- writing frames -----------------------------------------------------------------------------------------------
  const scratch = allocate(SCRATCH_BYTES);
  let queuedBytes = 0;
  let readingPaused = false;
  let socket;

  const onSent = (count) => {
    queuedBytes -= count;
    if (!readingPaused || queuedBytes > QUEUED_BYTES_MAX) return;
    readingPaused = false;
    socket.resume();
  };

  const queue = (bytes) => {
    queuedBytes += bytes.length;
    socket.write(bytes, () => onSent(bytes.length));
  };

  // Sends bytes at once if the socket takes them; the rest, in order, when it does.
  const send = (bytes, count) => {
    let sent = 0;
    if (queuedBytes === 0) {
      try {
        sent = writeNow(bytes, count);
      } catch {
        die(EXIT_LOST);
      }
      if (sent === count) return;
    }
    const rest = apply(subarray, bytes, [sent, count]);
    queue(bytes === scratch ? bufferFrom(rest) : rest);
  };

  const u32 = (bytes, at) =>
    (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;

  const writeHead = (bytes, kind, stream, payloadBytes) => {
    const length = payloadBytes + HEAD_TAIL_BYTES;
    bytes[0] = length;
    bytes[1] = length >>> 8;
    bytes[2] = length >>> 16;
    bytes[3] = length >>> 24;
    bytes[4] = kind;
    bytes[5] = stream;
    bytes[6] = stream >>> 8;
    bytes[7] = stream >>> 16;
    bytes[8] = stream >>> 24;
  };

  // A frame with a text after one byte, which is a status or the number of an output; the bytes may be more than that.
  const encodeText = (kind, stream, first, text) => {
    // No UTF-16 unit needs more than three bytes of UTF-8.
    const small = text.length * 3 + HEADER_BYTES + 1 <= SCRATCH_BYTES;
    const bytes = small ? scratch : allocate(HEADER_BYTES + 1 + byteLength(text));
    const textBytes = apply(utf8Write, bytes, [text, HEADER_BYTES + 1]);
    writeHead(bytes, kind, stream, textBytes + 1);
    bytes[HEADER_BYTES] = first;
    return bytes;
  };

  const sendText = (kind, stream, first, text) => {
    const bytes = encodeText(kind, stream, first, text);
    send(bytes, u32(bytes, 0) + LENGTH_BYTES);
  };

  const sendHello = () => {
    const textBytes = apply(utf8Write, scratch, [`{"protocol":${PROTOCOL}}`, HEADER_BYTES]);
    writeHead(scratch, HELLO, 0, textBytes);
    send(scratch, HEADER_BYTES + textBytes);
  };

  const errorBody = (text) => `{"error":${stringify(text)}}`;

  // --- stdout and stderr --------------------------------------------------------------------------------------------
  let outputReady = false;

  const prepareOutput = () => {
    if (outputReady) return;
    outputReady = true;
    interpreter.prepareOutput();
  };

  const logError = (...values) => {
    try {
      consoleError(...values);
    } catch {
      // The action replaced the console or made a value that cannot be shown: the RESULT tells what happened.
    }
  };

  // The calls that overlap: which one is running is known from the asynchronous context.
  let calls;

  const sendLog = (stream, output, text) => {
    let start = 0;
    while (start < text.length && queuedBytes <= QUEUED_LOG_BYTES_MAX) {
      let end = min(start + LOG_PIECE_UNITS_MAX, text.length);
      // Do not part a surrogate pair.
      if (end < text.length && (apply(charCodeAt, text, [end - 1]) & 0xfc00) === 0xd800) end -= 1;
      sendText(LOG, stream, output, apply(slice, text, [start, end]));
      start = end;
    }
  };

  const textOfChunk = (chunk, encoding) => {
    if (typeof chunk !== 'string') return apply(utf8Slice, bufferFrom(chunk), []);
    const coded = typeof encoding === 'string' && encoding !== 'utf8' && encoding !== 'utf-8';
    return coded ? apply(utf8Slice, bufferFrom(chunk, encoding), []) : chunk;
  };

  const captureOutput = (target, output) => {
    const original = target.write;
    target.write = function write(chunk, encoding, callback) {
      const call = calls.current();
      if (call === undefined || call.ended || (typeof chunk !== 'string' && !isView(chunk))) {
        return apply(original, target, [chunk, encoding, callback]);
      }
      sendLog(call.stream, output, textOfChunk(chunk, encoding));
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') apply(nextTick, process, [done]);
      return true;
    };
  };

  const captureConsole = () => {
    const { AsyncLocalStorage } = require('async_hooks');
    const storage = new AsyncLocalStorage();
    const { run, getStore } = storage;
    calls = {
      run: (call, main, value) => apply(run, storage, [call, main, call, value]),
      current: () => apply(getStore, storage, []),
    };
    interpreter.captureConsole();
    consoleError = console.error.bind(console);
    captureOutput(process.stdout, STDOUT);
    captureOutput(process.stderr, STDERR);
  };

  // --- the life of the action ---------------------------------------------------------------------------------------
  const READY = 'ready';
  const STARTING = 'starting';
  const STOPPED = 'stopped';
  let status = READY;
  let userMain;
  let concurrent = false;
  let running = false;

  // As text, whatever a user threw.
  const textOf = (error, property) => {
    try {
      return StringOf((property !== undefined && error && error[property]) || error);
    } catch {
      return 'an error that cannot be shown';
    }
  };

  const setEnv = (env) => {
    showCallEnv();
    if (env === null || typeof env !== 'object') return;
    for (const name of keys(env)) process.env[name] = env[name];
  };

  // Not before HELLO: it is a file of its own.
  let loading;
  const loader = () => (loading ??= require('./loading.js')(interpreter));

  const load = (init) => {
    if (!init.main || typeof init.main !== 'string' || !init.path || typeof init.path !== 'string') throw loader().MISSING;
    setEnv(init.env);
    prepareOutput();
    concurrent = init.concurrency > 1;
    if (concurrent && calls === undefined) captureConsole();
    const { loadArchive, loadScript } = loader();
    return init.archive ? loadArchive(init.path, init.main) : loadScript(init.path, init.main);
  };

  const initFailed = (text) => sendText(INIT_DONE, 0, STATUS_FAILED, errorBody(text));

  const initialise = async (init) => {
    if (userMain !== undefined) return initFailed('Cannot initialize the action more than once.');
    if (status !== READY) return initFailed(`System not ready, status is ${status}.`);
    status = STARTING;
    try {
      const found = await load(init);
      if (typeof found !== 'function') throw `Action entrypoint '${init.main}' is not a function.`;
      userMain = found;
      status = READY;
      return sendText(INIT_DONE, 0, STATUS_OK, '{}');
    } catch (error) {
      const isMissing = error === loader().MISSING;
      status = isMissing ? READY : STOPPED;
      if (isMissing) return initFailed('Missing main/no code to execute.');
      logError('Error during initialization:', error);
      return initFailed(`Initialization has failed due to: ${textOf(error, 'stack')}`);
    }
  };

  // --- the environment of a call ------------------------------------------------------------------------------------
  // glibc never frees what `setenv` was given, so a variable that changes with every call would use up the sandbox's memory.
  // Such variables are kept here and shown by `process.env`, for each call its own where calls overlap.
  let lastEnv = create(null);
  const envNames = create(null);

  const envName = (name) => {
    if (envNames[name] === undefined) envNames[name] = `__OW_${apply(toUpperCase, name, [])}`;
    return envNames[name];
  };

  const envOfCall = () => {
    const call = calls === undefined ? undefined : calls.current();
    return call === undefined ? lastEnv : call.env;
  };

  const showCallEnv = () => {
    const has = (name) => typeof name === 'string' && envOfCall()[name] !== undefined;
    interpreter.showEnv(new Proxy(interpreter.ownEnv(), {
      get: (own, name) => (has(name) ? envOfCall()[name] : own[name]),
      has: (own, name) => has(name) || name in own,
      set: (own, name, value) => {
        if (has(name)) envOfCall()[name] = StringOf(value);
        else own[name] = StringOf(value);
        return true;
      },
      deleteProperty: (own, name) => {
        if (has(name)) delete envOfCall()[name];
        return delete own[name];
      },
      ownKeys: (own) => {
        const names = ownKeys(own);
        const ofCall = keys(envOfCall());
        for (let i = 0; i < ofCall.length; i += 1) {
          if (!hasOwn(own, ofCall[i])) names[names.length] = ofCall[i];
        }
        return names;
      },
      getOwnPropertyDescriptor: (own, name) => (has(name)
        ? { value: envOfCall()[name], writable: true, enumerable: true, configurable: true }
        : getOwnPropertyDescriptor(own, name)),
    }));
  };

  // The variables of a call, which hide those of init.
  const setCallEnv = (body) => {
    const env = create(null);
    const names = keys(body);
    for (let i = 0; i < names.length; i += 1) {
      const name = names[i];
      if (name !== 'value' && typeof body[name] === 'string') env[envName(name)] = body[name];
    }
    if (interpreter.keepEnv !== undefined) interpreter.keepEnv(env, lastEnv);
    lastEnv = env;
    return env;
  };

  // What npm's serialize-error, which OpenWhisk uses, makes of what a promise was rejected with.
  const serialised = (value, seen) => {
    const to = isArray(value) ? [] : {};
    const inside = [...seen, value];
    for (const key of keys(value)) {
      const item = value[key];
      if (typeof item === 'function') continue;
      if (item === null || typeof item !== 'object') to[key] = item;
      else to[key] = inside.includes(item) ? '[Circular]' : serialised(item, inside);
    }
    for (const key of ['name', 'message', 'stack', 'code']) {
      if (typeof value[key] === 'string') to[key] = value[key];
    }
    return to;
  };

  const serialiseRejection = (error) => {
    if (!error) return {};
    if (typeof error === 'object') return serialised(error, []);
    return typeof error === 'function' ? `[Function: ${error.name || 'anonymous'}]` : error;
  };

  // Ends a call: what it writes from now on belongs to no call.
  const answer = (call, callStatus, text) => {
    call.ended = true;
    running = false;
    sendText(RESULT, call.stream, callStatus, text);
  };

  const answerError = (call, text) => answer(call, STATUS_FAILED, errorBody(text));

  const answerThrown = (call, error) => {
    logError(error);
    answerError(call, `An error has occurred: ${textOf(error)}`);
  };

  const answerResult = (call, result) => {
    const text = typeof result === 'object' ? stringify(result) : undefined;
    if (text !== undefined) return answer(call, STATUS_OK, text);
    logError(`Result must be of type object but has type "${typeof result}":`, result);
    return answerError(call, 'The action did not return a dictionary.');
  };

  // `await` uses no property that user code can change, unless the result is a thenable of its own.
  const runMain = async (call, value) => {
    let result;
    try {
      result = userMain(value);
    } catch (error) {
      return answerThrown(call, error);
    }
    try {
      try {
        result = await result;
        if (result === undefined) result = {};
      } catch (error) {
        result = { error: serialiseRejection(error) };
      }
      return answerResult(call, result);
    } catch (error) {
      return answerThrown(call, error);
    }
  };

  const onRun = (stream, body) => {
    const call = { stream, ended: false, env: undefined };
    if (userMain === undefined) return answerError(call, 'System not initialized.');
    if (running) return sendText(RESULT, stream, STATUS_FAILED, errorBody('System not ready, status is running.'));
    const value = body.value === undefined || body.value === null ? {} : body.value;
    if (typeof value !== 'object') {
      const text = `the argument must be a dictionary but has type '${typeof value}'.`;
      return answerError(call, `Internal system error: ${text}`);
    }
    call.env = setCallEnv(body);
    if (concurrent) return calls.run(call, runMain, value);
    running = true;
    return runMain(call, value);
  };

  // --- reading frames -----------------------------------------------------------------------------------------------
  const onFrame = (kind, stream, bytes, start, end) => {
    if (kind === CANCEL || kind === CHUNK) return;
    if (kind !== RUN && kind !== INIT) die(EXIT_BAD_FRAME, `launcher: frame type ${kind} is unknown`);
    let body;
    try {
      body = parse(apply(utf8Slice, bytes, [start, end]));
    } catch {
      die(EXIT_BAD_FRAME, 'launcher: a frame is not JSON');
    }
    if (body === null || typeof body !== 'object') die(EXIT_BAD_FRAME, 'launcher: a frame is not an object');
    if (kind === RUN) onRun(stream, body);
    else initialise(body);
  };

  const head = allocate(HEADER_BYTES);
  let headBytes = 0;
  let payload;
  let payloadBytes = 0;
  const readBuffer = allocate(READ_BUFFER_BYTES);

  const payloadLength = (bytes, at) => {
    const length = u32(bytes, at) - HEAD_TAIL_BYTES;
    if (length < 0 || length > PAYLOAD_BYTES_MAX) die(EXIT_BAD_FRAME, `launcher: frame length ${length} is out of range`);
    return length;
  };

  // Takes bytes of a frame that did not come in one piece; says where the next unread byte is.
  const readPiece = (bytes, start, end) => {
    let at = start;
    while (headBytes < HEADER_BYTES && at < end) {
      head[headBytes] = bytes[at];
      headBytes += 1;
      at += 1;
    }
    if (headBytes < HEADER_BYTES) return at;
    if (payload === undefined) payload = allocate(payloadLength(head, 0));
    const taken = min(payload.length - payloadBytes, end - at);
    apply(copy, bytes, [payload, payloadBytes, at, at + taken]);
    payloadBytes += taken;
    at += taken;
    if (payloadBytes < payload.length) return at;
    const whole = payload;
    payload = undefined;
    payloadBytes = 0;
    headBytes = 0;
    onFrame(head[4], u32(head, 5), whole, 0, whole.length);
    return at;
  };

  const onRead = (count, bytes) => {
    let at = 0;
    while (at < count) {
      const left = count - at;
      if (headBytes > 0 || left < HEADER_BYTES || left < HEADER_BYTES + payloadLength(bytes, at)) {
        at = readPiece(bytes, at, count);
        continue;
      }
      const start = at + HEADER_BYTES;
      const end = start + payloadLength(bytes, at);
      onFrame(bytes[at + 4], u32(bytes, at + 5), bytes, start, end);
      at = end;
    }
    readingPaused = queuedBytes > QUEUED_BYTES_MAX;
    return !readingPaused;
  };

  // --- start --------------------------------------------------------------------------------------------------------
  // Walks the way of a first action, which is then neither loaded nor compiled any more, while no one waits for it.
  const warmUp = async () => {
    if (status !== READY || userMain !== undefined) return;
    prepareOutput();
    // A frame that is passed over.
    writeHead(scratch, CANCEL, 0, 0);
    onRead(HEADER_BYTES, scratch);
    const main = loader().rehearse();
    const body = parse('{"value":{"a":"b"},"warm":"up"}');
    setCallEnv(body);
    setCallEnv({});
    encodeText(RESULT, 0, STATUS_OK, stringify(await main(body.value)));
    require('util').format('warm', body, 1);
    process.stdout.write('');
  };

  // HELLO goes first: what the proxy sends waits in the socket, and its work and ours overlap.
  sendHello();
  socket = interpreter.listen(readBuffer, onRead, (error) => die(error === undefined ? EXIT_CLOSED : EXIT_LOST));
  setImmediate(warmUp);
};

// --- Node.js ----------------------------------------------------------------------------------------------------------
const { apply } = Reflect;
const { writeSync } = fs;

/** What Node.js and those that are like it have in common. */
const common = {
  takesTypes: false,
  write: (bytes, count) => {
    try {
      return writeSync(SOCKET_FD, bytes, 0, count);
    } catch (error) {
      if (error.code === 'EAGAIN') return 0;
      throw error;
    }
  },
  listen: (buffer, onRead, onEnd) => {
    const net = require('net');
    const socket = new net.Socket({ fd: SOCKET_FD, onread: { buffer, callback: onRead } });
    const { write, resume } = socket;
    socket.on('end', () => onEnd());
    socket.on('close', () => onEnd());
    socket.on('error', onEnd);
    return {
      write: (bytes, done) => apply(write, socket, [bytes, done]),
      resume: () => apply(resume, socket, []),
    };
  },
  prepareOutput: () => {},
  captureConsole: () => {},
  ownEnv: () => process.env,
  showEnv: (env) => {
    process.env = env;
  },
  keepEnv: undefined,
};

const nodejs = {
  ...common,
  // Node.js by itself queues what does not fit into a pipe, and it would come after the RESULT. (The handle of a file has
  // no such mode and needs none.)
  prepareOutput: () => {
    for (const { _handle: handle } of [process.stdout, process.stderr]) {
      if (handle && typeof handle.setBlocking === 'function') handle.setBlocking(true);
    }
  },
};

if (require.main === module) launch(nodejs);

/** `captureConsole` where the console writes to the descriptors themselves. */
const replaceConsole = () => {
  const { Console } = require('console');
  const own = new Console({ stdout: process.stdout, stderr: process.stderr });
  for (const name of Object.keys(own)) {
    if (typeof own[name] === 'function') console[name] = own[name].bind(own);
  }
};

module.exports = { SOCKET_FD, common, launch, replaceConsole };
