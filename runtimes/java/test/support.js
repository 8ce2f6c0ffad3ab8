'use strict';
// The Java launcher under test, and the compiling of it and of actions.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, after } = require('node:test');
const { driver, ...protocol } = require('../../testing/launcher.js');

const SOURCES = path.join(__dirname, '..');
const DEBIAN_GSON = '/usr/share/java/gson.jar';
// As README.md recommends, without an archive of classes.
const FLAGS = [
  '-XX:+IgnoreUnrecognizedVMOptions', '-XX:+UseSerialGC', '-XX:-UsePerfData', '-Xlog:disable',
  '-XX:+UnlockDiagnosticVMOptions', '-XX:ArchiveRelocationMode=0',
  '-Dfile.encoding=UTF-8', '-Dstdout.encoding=UTF-8', '-Dstderr.encoding=UTF-8',
  ...['java.io', 'java.util', 'sun.nio.ch'].flatMap((name) => ['--add-opens', `java.base/${name}=ALL-UNNAMED`]),
];
// The first is README.md's too; the others make the compiler start faster.
const COMPILE_FLAGS = [
  '-XDstringConcat=inline', '-encoding', 'UTF-8', '-J-XX:TieredStopAtLevel=1', '-J-XX:+UseSerialGC',
];

// The JDK that TRIPLANE_JAVA names, or the one that is found; its tools are beside the binary itself.
const findJava = () => {
  const places = process.env.TRIPLANE_JAVA
    ? [process.env.TRIPLANE_JAVA]
    : process.env.PATH.split(path.delimiter).map((directory) => path.join(directory, 'java'));
  const found = places.find((place) => fs.existsSync(place));
  return found && fs.realpathSync(found);
};

const JAVA = findJava();
const tool = (name) => path.join(path.dirname(JAVA), name);
const GSON = [process.env.TRIPLANE_GSON ?? DEBIAN_GSON].find((file) => fs.existsSync(file));
const noJdk = (!JAVA || !fs.existsSync(tool('javac'))) && 'there is no JDK: set TRIPLANE_JAVA to the java of one';
const noGson = !GSON && `there is no gson: install libgoogle-gson-java, or set TRIPLANE_GSON to the jar`;

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'java-launcher-test-'));
after(() => fs.rmSync(temporary, { recursive: true, force: true }));

const once = (make) => {
  let made;
  return () => (made ??= make());
};

const javac = (target, classPath, files, flags = []) =>
  execFileSync(tool('javac'), [...COMPILE_FLAGS, ...flags, '-cp', classPath.join(':'), '-d', target, ...files],
    { encoding: 'utf8', stdio: 'pipe' });

const launcherSources = () =>
  fs.readdirSync(SOURCES).filter((name) => name.endsWith('.java')).map((name) => path.join(SOURCES, name));

const filesBelow = (root, directory = '') => Object.fromEntries(
  fs.readdirSync(path.join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .map((file) => [path.relative(root, file), fs.readFileSync(file)]),
);

let projects = 0;

// Actions that are compiled together when the first is needed: a compiler takes longer to start than to compile.
class Project {
  constructor({ classPath = [], sources = {}, others = () => [] } = {}) {
    projects += 1;
    this.directory = path.join(temporary, `project-${projects}`);
    this.classPath = classPath;
    this.sources = sources;
    this.others = others;
    this.actions = 0;
    this.classes = once(() => this.compile());
  }

  // An action of one class with these members.
  action(members, { imports = '', modifiers = 'public' } = {}) {
    this.actions += 1;
    const name = `a${this.actions}`;
    this.sources[`${name}/Action.java`] = `package ${name};
      import java.io.*; import java.util.*; ${imports}
      ${modifiers} class Action { ${members} }`;
    return { main: `${name}.Action`, files: once(() => filesBelow(this.classes(), name)) };
  }

  compile() {
    const files = Object.entries(this.sources).map(([name, text]) => {
      const file = path.join(this.directory, 'sources', name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text);
      return file;
    });
    const target = path.join(this.directory, 'classes');
    javac(target, this.classPath, [...files, ...this.others()], ['--release', '11']);
    return target;
  }
}

// With the launcher itself, for which it is the same.
const plain = new Project({ others: launcherSources });

// Where the classes of the launcher are, and nothing else.
const launcherClasses = once(() => {
  const target = path.join(temporary, 'launcher');
  fs.mkdirSync(target);
  fs.renameSync(path.join(plain.classes(), 'triplane'), path.join(target, 'triplane'));
  return target;
});

// Starts launchers with a class path behind their own, and flags beside ours.
const launcher = ({ classPath = [], flags = [] } = {}) => driver([
  JAVA, ...FLAGS, ...flags, '-cp', [launcherClasses(), ...classPath].join(':'), 'triplane.Launcher',
]);

// An action with `main` from map to map, whose body this is.
const mapAction = (body, members = '') => plain.action(`${members}
  public static Map<String, Object> main(Map<String, Object> args) throws Exception { ${body} }`);

// As the driver's, for what `action` made, and with the launcher compiled when the first test runs.
const start = (t, options) => launcher(options).start(t);
const startAction = (t, { main, files }, { launcher: options, ...init } = {}) =>
  launcher(options).startAction(t, files(), { main, ...init });

const suite = (name, body) => describe(name, { skip: noJdk }, body);

module.exports = {
  ...protocol, FLAGS, GSON, JAVA, Project, driver, filesBelow, javac, launcher, launcherClasses, launcherSources,
  mapAction, noGson, noJdk, plain, start, startAction, suite, temporary, tool,
};
