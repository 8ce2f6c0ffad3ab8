'use strict';
// The launcher of the Node.js runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.
//
// Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Node.js runtime
// (openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for where this launcher decides itself.
//
// Everything that runs after user code was loaded uses functions captured here, so that an action that changes a
// prototype or a global harms itself and not the framing. The socket stays in this closure.

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
  let readingPaused = false;
  let socket;
  let socketWrite;
  let socketResume;

  const onSent = (count) => {
    queuedBytes -= count;
    if (!readingPaused || queuedBytes > QUEUED_BYTES_MAX) return;
    readingPaused = false;
    apply(socketResume, socket, []);
  };

  const queue = (bytes) => {
    queuedBytes += bytes.length;
    apply(socketWrite, socket, [bytes, () => onSent(bytes.length)]);
  };

  // Sends bytes at once if the socket takes them; the rest, in order, when it does.
  const send = (bytes, count) => {
    let sent = 0;
    if (queuedBytes === 0) {
      try {
        sent = writeSync(SOCKET_FD, bytes, 0, count);
      } catch (error) {
        if (error.code !== 'EAGAIN') die(EXIT_LOST);
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

  // Makes writes to a pipe end before `write` returns, however large they are: Node.js by itself queues what does not
  // fit into the pipe, and it would come after the RESULT. (The handle of a file has no such mode and needs none.)
  const prepareOutput = () => {
    if (outputReady) return;
    outputReady = true;
    for (const { _handle: handle } of [process.stdout, process.stderr]) {
      if (handle && typeof handle.setBlocking === 'function') handle.setBlocking(true);
    }
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
    captureOutput(process.stdout, STDOUT);
    captureOutput(process.stderr, STDERR);
  };

  // --- loading the action -------------------------------------------------------------------------------------------
  const AWAIT_OUTSIDE = 'await is only valid in async functions and the top level bodies of modules';
  const ESM_SYNTAX = [
    'Cannot use import statement outside a module',
    "Unexpected token 'export'",
    "Cannot use 'import.meta' outside a module",
    AWAIT_OUTSIDE,
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

  // Stands in for `throw undefined`, which must not be taken for this.
  const MISSING = create(null);
  // A dotted name, so that it can stand in source text.
  const DOTTED_NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*(\.[\p{ID_Start}$_][\p{ID_Continue}$]*)*$/u;
  const SCOPE = ['exports', 'require', 'module', '__filename', '__dirname'];

  // Node.js warns when a script first calls `import()` that the way in which we allow it is experimental, which is
  // nothing for the log of an action.
  const hushLoaderWarning = () => {
    const { emitWarning } = process;
    process.emitWarning = (warning, ...rest) => {
      if (typeof warning === 'string' && warning.startsWith('vm.USE_MAIN_CONTEXT_DEFAULT_LOADER')) return;
      apply(emitWarning, process, [warning, ...rest]);
    };
  };

  let dynamicImport;

  const compile = (code, file) => {
    const vm = require('vm');
    if (dynamicImport === undefined) {
      dynamicImport = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER ?? ((specifier) => import(specifier));
      hushLoaderWarning();
    }
    return vm.compileFunction(code, SCOPE, { filename: file, importModuleDynamically: dynamicImport });
  };

  // A script as a function, which returns what `main` is in the scope of the script, as OpenWhisk finds it.
  const compileScript = (code, file, main) => {
    if (!DOTTED_NAME.test(main)) return compile(code, file);
    try {
      return compile(`${code}\n;try { return ${main}; } catch (e) { if (e.name !== 'ReferenceError') throw e; }`, file);
    } catch (error) {
      // The fault may be in the code, and then the error must not show ours.
      compile(code, file);
      throw error;
    }
  };

  const runScript = (script, file, main) => {
    const module = { exports: {}, id: file, filename: file, loaded: false, children: [], paths: [] };
    const requireOfCode = require('module').createRequire(file);
    const directory = require('path').dirname(file);
    const found = apply(script, module.exports, [module.exports, requireOfCode, module, file, directory]);
    module.loaded = true;
    return typeof found === 'function' ? found : mainOfExports(module.exports, main);
  };

  const readScript = (file) => {
    let code = apply(utf8Slice, readFileSync(file), []);
    if (code.charCodeAt(0) === 0xfeff) code = code.slice(1);
    return code.startsWith('#!') ? `//${code}` : code;
  };

  const loadScript = (file, main) => {
    const code = readScript(file);
    if (code === '') throw MISSING;
    let script;
    try {
      script = compileScript(code, file, main);
    } catch (error) {
      if (isEsmSyntaxError(error)) return loadModuleText(code, main, error);
      throw error;
    }
    return runScript(script, file, main);
  };

  // Only a name that ends in .mjs makes Node.js read a file as a module, and the code's own directory is read-only.
  const loadModuleText = async (code, main, scriptError) => {
    const path = require('path');
    const directory = fs.mkdtempSync(path.join(require('os').tmpdir(), 'action-'));
    const file = path.join(directory, 'action.mjs');
    fs.writeFileSync(file, code);
    try {
      return mainOfExports(await importFile(file), main);
    } catch (error) {
      // `await` in a function that is not async: no module either, and the first error says it better.
      throw error instanceof SyntaxError && scriptError.message === AWAIT_OUTSIDE ? scriptError : error;
    }
  };

  // `function`, or `module.function` where the module is a path inside the archive that has no dot.
  const splitMain = (main) => {
    const match = /^(?:([^.]+)\.)?(.+)$/.exec(main);
    if (match === null) throw 'Name of main function is not valid.';
    return { index: match[1], name: match[2] };
  };

  const loadArchive = async (directory, main) => {
    const path = require('path');
    const { index, name } = splitMain(main);
    process.chdir(directory);
    const roots = ['package.json', 'index.js', 'index.mjs'];
    if (index === undefined && !roots.some((file) => existsSync(path.join(directory, file)))) {
      throw 'Zipped actions must contain either package.json or index.js at the root.';
    }
    const requireOfCode = require('module').createRequire(path.join(directory, 'package.json'));
    const entry = resolveEntry(requireOfCode, directory, index);
    try {
      return mainOfExports(requireOfCode(entry), name);
    } catch (error) {
      if (!isEsmRequireError(error)) throw error;
      return mainOfExports(await importFile(entry), name);
    }
  };

  // `require` looks for no .mjs by itself.
  const resolveEntry = (requireOfCode, directory, index) => {
    const wanted = require('path').join(directory, index || '');
    try {
      return requireOfCode.resolve(wanted);
    } catch (error) {
      const module = index === undefined ? require('path').join(directory, 'index.mjs') : `${wanted}.mjs`;
      if (existsSync(module)) return module;
      throw error;
    }
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

  const load = (init) => {
    if (!init.main || typeof init.main !== 'string' || !init.path || typeof init.path !== 'string') throw MISSING;
    setEnv(init.env);
    prepareOutput();
    concurrent = init.concurrency > 1;
    if (concurrent && calls === undefined) captureConsole();
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
      status = error === MISSING ? READY : STOPPED;
      if (error === MISSING) return initFailed('Missing main/no code to execute.');
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
    process.env = new Proxy(process.env, {
      get: (own, name) => (has(name) ? envOfCall()[name] : own[name]),
      has: (own, name) => has(name) || name in own,
      set: (own, name, value) => {
        if (has(name)) envOfCall()[name] = StringOf(value);
        else own[name] = value;
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
    });
  };

  // The variables of a call, which hide those of init.
  const setCallEnv = (body) => {
    const env = create(null);
    const names = keys(body);
    for (let i = 0; i < names.length; i += 1) {
      const name = names[i];
      if (name !== 'value' && typeof body[name] === 'string') env[envName(name)] = body[name];
    }
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
  const listen = () => {
    const net = require('net');
    socket = new net.Socket({ fd: SOCKET_FD, onread: { buffer: readBuffer, callback: onRead } });
    socketWrite = socket.write;
    socketResume = socket.resume;
    socket.on('end', () => die(EXIT_CLOSED));
    socket.on('close', () => die(EXIT_CLOSED));
    socket.on('error', () => die(EXIT_LOST));
  };

  // Walks the way of a first action, which is then neither loaded nor compiled any more, while no one waits for it.
  const warmUp = async () => {
    if (status !== READY || userMain !== undefined) return;
    prepareOutput();
    // A frame that is passed over.
    writeHead(scratch, CANCEL, 0, 0);
    onRead(HEADER_BYTES, scratch);
    readScript(__filename);
    const file = '/warm/up.js';
    const main = runScript(compileScript('function main(value) { return value; }', file, 'main'), file, 'main');
    const body = parse('{"value":{"a":"b"},"warm":"up"}');
    setCallEnv(body);
    setCallEnv({});
    encodeText(RESULT, 0, STATUS_OK, stringify(await main(body.value)));
    require('util').format('warm', body, 1);
    process.stdout.write('');
  };

  // HELLO goes first: what the proxy sends waits in the socket, and its work and ours overlap.
  sendHello();
  listen();
  setImmediate(warmUp);
})();
