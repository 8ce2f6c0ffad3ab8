//! The languages that actions are written in: how their interpreters are found, what kinds they run, how they are started.

use std::path::{Path, PathBuf};

use triplane_model::runtimes::Runtime;

use super::found::Found;
use super::java::{self, java_arguments, java_kinds, java_preparation};
use super::kind::runtime;
use super::launcher::{LAUNCHERS, file, text};

/// A language whose launcher this platform brings along.
#[derive(Debug)]
pub(crate) struct Language {
    /// The family of its kinds.
    pub(crate) name: &'static str,
    /// What its interpreter is called.
    pub(crate) program: &'static str,
    /// Makes the interpreter say what it is.
    pub(crate) question: &'static [&'static str],
    /// How it says that.
    pub(crate) answer: Reading,
    /// The oldest version that the launcher works with: major, minor.
    pub(crate) oldest: (u32, u32),
    /// Whether the interpreter is one file that needs nothing but the system's libraries.
    pub(crate) is_one_file: bool,
    /// The files of the launcher, with their texts.
    pub(crate) files: &'static [(&'static str, &'static str)],
    kinds: fn(&Found) -> Vec<Runtime>,
    /// The commands that compile the launcher, to be run in its directory on the host.
    preparation: fn(&Found) -> Vec<Vec<String>>,
    /// Files of the host that what they make depends on, besides the launcher and the interpreter.
    pub(crate) prepared_with: &'static [&'static str],
    /// Directories of the host that the interpreter has its settings in.
    configuration: fn() -> Vec<PathBuf>,
    /// The arguments of its launcher, given where the launchers are and the memory in MB.
    arguments: fn(&Found, &Path, u64) -> Vec<String>,
    /// Variables that it needs besides every sandbox's, given the memory in MB.
    environment: fn(u64) -> Vec<String>,
}

/// How an interpreter says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Three lines on its output: its own path, its version, and the directory that it needs beside itself.
    Lines,
    /// Java's list of properties, on its error output.
    Properties,
}

/// All languages, in the order of the manifest.
pub(crate) const LANGUAGES: [Language; 7] = [
    Language {
        name: "nodejs",
        program: "node",
        question: &["-p", "`${process.execPath}\n${process.versions.node}\n`"],
        answer: Reading::Lines,
        oldest: (NODEJS_MAJOR, 0),
        is_one_file: true,
        files: &[("launcher.js", text!("nodejs/launcher.js")), ("loading.js", text!("nodejs/loading.js"))],
        kinds: nodejs_kinds,
        preparation: nothing,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: nodejs_arguments,
        environment: no_variables,
    },
    Language {
        name: "python",
        program: "python3",
        question: &[
            "-I",
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable), '%d.%d' % sys.version_info[:2], sys.base_prefix, sep='\\n')",
        ],
        answer: Reading::Lines,
        oldest: (3, 9),
        is_one_file: false,
        files: &[("launcher.py", text!("python/launcher.py"))],
        kinds: own_version,
        preparation: python_preparation,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: python_arguments,
        environment: no_variables,
    },
    Language {
        name: "ruby",
        program: "ruby",
        question: &[
            "--disable=gems",
            "-e",
            "require 'rbconfig'; puts File.realpath(RbConfig.ruby), RUBY_VERSION, RbConfig::CONFIG['prefix']",
        ],
        answer: Reading::Lines,
        oldest: (3, 0),
        is_one_file: false,
        files: &[("launcher.rb", text!("ruby/launcher.rb"))],
        kinds: own_version,
        preparation: nothing,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: ruby_arguments,
        environment: no_variables,
    },
    Language {
        name: "php",
        program: "php",
        // the launcher needs the extension FFI, which every Debian package of PHP has
        question: &[
            "-n",
            "-r",
            "extension_loaded('ffi') || @dl('ffi') || exit(1);
             echo realpath(PHP_BINARY), \"\n\", PHP_VERSION, \"\n\", dirname(PHP_BINDIR), \"\n\";",
        ],
        answer: Reading::Lines,
        oldest: (8, 1),
        is_one_file: false,
        files: &[("launcher.php", text!("php/launcher.php"))],
        kinds: own_version,
        preparation: nothing,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: php_arguments,
        environment: no_variables,
    },
    Language {
        name: "java",
        program: "java",
        question: &["-XshowSettings:properties", "-version"],
        answer: Reading::Properties,
        oldest: (11, 0),
        is_one_file: false,
        files: &java::FILES,
        kinds: java_kinds,
        preparation: java_preparation,
        prepared_with: &[java::GSON],
        configuration: java::configuration,
        arguments: java_arguments,
        environment: no_variables,
    },
    Language {
        name: "deno",
        program: "deno",
        question: &[
            "eval",
            "--no-config",
            "--no-lock",
            "console.log(`${Deno.execPath()}\\n${Deno.version.deno}`)",
        ],
        answer: Reading::Lines,
        oldest: (2, 9),
        is_one_file: true,
        files: &[("launcher.cjs", text!("deno/launcher.cjs"))],
        kinds: major_version,
        preparation: nothing,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: deno_arguments,
        environment: deno_environment,
    },
    Language {
        name: "bun",
        program: "bun",
        question: &["-e", "console.log(`${process.execPath}\\n${Bun.version}`)"],
        answer: Reading::Lines,
        oldest: (1, 4),
        is_one_file: true,
        files: &[("launcher.js", text!("bun/launcher.js"))],
        kinds: major_version,
        preparation: nothing,
        prepared_with: &[],
        configuration: Vec::new,
        arguments: bun_arguments,
        environment: bun_environment,
    },
];

