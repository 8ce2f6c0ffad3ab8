'use strict';
// What the published Node.js images serve (openwhisk-api.md 11.6): code runs in the server's own process, the markers come
// before the answer, an action that throws ends the use of the container.

const http = require('node:http');

// Actions are made in the global scope, and may require.
globalThis.require = require;

const MARKER = 'XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX';
const OVERLAPS = process.env.__OW_ALLOW_CONCURRENT === 'true';

let status = 'ready';
let action;

const mark = () => {
  console.log(MARKER);
  console.error(MARKER);
};

const init = ({ value = {} }) => {
  if (action) return [403, { error: 'Cannot initialize the action more than once.' }];
  if (status !== 'ready') return [403, { error: `System not ready, status is ${status}.` }];
  if (typeof value.main !== 'string' || typeof value.code !== 'string') {
    return [403, { error: 'Missing main/no code to execute.' }];
  }
  Object.assign(process.env, value.env);
  try {
    action = (0, eval)(`(function(){${value.code}\nreturn ${value.main}})()`);
    if (typeof action !== 'function') throw new Error(`Action entrypoint '${value.main}' is not a function.`);
    return [200, { OK: true }];
  } catch (error) {
    action = undefined;
    status = 'stopped';
    console.error('Error during initialization:', error);
    mark();
    return [502, { error: `Initialization has failed due to: ${error.stack ?? error}` }];
  }
};

// What the action throws is thrown; a promise that it rejects is a result with an error.
const answer = async (value) => {
  const result = action(value);
  try {
    return (await result) ?? {};
  } catch (error) {
    const { name, message, stack } = error ?? {};
    return { error: error instanceof Error ? { name, message, stack } : error ?? {} };
  }
};

const run = async ({ value, ...call }) => {
  if (!action) return [403, { error: 'System not initialized.' }];
  if (status !== 'ready' && !OVERLAPS) return [403, { error: `System not ready, status is ${status}.` }];
  if (!OVERLAPS) status = 'running';
  for (const [key, text] of Object.entries(call)) process.env[`__OW_${key.toUpperCase()}`] = text;
  try {
    const result = await answer(value);
    status = 'ready';
    if (typeof result === 'object') return [200, result];
    console.error(`Result must be of type object but has type "${typeof result}":`, result);
    return [502, { error: 'The action did not return a dictionary.' }];
  } catch (error) {
    console.error(error);
    status = 'stopped';
    return [502, { error: `An error has occurred: ${error}` }];
  } finally {
    mark();
  }
};

const ROUTES = { '/init': init, '/run': run };

http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const route = ROUTES[request.url];
    const [code, body] = route ? await route(JSON.parse(Buffer.concat(chunks))) : [500, { error: 'Bad request.' }];
    const text = JSON.stringify(body);
    const head = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(text) };
    response.writeHead(code, head).end(text);
  });
}).listen(8080);
