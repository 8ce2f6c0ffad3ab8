'use strict';
// wskdebug puts an agent in the place of an action, and runs its calls in a container of the developer's.

const assert = require('node:assert/strict');
const { after, afterEach, before, test } = require('node:test');
const Docker = require('dockerode');
const WebSocket = require('ws');
const { Developer, call, code, deploy, exists, ow, until } = require('./support');

// Node.js has the arguments of a debugger only where wskdebug started it.
const WHERE = `function main({ name }) {
  const local = process.execArgv.some((argument) => argument.startsWith('--inspect'));
  return { hello: name, local };
}`;

const docker = new Docker();
const containers = () => docker.listContainers({ all: true, filters: { label: ['org.apache.wskdebug.action'] } });

let developer;
before(() => { developer = new Developer(); });
after(() => developer.leave());
afterEach(async () => {
  await developer.stop();
  for (const { namespace, name } of await ow.actions.list()) await ow.actions.delete(`/${namespace}/${name}`);
  for (const { name } of await ow.packages.list()) await ow.packages.delete(name);
});

test('calls go to the local container while it runs, and the action is itself again afterwards', async () => {
  await deploy('greet', WHERE);
  assert.deepEqual(await call('greet', { name: 'you' }), { hello: 'you', local: false });

  const session = await developer.debug('greet');
  assert.match(await code('greet'), /agent that forwards invocations/);
  assert.deepEqual(await call('greet', { name: 'you' }), { hello: 'you', local: true });
  const both = await Promise.all(['a', 'b'].map((name) => call('greet', { name })));
  assert.deepEqual(both, [{ hello: 'a', local: true }, { hello: 'b', local: true }]);
  const { activationId } = await ow.actions.invoke({ name: 'greet', params: { name: 'later' } });
  const record = await until('record', () => ow.activations.get(activationId).catch(() => undefined));
  assert.deepEqual(record.response.result, { hello: 'later', local: true });

  await session.stop();
  assert.equal(await code('greet'), WHERE);
  assert.deepEqual(await call('greet', { name: 'you' }), { hello: 'you', local: false });
  await until('end of the container', async () => (await containers()).length === 0);
});

// The conversation with the debugger of Node.js.
class Inspector {
  static async attach() {
    const [{ webSocketDebuggerUrl }] = await (await fetch('http://127.0.0.1:9229/json/list')).json();
    const socket = new WebSocket(webSocketDebuggerUrl);
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
    return new Inspector(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.sent = 0;
    socket.on('message', (data) => this.messages.push(JSON.parse(data)));
  }

  heard(what, matches) {
    return until(what, () => this.messages.find(matches));
  }

  async ask(method, params = {}) {
    this.sent += 1;
    const asked = this.sent;
    this.socket.send(JSON.stringify({ id: asked, method, params }));
    return (await this.heard(method, ({ id }) => id === asked)).result;
  }

  // The id of the script that has this source: one of the last.
  async script(source) {
    for (const { method, params } of [...this.messages].reverse()) {
      if (method !== 'Debugger.scriptParsed') continue;
      const { scriptSource } = await this.ask('Debugger.getScriptSource', { scriptId: params.scriptId });
      if (scriptSource.includes(source)) return params.scriptId;
    }
    throw new Error('there is no such script');
  }
}

test('a debugger stops a call at a breakpoint and sees its variables', async () => {
  await deploy('greet', WHERE);
  await developer.debug('greet');
  const inspector = await Inspector.attach();
  await inspector.ask('Debugger.enable');
  const scriptId = await inspector.script(WHERE);
  const lineNumber = WHERE.split('\n').findIndex((line) => line.includes('return'));
  await inspector.ask('Debugger.setBreakpoint', { location: { scriptId, lineNumber } });

  const answer = call('greet', { name: 'stopped' });
  const paused = await inspector.heard('pause', ({ method }) => method === 'Debugger.paused');
  const { callFrameId } = paused.params.callFrames[0];
  const { result } = await inspector.ask('Debugger.evaluateOnCallFrame', { callFrameId, expression: 'name' });
  assert.equal(result.value, 'stopped');
  await inspector.ask('Debugger.resume');
  assert.deepEqual(await answer, { hello: 'stopped', local: true });
  inspector.socket.close();
});

test('sources that are saved are what the next call runs, and are called as they are saved', async () => {
  await deploy('greet', WHERE);
  developer.write('greet.js', 'const os = require("os");\nexports.main = ({ name }) => ({ saved: name });\n');
  await developer.debug('greet', 'greet.js', '-P', '{"name":"watch"}');
  assert.deepEqual(await call('greet', { name: 'you' }), { saved: 'you' });
  developer.write('greet.js', 'const os = require("os");\nexports.main = ({ name }) => ({ savedAgain: name });\n');
  await until('call of what was saved', async () => {
    const activations = await ow.activations.list({ name: 'greet', docs: true, limit: 200 });
    return activations.some(({ response }) => response.result.savedAgain === 'watch');
  });
});

test('calls that do not meet the condition run the action where it was', async () => {
  await deploy('greet', WHERE);
  await developer.debug('greet', '-c', 'name === "odd"');
  assert.equal((await call('greet', { name: 'odd' })).local, true);
  assert.equal((await call('greet', { name: 'even' })).local, false);
});

test('without concurrent calls the agent passes calls on by the list of activations', async () => {
  await ow.packages.update({ name: 'tools', package: {} });
  await deploy('tools/greet', WHERE);
  const session = await developer.debug('tools/greet', '--disable-concurrency', '--cleanup');
  assert.ok(await exists('tools/greet_wskdebug_invoked'));
  assert.deepEqual(await call('tools/greet', { name: 'you' }), { hello: 'you', local: true });
  await session.stop();
  assert.equal(await code('tools/greet'), WHERE);
  for (const helper of ['original', 'invoked', 'completed']) assert.ok(!await exists(`tools/greet_wskdebug_${helper}`));
});

test('one that was killed leaves its agent, and the next one finds the action all the same', async () => {
  await deploy('greet', WHERE);
  await (await developer.debug('greet')).kill();
  assert.notEqual(await code('greet'), WHERE);
  const session = await developer.debug('greet');
  assert.match(session.output, /Agent was already installed, but backup is still present/);
  assert.deepEqual(await call('greet', { name: 'you' }), { hello: 'you', local: true });
  await session.stop();
  assert.equal(await code('greet'), WHERE);
});
