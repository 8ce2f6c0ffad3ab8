'use strict';
const { FRAME_TEXTS, runScripts } = require('../../testing/cases.js');

const actions = {
  echo: 'def main(args): return args',
  large: `import os
def main(args):
    os.write(2, b".")
    return {"n": args["n"], "text": "x" * (1 << 20)}`,
  print: `import sys
def main(args):
    print(args["text"])
    print(args["text"], file=sys.stderr)
    return {}`,
  loading: `print("loading", end="")
def main(args):
    print("running", end="")
    return {}`,
  environment: `import os
def main(args): return {name: text for name, text in os.environ.items() if name.startswith("__OW_")}`,
};

const texts = {
  ...FRAME_TEXTS,
  twice: 'Cannot initialize the action more than once.',
  early: 'no action defined yet',
};

runScripts(require('./support.js'), { actions, texts });
