'use strict';
// The launcher of the Deno runtime: that of Node.js, whose modules Deno has, with what is different here. See README.md.

const { SOCKET_FD, common, launch, replaceConsole } = require('../nodejs/launcher.js');

const { defineProperty } = Object;

// Deno has no synchronous way to write to a descriptor that it did not open itself, and none to keep one from programs that
// an action starts.
const { symbols: { fcntl, write } } = Deno.dlopen('libc.so.6', {
  fcntl: { parameters: ['i32', 'i32', 'i32'], result: 'i32' },
  write: { parameters: ['i32', 'buffer', 'usize'], result: 'isize' },
});

// The same wherever Linux is.
const F_SETFD = 2;
const FD_CLOEXEC = 1;

// What Deno has beside `process.env`.
const showEnv = (env) => {
  process.env = env;
  const { Command, env: own } = Deno;
  const shown = {
    get: (name) => env[name],
    has: (name) => name in env,
    set: (name, value) => {
      env[name] = value;
    },
    delete: (name) => {
      delete env[name];
    },
    toObject: () => ({ ...env }),
  };
  defineProperty(Deno, 'env', { value: { ...own, ...shown } });
  // Programs that an action starts inherit the process's own.
  defineProperty(Deno, 'Command', {
    value: class extends Command {
      constructor(program, options = {}) {
        super(program, options.clearEnv ? options : { ...options, env: { ...env, ...options.env } });
      }
    },
  });
};

fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
launch({
  ...common,
  takesTypes: true,
  // What it does not take, or says that there is no socket, the socket will find out.
  write: (bytes, count) => {
    const sent = Number(write(SOCKET_FD, bytes, BigInt(count)));
    return sent > 0 ? sent : 0;
  },
  captureConsole: replaceConsole,
  // `process.env` itself asks `Deno.env`, which is replaced.
  ownEnv: () => Deno.env.toObject(),
  showEnv,
});
