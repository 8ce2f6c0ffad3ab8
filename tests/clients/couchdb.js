'use strict';
// A CouchDB for the tests of `triplane admin import`: PouchDB behind its HTTP API, in memory. Prints its port.

const express = require('express');
const PouchDB = require('pouchdb-core')
  .plugin(require('pouchdb-adapter-memory'))
  .plugin(require('pouchdb-mapreduce'))
  .plugin(require('pouchdb-replication'));

const databases = require('express-pouchdb')(PouchDB.defaults({ adapter: 'memory' }), {
  mode: 'minimumForPouchDB',
  inMemoryConfig: true,
  logPath: '/dev/null',
});
const server = express()
  .use('/', databases)
  .listen(0, '127.0.0.1', () => console.log(server.address().port));
