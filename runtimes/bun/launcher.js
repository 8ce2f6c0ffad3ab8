'use strict';
// The launcher of the Bun runtime: that of Node.js, whose modules Bun has, with what is different here. See README.md.

const { SOCKET_FD, common, launch, replaceConsole } = require('../nodejs/launcher.js');

const { apply } = Reflect;
const { connect, env: ownEnv } = Bun;

// Node.js's sockets are made of Bun's here, but do not take a descriptor with a buffer of ours.
const listen = (buffer, onRead, onEnd) => {
  // What was not taken at once: bytes, and whom to tell when they are sent.
  const waiting = [];
  let socket;
  let write;
  const flush = () => {
    while (socket !== undefined && waiting.length > 0) {
      const { bytes, done } = waiting[0];
      const sent = apply(write, socket, [bytes]);
      if (sent < 0) return onEnd(new Error('the socket is closed'));
      if (sent < bytes.length) {
        waiting[0].bytes = bytes.subarray(sent);
        return undefined;
      }
      waiting.shift();
      done();
    }
    return undefined;
  };
  const handlers = {
    open(opened) {
      ({ write } = opened);
      socket = opened;
      flush();
    },
    data(opened, bytes) {
      if (!onRead(bytes.length, bytes)) opened.pause();
    },
    drain: flush,
    end: () => onEnd(),
    close: () => onEnd(),
    error: (_, error) => onEnd(error),
    connectError: (_, error) => onEnd(error),
  };
  connect({ fd: SOCKET_FD, socket: handlers });
  return {
    write: (bytes, done) => {
      waiting[waiting.length] = { bytes, done };
      if (waiting.length === 1) flush();
    },
    resume: () => socket.resume(),
  };
};

// Programs that Bun starts inherit the environment of its own start, whatever was set since.
const showEnv = (env) => {
  process.env = env;
  for (const name of ['spawn', 'spawnSync']) {
    const start = Bun[name];
    Bun[name] = (command, options) => (Array.isArray(command)
      ? start(command, { env: { ...env }, ...options })
      : start({ env: { ...env }, ...command }));
  }
};

// `Bun.env` is what `process.env` was, and cannot be replaced: it shows the call that began last.
const keepEnv = (env, last) => {
  for (const name in last) if (!(name in env)) delete ownEnv[name];
  for (const name in env) if (env[name] !== last[name]) ownEnv[name] = env[name];
};

// The same wherever Linux is.
const F_SETFL = 4;

// Bun sets pipes to not block, for the programs that an action starts too, which then lose what does not fit into a pipe.
const prepareOutput = () => {
  const { symbols: { fcntl } } = require('bun:ffi').dlopen('libc.so.6', {
    fcntl: { args: ['int', 'int', 'int'], returns: 'int' },
  });
  process.stdout.write('');
  process.stderr.write('');
  fcntl(1, F_SETFL, 0);
  fcntl(2, F_SETFL, 0);
};

launch({
  ...common,
  takesTypes: true,
  listen,
  prepareOutput,
  captureConsole: replaceConsole,
  showEnv,
  keepEnv,
});
