'use strict';
const { test } = require('node:test');
const { run } = require('../../testing/cases.js');
const { mapAction, start, startAction, suite } = require('./support.js');

const actions = {
  echo: mapAction('return args;'),
  large: mapAction(`new FileOutputStream(FileDescriptor.err).write('.');
    return Map.of("n", args.get("n"), "text", "x".repeat(1 << 20));`),
  print: mapAction(`System.out.println(args.get("text")); System.err.println(args.get("text")); return Map.of();`),
  loading: mapAction('System.out.print("running"); return Map.of();', 'static { System.out.print("loading"); }'),
  environment: mapAction(`Map<String, Object> found = new HashMap<>(System.getenv());
    found.keySet().removeIf(name -> !name.startsWith("__OW_"));
    if (!Objects.equals(System.getenv("__OW_NAMESPACE"), found.get("__OW_NAMESPACE"))) found.put("differs", true);
    return found;`),
};

const NOT_OBJECT = 'a frame is not a JSON object';
const texts = {
  notJson: NOT_OBJECT,
  notObject: NOT_OBJECT,
  twice: 'Cannot initialize the action more than once.',
  early: 'Cannot invoke an uninitialized action.',
};

run({
  suite,
  test,
  start,
  // A payload of 48 MB takes more than the memory that Java takes by itself.
  startAction: (t, name, options) => startAction(t, actions[name], { launcher: { flags: ['-Xmx1g'] }, ...options }),
  codeOf: (name) => ({ code: actions[name].files(), main: actions[name].main }),
  texts,
});
