'use strict';

exports.hello = (args) => ({ hello: args.name });
exports.shout = (args) => ({ shout: `${args.hello.toUpperCase()}!` });
