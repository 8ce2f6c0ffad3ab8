'use strict';
// How the code of an action becomes its main function. This runs before any code of the action, or as part of its init.

const { existsSync, mkdtempSync, readFileSync, writeFileSync } = require('fs');

const { create } = Object;
const { apply } = Reflect;
const { utf8Slice } = Buffer.prototype;
const StringOf = String;

/** The ways to load code in an interpreter; one that `takesTypes` reads TypeScript. */
module.exports = (interpreter) => {
  const AWAIT_OUTSIDE = 'await is only valid in async functions and the top level bodies of modules';
  const ESM_SYNTAX = [
    'Cannot use import statement outside a module',
    "Unexpected token 'export'",
    "Cannot use 'import.meta' outside a module",
    AWAIT_OUTSIDE,
  ];

  // What has types is no script either, and then nothing but the other parser knows whether it is right.
  const isModuleSyntax = (error) => interpreter.takesTypes ||
    (error instanceof SyntaxError && ESM_SYNTAX.some((text) => StringOf(error.message).includes(text)));

  const isEsmRequireError = (error) =>
    error !== null && typeof error === 'object' &&
    (error.code === 'ERR_REQUIRE_ESM' || error.code === 'ERR_REQUIRE_ASYNC_MODULE');

  const MODULES = interpreter.takesTypes ? ['.mjs', '.ts', '.mts'] : ['.mjs'];

  const importFile = (file) => import(require('url').pathToFileURL(file).href);

  // `a.b.c` of an object, or nothing.
  const member = (object, dotted) => {
    let value = object;
    for (const name of dotted.split('.')) {
      if (value === undefined || value === null) return undefined;
      value = value[name];
    }
    return value;
  };

  const mainOfExports = (exports, main) => {
    for (const candidate of [member(exports, main), member(exports && exports.default, main)]) {
      if (typeof candidate === 'function') return candidate;
    }
    if (main !== 'main') return undefined;
    return [exports, exports && exports.default].find((candidate) => typeof candidate === 'function');
  };

  // Stands in for `throw undefined`, which must not be taken for this.
  const MISSING = create(null);
  // A dotted name, so that it can stand in source text.
  const DOTTED_NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*(\.[\p{ID_Start}$_][\p{ID_Continue}$]*)*$/u;
  const SCOPE = ['exports', 'require', 'module', '__filename', '__dirname'];

  // Node.js warns when a script first calls `import()` that the way in which we allow it is experimental, which is
  // nothing for the log of an action.
  const hushLoaderWarning = () => {
    const { emitWarning } = process;
    process.emitWarning = (warning, ...rest) => {
      if (typeof warning === 'string' && warning.startsWith('vm.USE_MAIN_CONTEXT_DEFAULT_LOADER')) return;
      apply(emitWarning, process, [warning, ...rest]);
    };
  };

  let dynamicImport;

  const compile = (code, file) => {
    const vm = require('vm');
    if (dynamicImport === undefined) {
      dynamicImport = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER ?? ((specifier) => import(specifier));
      hushLoaderWarning();
    }
    return vm.compileFunction(code, SCOPE, { filename: file, importModuleDynamically: dynamicImport });
  };

  // A script as a function, which returns what `main` is in the scope of the script, as OpenWhisk finds it.
  const compileScript = (code, file, main) => {
    if (!DOTTED_NAME.test(main)) return compile(code, file);
    try {
      return compile(`${code}\n;try { return ${main}; } catch (e) { if (e.name !== 'ReferenceError') throw e; }`, file);
    } catch (error) {
      // The fault may be in the code, and then the error must not show ours.
      compile(code, file);
      throw error;
    }
  };

  const runScript = (script, file, main) => {
    const module = { exports: {}, id: file, filename: file, loaded: false, children: [], paths: [] };
    const requireOfCode = require('module').createRequire(file);
    const directory = require('path').dirname(file);
    const found = apply(script, module.exports, [module.exports, requireOfCode, module, file, directory]);
    module.loaded = true;
    return typeof found === 'function' ? found : mainOfExports(module.exports, main);
  };

  const readScript = (file) => {
    let code = apply(utf8Slice, readFileSync(file), []);
    if (code.charCodeAt(0) === 0xfeff) code = code.slice(1);
    return code.startsWith('#!') ? `//${code}` : code;
  };

  const loadScript = (file, main) => {
    const code = readScript(file);
    if (code === '') throw MISSING;
    let script;
    try {
      script = compileScript(code, file, main);
    } catch (error) {
      if (isModuleSyntax(error)) return loadModuleText(code, main, error);
      throw error;
    }
    return runScript(script, file, main);
  };

  // Only by its name does an interpreter know that a file is a module or has types, and the code's own directory is read-only.
  const importText = (code) => {
    const path = require('path');
    const directory = mkdtempSync(path.join(require('os').tmpdir(), 'action-'));
    const file = path.join(directory, interpreter.takesTypes ? 'action.ts' : 'action.mjs');
    writeFileSync(file, code);
    return importFile(file);
  };

  // The name under which a function that is not exported is exported, in code that has types.
  const FOUND = 'mainOfAction';
  const NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

  const loadModuleText = async (code, main, scriptError) => {
    try {
      const exported = interpreter.takesTypes && NAME.test(main) ? await importWith(code, main) : await importText(code);
      return typeof exported[FOUND] === 'function' ? exported[FOUND] : mainOfExports(exported, main);
    } catch (error) {
      // `await` in a function that is not async: no module either, and the first error says it better.
      throw error instanceof SyntaxError && scriptError.message === AWAIT_OUTSIDE ? scriptError : error;
    }
  };

  // What Deno and Bun throw for code that they cannot read or link, and so did not run.
  const isUnread = (error) => error instanceof SyntaxError || error instanceof AggregateError ||
    error?.code === 'ERR_MODULE_NOT_FOUND' || error?.name === 'BuildMessage';

  const importWith = async (code, main) => {
    try {
      return await importText(`${code}\nexport { ${main} as ${FOUND} };`);
    } catch (error) {
      // There is no such function, or the fault is in the code, and then the error must not show ours.
      if (isUnread(error)) return importText(code);
      throw error;
    }
  };

  // `function`, or `module.function` where the module is a path inside the archive that has no dot.
  const splitMain = (main) => {
    const match = /^(?:([^.]+)\.)?(.+)$/.exec(main);
    if (match === null) throw 'Name of main function is not valid.';
    return { index: match[1], name: match[2] };
  };

  const loadArchive = async (directory, main) => {
    const path = require('path');
    const { index, name } = splitMain(main);
    process.chdir(directory);
    const roots = ['package.json', 'index.js', ...MODULES.map((suffix) => `index${suffix}`)];
    if (index === undefined && !roots.some((file) => existsSync(path.join(directory, file)))) {
      throw 'Zipped actions must contain either package.json or index.js at the root.';
    }
    const requireOfCode = require('module').createRequire(path.join(directory, 'package.json'));
    const entry = resolveEntry(requireOfCode, directory, index);
    if (MODULES.includes(path.extname(entry))) return mainOfExports(await importFile(entry), name);
    try {
      return mainOfExports(requireOfCode(entry), name);
    } catch (error) {
      if (!isEsmRequireError(error)) throw error;
      return mainOfExports(await importFile(entry), name);
    }
  };

  // `require` looks for none of these by itself.
  const resolveEntry = (requireOfCode, directory, index) => {
    const path = require('path');
    try {
      return requireOfCode.resolve(path.join(directory, index || ''));
    } catch (error) {
      const module = MODULES.map((suffix) => path.join(directory, `${index ?? 'index'}${suffix}`)).find(existsSync);
      if (module !== undefined) return module;
      throw error;
    }
  };

  // Walks the way of a first script, and answers its main function.
  const rehearse = () => {
    readScript(__filename);
    const file = '/warm/up.js';
    return runScript(compileScript('function main(value) { return value; }', file, 'main'), file, 'main');
  };

  return { MISSING, loadArchive, loadScript, rehearse };
};
