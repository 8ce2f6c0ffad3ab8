'use strict';
// TypeScript, where an interpreter reads it.
const assert = require('node:assert/strict');

module.exports = ({ describe, test, start, startAction }) => {
  const typed = (name, code, value, body) => test(name, async (t) => {
    const launcher = await startAction(t, code);
    const answer = await launcher.run(value);
    assert.deepEqual([answer.failed, answer.body, answer.stderr], [false, body, '']);
  });

  describe('TypeScript', () => {
    typed('may be a script', 'type A = { n: number };\nfunction main({ n }: A): A { return { n: n + 1 }; }', { n: 1 }, { n: 2 });
    typed('may be a module', 'import { join } from "node:path";\nexport const main = (a: { b: string }) => ({ c: join("a", a.b) });',
      { b: 'b' }, { c: 'a/b' });
    typed('may export by default', 'export default async (a: object): Promise<object> => ({ got: a });', { a: 1 }, { got: { a: 1 } });

    test('is loaded once, whether its function is exported or not', async (t) => {
      for (const code of ['function main(): object', 'export function main(): object', 'export default function (): object']) {
        const launcher = await start(t);
        const init = await launcher.init(`console.log('loading');\n${code} { return {}; }`);
        assert.deepEqual([init.failed, init.stdout], [false, 'loading\n']);
      }
    });

    test('may be an archive', async (t) => {
      const files = {
        'index.ts': 'import { two } from "./lib/two.ts"; export const main = (): object => ({ two });',
        'lib/two.ts': 'export const two: number = 2;',
      };
      const launcher = await startAction(t, files);
      assert.deepEqual((await launcher.run()).body, { two: 2 });
    });

    test('may be named by the entry of package.json', async (t) => {
      const files = {
        'package.json': '{"type":"module","main":"src/start.ts"}',
        'src/start.ts': 'export const main = (): object => ({ started: true });',
      };
      const launcher = await startAction(t, files);
      assert.deepEqual((await launcher.run()).body, { started: true });
    });
  });
};
