'use strict';
// What the suites share: the server under test, names of their own, waiting, archives.

const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const zlib = require('node:zlib');
const openwhisk = require('openwhisk');

const DEADLINE_MS = 60_000;
const POLL_MS = 50;

const required = (name, example) => {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}, for example ${example}`);
  return value;
};

const URL_UNDER_TEST = required('TRIPLANE_URL', 'http://127.0.0.1:3233');
const AUTH = required('TRIPLANE_AUTH', 'uuid:key');

// An unmodified npm client.
const client = (options = {}) => openwhisk({ apihost: URL_UNDER_TEST, api_key: AUTH, ...options });

const unique = (what) => `${what}-${randomBytes(6).toString('hex')}`;

// Polls until something is there; what throws or is false is not.
const until = async (what, probe) => {
  const deadline = Date.now() + DEADLINE_MS;
  let last;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`no ${what} in time`, { cause: last });
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
};

const deleteLater = (t, name) => t.after(async () => {
  await client().actions.delete({ name }).catch((error) => {
    if (error.statusCode !== 404) throw error;
  });
});

// Creates an action that goes with the test; answers its name.
const createAction = async (t, action, options = {}) => {
  const name = options.name ?? unique('action');
  deleteLater(t, name);
  await client().actions.create({ name, action, ...options });
  return name;
};

// What a promise was rejected with.
const rejection = async (promise) => {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
};

const annotation = (entity, key) => entity.annotations.find((item) => item.key === key)?.value;

// --- archives ---------------------------------------------------------------------------------------------------------
// Names to contents of all files below a directory.
const tree = (root, prefix) => Object.fromEntries(
  fs.readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .map((file) => [path.posix.join(prefix, path.relative(root, file)), fs.readFileSync(file)]));

// A zip archive of files: names to contents.
const zip = (files) => {
  const entries = Object.entries(files).map(([name, content]) => zipEntry(name, Buffer.from(content)));
  let offset = 0;
  const directory = entries.map(({ fields, name, local }) => {
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    head.writeUInt16LE(0x0314, 4);
    fields.copy(head, 6);
    head.writeUInt32LE((0o100644 << 16) >>> 0, 38);
    head.writeUInt32LE(offset, 42);
    offset += local.length;
    return Buffer.concat([head, name]);
  });
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.reduce((sum, bytes) => sum + bytes.length, 0), 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...entries.map(({ local }) => local), ...directory, end]);
};

const zipEntry = (text, content) => {
  const name = Buffer.from(text);
  const packed = zlib.deflateRawSync(content);
  // Version, flags, method, time, date, checksum, sizes, length of the name, length of the extra field.
  const fields = Buffer.alloc(26);
  fields.writeUInt16LE(20, 0);
  fields.writeUInt16LE(8, 4);
  fields.writeUInt16LE(0x21, 8);
  fields.writeUInt32LE(zlib.crc32(content), 10);
  fields.writeUInt32LE(packed.length, 14);
  fields.writeUInt32LE(content.length, 18);
  fields.writeUInt16LE(name.length, 22);
  const signature = Buffer.from([0x50, 0x4b, 0x03, 0x04]);
  return { fields, name, local: Buffer.concat([signature, fields, name, packed]) };
};

// --- plain requests ---------------------------------------------------------------------------------------------------
// Sends one request as it is given; `body` may be text or a value. Answers status, headers, text, and the JSON in it.
const request = (method, target, { auth = AUTH, headers = {}, body } = {}) => new Promise((resolve, reject) => {
  const text = body === undefined || typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  const sent = http.request(new URL(target, URL_UNDER_TEST), {
    method,
    agent: false,
    timeout: DEADLINE_MS,
    headers: {
      ...(auth === null ? {} : { Authorization: `Basic ${Buffer.from(auth).toString('base64')}` }),
      ...(text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
      ...headers,
    },
  });
  sent.on('timeout', () => sent.destroy(new Error(`${method} ${target} had no answer in time`)));
  sent.on('error', reject);
  sent.on('response', (response) => {
    const pieces = [];
    response.on('data', (piece) => pieces.push(piece));
    response.on('error', reject);
    response.on('end', () => {
      const answer = Buffer.concat(pieces).toString();
      const isJson = answer !== '' && /^application\/json/.test(response.headers['content-type'] ?? '');
      resolve({
        status: response.statusCode,
        headers: response.headers,
        text: answer,
        json: isJson ? JSON.parse(answer) : undefined,
      });
    });
  });
  sent.end(text);
});

module.exports = {
  AUTH, URL_UNDER_TEST, annotation, client, createAction, deleteLater, rejection, request, tree, unique, until, zip,
};
