'use strict';
const { FRAME_TEXTS, runScripts } = require('../../testing/cases.js');

const actions = {
  echo: '<?php function main(array $args) { return $args; }',
  large: `<?php function main(array $args) {
    fwrite(STDERR, "."); return ["n" => $args["n"], "text" => str_repeat("x", 1 << 20)];
  }`,
  print: `<?php function main(array $args) {
    echo $args["text"], "\\n"; fwrite(STDERR, $args["text"] . "\\n"); return [];
  }`,
  loading: '<?php echo "loading"; function main(array $args) { echo "running"; return []; }',
  environment: `<?php function main(array $args) {
    return array_filter(getenv(), fn ($name) => str_starts_with($name, "__OW_"), ARRAY_FILTER_USE_KEY);
  }`,
};

const texts = {
  ...FRAME_TEXTS,
  twice: 'Cannot initialize the action more than once.',
  early: 'no action defined yet',
};

runScripts(require('./support.js'), { actions, texts });