/// The oldest Node.js that the launcher works with, and what most actions ask for.
const NODEJS_MAJOR: u32 = 20;

impl Language {
    /// The kinds that an interpreter runs.
    pub(crate) fn kinds(&self, found: &Found) -> Vec<Runtime> {
        (self.kinds)(found)
    }

    /// The commands that compile its launcher, to be run in the launcher's directory on the host.
    pub(crate) fn preparation(&self, found: &Found) -> Vec<Vec<String>> {
        (self.preparation)(found)
    }

    /// The directories of the host that its interpreter has its settings in.
    pub(crate) fn configuration(&self) -> Vec<PathBuf> {
        (self.configuration)()
    }

    /// The arguments that make its interpreter the launcher, for the place where the launchers are and so much memory.
    pub(crate) fn arguments(&self, found: &Found, launchers: &Path, memory_mb: u64) -> Vec<String> {
        (self.arguments)(found, launchers, memory_mb)
    }

    /// The variables that its interpreter needs besides those of every sandbox.
    pub(crate) fn environment(&self, memory_mb: u64) -> Vec<String> {
        (self.environment)(memory_mb)
    }
}

/// The language of that name.
pub(crate) fn language(name: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.name == name)
}

fn nodejs_kinds(found: &Found) -> Vec<Runtime> {
    let kind = |major: u32, default| runtime("nodejs", &major.to_string(), default);
    let mut kinds = vec![kind(NODEJS_MAJOR, true)];
    if found.version.0 != NODEJS_MAJOR {
        kinds.push(kind(found.version.0, false));
    }
    kinds
}

/// The version that is there, and no promise of another.
fn own_version(found: &Found) -> Vec<Runtime> {
    let (major, minor) = found.version;
    vec![runtime(found.language, &format!("{major}.{minor}"), true)]
}

/// Deno and Bun promise that a new minor version runs what the ones before ran.
fn major_version(found: &Found) -> Vec<Runtime> {
    vec![runtime(found.language, &found.version.0.to_string(), true)]
}

fn nodejs_arguments(_: &Found, launchers: &Path, memory_mb: u64) -> Vec<String> {
    // V8 sizes its heap by the machine's memory unless told. With the whole limit it collects garbage in time, and
    // what really needs more meets the kernel's limit first, which is reported as what it is.
    vec![format!("--max-old-space-size={memory_mb}"), file(launchers, "nodejs/launcher.js")]
}

fn nothing(_: &Found) -> Vec<Vec<String>> {
    Vec::new()
}

/// Python compiles a script at each start, which nearly doubles the time to its first word.
fn python_preparation(found: &Found) -> Vec<Vec<String>> {
    let compile = "import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)";
    let (program, place) = (found.path.to_string_lossy(), file(LAUNCHERS.as_ref(), "python/launcher.py"));
    let command = [&*program, "-I", "-S", "-c", compile, "launcher.py", "launcher.pyc", &place];
    vec![command.map(str::to_owned).into()]
}

fn python_arguments(_: &Found, launchers: &Path, _: u64) -> Vec<String> {
    let mut arguments: Vec<String> = ["-I", "-S", "-B", "-X", "utf8"].map(str::to_owned).into();
    arguments.push(file(launchers, "python/launcher.pyc"));
    arguments
}

fn ruby_arguments(_: &Found, launchers: &Path, _: u64) -> Vec<String> {
    let mut arguments: Vec<String> = ["--disable=gems", "-E", "UTF-8"].map(str::to_owned).into();
    arguments.push(file(launchers, "ruby/launcher.rb"));
    arguments
}

fn php_arguments(_: &Found, launchers: &Path, _: u64) -> Vec<String> {
    let flags = ["-n", "-d", "short_open_tag=0", "-d", "zend.assertions=-1"];
    let mut arguments: Vec<String> = flags.map(str::to_owned).into();
    arguments.push(file(launchers, "php/launcher.php"));
    arguments
}

/// Without its own permissions, since the sandbox is what holds an action, and without files that a project would have.
fn deno_arguments(_: &Found, launchers: &Path, memory_mb: u64) -> Vec<String> {
    let flags = ["run", "--quiet", "--allow-all", "--no-prompt", "--no-config", "--no-lock"];
    let mut arguments: Vec<String> = flags.map(str::to_owned).into();
    arguments.push(format!("--v8-flags=--max-old-space-size={memory_mb}"));
    arguments.push(file(launchers, "deno/launcher.cjs"));
    arguments
}

/// Nobody reads what it says about newer versions, and colours are nothing for logs.
fn deno_environment(_: u64) -> Vec<String> {
    ["DENO_NO_UPDATE_CHECK=1", "NO_COLOR=1"].map(str::to_owned).into()
}

fn bun_arguments(_: &Found, launchers: &Path, _: u64) -> Vec<String> {
    vec!["--no-install".to_owned(), file(launchers, "bun/launcher.js")]
}

/// It collects garbage by the memory that it believes the machine to have.
fn bun_environment(memory_mb: u64) -> Vec<String> {
    vec![format!("BUN_JSC_forceRAMSize={}", memory_mb << 20), "NO_COLOR=1".to_owned()]
}

fn no_variables(_: u64) -> Vec<String> {
    Vec::new()
}
