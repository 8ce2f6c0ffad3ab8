'use strict';
// The launcher of the Node.js runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.
//
// Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Node.js runtime
// (openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for where this launcher decides itself.
//
// Everything that runs after user code was loaded uses functions captured here, so that an action that changes a
// prototype or a global harms itself and not the framing. The socket stays in this closure.

const net = require('net');
const fs = require('fs');

(() => {
  const PROTOCOL = 1;
  const SOCKET_FD = 3;
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
  // What follows the length in a header: type and stream.
  const HEAD_TAIL_BYTES = 5;
  // A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
  const PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;
  const READ_BUFFER_BYTES = 64 * 1024;
  // Larger frames get a buffer of their own.
  const SCRATCH_BYTES = 64 * 1024;
  const LOG_PIECE_BYTES_MAX = 32 * 1024;
  // More than any limit of logs: the server truncates earlier, so a drop is seen only when it does not read.
  const QUEUED_LOG_BYTES_MAX = 16 * 1024 * 1024;

  const EXIT_CLOSED = 0;
  const EXIT_BAD_FRAME = 70;
  const EXIT_LOST = 71;

  // --- captured before user code runs -------------------------------------------------------------------------------
  const { parse, stringify } = JSON;
  const { keys, create } = Object;
  const { isArray } = Array;
  const { apply } = Reflect;
  const StringOf = String;
  const allocate = Buffer.allocUnsafeSlow;
  const byteLength = Buffer.byteLength;
  const bufferFrom = Buffer.from;
  const isBuffer = ArrayBuffer.isView;
  const { utf8Slice, utf8Write, copy, subarray } = Buffer.prototype;
  const { toUpperCase } = String.prototype;
  const { writeSync, readFileSync, existsSync } = fs;
  const reallyExit = process.reallyExit ? process.reallyExit.bind(process) : process.exit.bind(process);
  const consoleError = console.error.bind(console);

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
  let socket;
  let socketWrite;

  const queue = (bytes) => {
    queuedBytes += bytes.length;
    apply(socketWrite, socket, [bytes, () => { queuedBytes -= bytes.length; }]);
  };

  // Sends bytes at once if the socket takes them; the rest, in order, when it does. `reused` bytes are copied to wait.
  const send = (bytes, reused) => {
    let sent = 0;
    if (queuedBytes === 0) {
      try {
        sent = writeSync(SOCKET_FD, bytes, 0, bytes.length);
      } catch (error) {
        if (error.code !== 'EAGAIN') return die(EXIT_LOST);
      }
      if (sent === bytes.length) return undefined;
    }
    const rest = apply(subarray, bytes, [sent]);
    return queue(reused ? bufferFrom(rest) : rest);
  };

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

  // A frame with a text after one byte, which is a status or the number of an output.
  const sendText = (kind, stream, first, text) => {
    // No UTF-16 unit needs more than three bytes of UTF-8.
    const reused = text.length * 3 + HEADER_BYTES + 1 <= SCRATCH_BYTES;
    const bytes = reused ? scratch : allocate(HEADER_BYTES + 1 + byteLength(text));
    const textBytes = apply(utf8Write, bytes, [text, HEADER_BYTES + 1]);
    writeHead(bytes, kind, stream, textBytes + 1);
    bytes[HEADER_BYTES] = first;
    send(reused ? apply(subarray, bytes, [0, HEADER_BYTES + 1 + textBytes]) : bytes, reused);
  };

  const sendHello = () => {
    const text = `{"protocol":${PROTOCOL}}`;
    const bytes = allocate(HEADER_BYTES + text.length);
    writeHead(bytes, HELLO, 0, apply(utf8Write, bytes, [text, HEADER_BYTES]));
    send(bytes, false);
  };

  const sendError = (kind, stream, text) => sendText(kind, stream, STATUS_FAILED, `{"error":${stringify(text)}}`);

  // --- the console of calls that overlap ----------------------------------------------------------------------------
  let calls;

  const sendLog = (stream, output, text) => {
    let start = 0;
    while (start < text.length) {
      if (queuedBytes > QUEUED_LOG_BYTES_MAX) return;
      let end = start + LOG_PIECE_BYTES_MAX;
      // Do not part a surrogate pair.
      if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end -= 1;
      sendText(LOG, stream, output, text.slice(start, end));
      start = end;
    }
  };

  const captureOutput = (target, output) => {
    const original = target.write;
    target.write = function write(chunk, encoding, callback) {
      const call = calls.getStore();
      if (call === undefined || call.ended) return apply(original, target, [chunk, encoding, callback]);
      const text = typeof chunk === 'string' ? chunk : apply(utf8Slice, bufferFrom(chunk), []);
      sendLog(call.stream, output, text);
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') process.nextTick(done);
      return true;
    };
  };

  const captureConsole = () => {
    const { AsyncLocalStorage } = require('async_hooks');
    const storage = new AsyncLocalStorage();
    const { run, getStore } = storage;
    calls = {
      run: (call, main, value) => apply(run, storage, [call, main, value]),
      getStore: () => apply(getStore, storage, []),
    };
    captureOutput(process.stdout, STDOUT);
    captureOutput(process.stderr, STDERR);
  };

  // --- loading the action -------------------------------------------------------------------------------------------
  const ESM_SYNTAX = [
    'Cannot use import statement outside a module',
    "Unexpected token 'export'",
    "Cannot use 'import.meta' outside a module",
    'await is only valid in async functions and the top level bodies of modules',
  ];

  const isEsmSyntaxError = (error) =>
    error instanceof SyntaxError && ESM_SYNTAX.some((text) => StringOf(error.message).includes(text));

  const isEsmRequireError = (error) =>
    error !== null && typeof error === 'object' &&
    (error.code === 'ERR_REQUIRE_ESM' || error.code === 'ERR_REQUIRE_ASYNC_MODULE');

  const importFile = (file) => import(require('url').pathToFileURL(file).href);

  // `a.b.c` of an object, or nothing.
  const member = (object, dotted) => {
    let value = object;
    for (const name of dotted.split('.')) {
      if (value === undefined || value === null) return undefined;
      value = value[name];
    }
    return value;
  };

  const mainOfExports = (exports, main) => {
    for (const candidate of [member(exports, main), member(exports && exports.default, main)]) {
      if (typeof candidate === 'function') return candidate;
    }
    if (main !== 'main') return undefined;
    return [exports, exports && exports.default].find((candidate) => typeof candidate === 'function');
  };

  const dynamicImport = (require) => {
    const vm = require('vm');
    const constant = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
    return constant || ((specifier) => import(specifier));
  };

  // A dotted name, so that it can stand in source text.
  const DOTTED_NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*(\.[\p{ID_Start}$_][\p{ID_Continue}$]*)*$/u;

  const loadScript = (file, main) => {
    const vm = require('vm');
    const path = require('path');
    let code = apply(utf8Slice, readFileSync(file), []);
    if (code.charCodeAt(0) === 0xfeff) code = code.slice(1);
    if (code.startsWith('#!')) code = `//${code}`;
    if (code.trim() === '') throw MISSING;
    const module = { exports: {}, id: file, filename: file, loaded: false, children: [], paths: [] };
    // What a function of that name in scope is, is found by code in the same scope, as OpenWhisk does.
    const found = DOTTED_NAME.test(main)
      ? `\n;try { return ${main}; } catch (e) { if (!(e instanceof ReferenceError)) throw e; }` : '';
    let compiled;
    try {
      compiled = vm.compileFunction(code + found, ['exports', 'require', 'module', '__filename', '__dirname'], {
        filename: file,
        importModuleDynamically: dynamicImport(require),
      });
    } catch (error) {
      if (isEsmSyntaxError(error)) return loadModuleText(code, main);
      throw error;
    }
    const requireOfCode = require('module').createRequire(file);
    const inScope = apply(compiled, module.exports, [module.exports, requireOfCode, module, file, path.dirname(file)]);
    return typeof inScope === 'function' ? inScope : mainOfExports(module.exports, main);
  };

  // Only a name that ends in .mjs makes Node.js read a file as a module, and the code's own directory is read-only.
  const loadModuleText = async (code, main) => {
    const path = require('path');
    const directory = fs.mkdtempSync(path.join(require('os').tmpdir(), 'action-'));
    const file = path.join(directory, 'action.mjs');
    fs.writeFileSync(file, code);
    return mainOfExports(await importFile(file), main);
  };

  // `function`, or `module.function` where the module is a path inside the archive.
  const splitMain = (main) => {
    const match = /^(?:(.+)\.)?(\w+)$/.exec(main);
    if (match === null) throw 'Name of main function is not valid.';
    return { index: match[1], name: match[2] };
  };

  const loadArchive = async (directory, main) => {
    const path = require('path');
    const { index, name } = splitMain(main);
    process.chdir(directory);
    const has = (file) => existsSync(path.join(directory, file));
    if (index === undefined && !has('package.json') && !has('index.js') && !has('index.mjs')) {
      throw 'Zipped actions must contain either package.json or index.js at the root.';
    }
    const requireOfCode = require('module').createRequire(path.join(directory, 'package.json'));
    const entry = resolveEntry(requireOfCode, path.join(directory, index || ''), path.join(directory, 'index.mjs'));
    try {
      return mainOfExports(requireOfCode(entry), name);
    } catch (error) {
      if (!isEsmRequireError(error)) throw error;
      return mainOfExports(await importFile(entry), name);
    }
  };

  const resolveEntry = (requireOfCode, wanted, fallback) => {
    try {
      return requireOfCode.resolve(wanted);
    } catch (error) {
      for (const file of [`${wanted}.mjs`, fallback]) {
        if (existsSync(file)) return file;
      }
      throw error;
    }
  };

  // --- the life of the action ---------------------------------------------------------------------------------------
  const MISSING = create(null);
  const READY = 'ready';
  const STARTING = 'starting';
  const STOPPED = 'stopped';
  let status = READY;
  let userMain;
  let concurrent = false;
  let running = false;
  const lastEnv = create(null);
  const envNames = create(null);

  const setEnv = (env) => {
    if (env === null || typeof env !== 'object') return;
    for (const name of keys(env)) process.env[name] = env[name];
  };

  const load = (init) => {
    if (!init.main || typeof init.main !== 'string' || !init.path || typeof init.path !== 'string') throw MISSING;
    setEnv(init.env);
    if (init.concurrency > 1) {
      concurrent = true;
      captureConsole();
    }
    return init.archive ? loadArchive(init.path, init.main) : loadScript(init.path, init.main);
  };

  const initialise = async (init) => {
    if (userMain !== undefined) return sendError(INIT_DONE, 0, 'Cannot initialize the action more than once.');
    if (status !== READY) return sendError(INIT_DONE, 0, `System not ready, status is ${status}.`);
    status = STARTING;
    try {
      const found = await load(init);
      if (typeof found !== 'function') throw `Action entrypoint '${init.main}' is not a function.`;
      userMain = found;
      status = READY;
      return sendText(INIT_DONE, 0, STATUS_OK, '{}');
    } catch (error) {
      if (error === MISSING) {
        status = READY;
        return sendError(INIT_DONE, 0, 'Missing main/no code to execute.');
      }
      status = STOPPED;
      consoleError('Error during initialization:', error);
      return sendError(INIT_DONE, 0, `Initialization has failed due to: ${describe(error)}`);
    }
  };

  const describe = (error) => {
    try {
      return StringOf((error && error.stack) || error);
    } catch {
      return 'an error that has no text';
    }
  };

  const textOf = (error) => {
    try {
      return StringOf(error);
    } catch {
      return 'an error that has no text';
    }
  };

  // The variables of a call. Most have the value of the call before, and setting one is a system's setenv.
  const setCallEnv = (call) => {
    for (const name in call) {
      if (name === 'value' || lastEnv[name] === call[name]) continue;
      const variable = envNames[name] || (envNames[name] = `__OW_${apply(toUpperCase, name, [])}`);
      process.env[variable] = call[name];
      lastEnv[name] = call[name];
    }
    for (const name in lastEnv) {
      if (call[name] !== undefined) continue;
      delete process.env[envNames[name]];
      delete lastEnv[name];
    }
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

  const finish = (stream, result) => {
    if (result === undefined) return sendText(RESULT, stream, STATUS_OK, '{}');
    if (typeof result !== 'object') {
      consoleError(`Result must be of type object but has type "${typeof result}":`, result);
      return sendError(RESULT, stream, 'The action did not return a dictionary.');
    }
    const text = stringify(result);
    if (text === undefined) return sendError(RESULT, stream, 'The action did not return a dictionary.');
    return sendText(RESULT, stream, STATUS_OK, text);
  };

  const fail = (stream, error) => {
    consoleError(error);
    sendError(RESULT, stream, `An error has occurred: ${textOf(error)}`);
  };

  // `await` uses no property that user code can change, unless the result is a thenable of its own.
  const call = async (stream, value) => {
    let pending;
    try {
      pending = userMain(value);
    } catch (error) {
      return fail(stream, error);
    }
    let result;
    try {
      result = await pending;
    } catch (error) {
      result = { error: serialiseRejection(error) };
    }
    try {
      return finish(stream, result);
    } catch (error) {
      return fail(stream, error);
    }
  };

  const callAlone = async (stream, value) => {
    running = true;
    await call(stream, value);
    running = false;
  };

  const callOverlapping = async (stream, value) => {
    const store = { stream, ended: false };
    await calls.run(store, call, stream, value);
    store.ended = true;
  };

  const runCall = (stream, body) => {
    if (userMain === undefined) return sendError(RESULT, stream, 'System not initialized.');
    if (running) return sendError(RESULT, stream, 'System not ready, status is running.');
    setCallEnv(body);
    return concurrent ? callOverlapping(stream, body.value) : callAlone(stream, body.value);
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
    if (kind === RUN) runCall(stream, body);
    else initialise(body);
  };

  const head = allocate(HEADER_BYTES);
  let headBytes = 0;
  let payload;
  let payloadBytes = 0;
  const readBuffer = allocate(READ_BUFFER_BYTES);

  const u32 = (bytes, at) =>
    (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;

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
    const taken = Math.min(payload.length - payloadBytes, end - at);
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
    return true;
  };

  socket = new net.Socket({ fd: SOCKET_FD, onread: { buffer: readBuffer, callback: onRead } });
  socketWrite = socket.write;
  socket.on('end', () => die(EXIT_CLOSED));
  socket.on('close', () => die(EXIT_CLOSED));
  socket.on('error', () => die(EXIT_LOST));
  sendHello();
})();
