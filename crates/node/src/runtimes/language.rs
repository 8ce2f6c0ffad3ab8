//! The languages that actions are written in: how their interpreters are found, what kinds they run, how they are started.

use triplane_model::runtimes::Runtime;

use super::probe::Found;
use super::{LAUNCHERS, runtime};

/// A language whose launcher this platform brings along.
#[derive(Debug)]
pub(crate) struct Language {
    /// The family of its kinds.
    pub(crate) name: &'static str,
    /// What its interpreter is called.
    pub(crate) program: &'static str,
    /// Makes the interpreter print three lines: its own path, its version, and the directory that it needs beside itself.
    pub(crate) question: &'static [&'static str],
    /// The oldest version that the launcher works with: major, minor.
    pub(crate) oldest: (u32, u32),
    /// Whether the interpreter is one file that needs nothing but the system's libraries.
    pub(crate) is_one_file: bool,
    /// The files of the launcher, with their texts.
    pub(crate) files: &'static [(&'static str, &'static str)],
    kinds: fn(&Found) -> Vec<Runtime>,
    arguments: fn(&Found, u64) -> Vec<String>,
}

macro_rules! launcher {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/", $path))
    };
}

/// All languages, in the order of the manifest.
pub(crate) const LANGUAGES: [Language; 4] = [
    Language {
        name: "nodejs",
        program: "node",
        question: &["-p", "`${process.execPath}\n${process.versions.node}\n`"],
        oldest: (NODEJS_MAJOR, 0),
        is_one_file: true,
        files: &[("launcher.js", launcher!("nodejs/launcher.js"))],
        kinds: nodejs_kinds,
        arguments: nodejs_arguments,
    },
    Language {
        name: "python",
        program: "python3",
        question: &[
            "-I",
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable), '%d.%d' % sys.version_info[:2], sys.base_prefix, sep='\\n')",
        ],
        oldest: (3, 9),
        is_one_file: false,
        files: &[("launcher.py", launcher!("python/launcher.py"))],
        kinds: own_version,
        arguments: python_arguments,
    },
    Language {
        name: "ruby",
        program: "ruby",
        question: &[
            "--disable=gems",
            "-e",
            "require 'rbconfig'; puts File.realpath(RbConfig.ruby), RUBY_VERSION, RbConfig::CONFIG['prefix']",
        ],
        oldest: (2, 7),
        is_one_file: false,
        files: &[("launcher.rb", launcher!("ruby/launcher.rb"))],
        kinds: own_version,
        arguments: ruby_arguments,
    },
    Language {
        name: "php",
        program: "php",
        question: &[
            "-n",
            "-r",
            "echo realpath(PHP_BINARY), \"\\n\", PHP_VERSION, \"\\n\", dirname(PHP_BINDIR), \"\\n\";",
        ],
        oldest: (8, 0),
        is_one_file: false,
        files: &[("launcher.php", launcher!("php/launcher.php"))],
        kinds: own_version,
        arguments: php_arguments,
    },
];

/// The oldest Node.js that the launcher works with, and what most actions ask for.
const NODEJS_MAJOR: u32 = 20;

impl Language {
    /// The kinds that an interpreter runs.
    pub(crate) fn kinds(&self, found: &Found) -> Vec<Runtime> {
        (self.kinds)(found)
    }

    /// The command of its launcher inside a sandbox with so much memory.
    pub(crate) fn arguments(&self, found: &Found, memory_mb: u64) -> Vec<String> {
        (self.arguments)(found, memory_mb)
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

fn nodejs_arguments(_: &Found, memory_mb: u64) -> Vec<String> {
    // V8 sizes its heap by the machine's memory unless told. With the whole limit it collects garbage in time, and
    // what really needs more meets the kernel's limit first, which is reported as what it is.
    vec![format!("--max-old-space-size={memory_mb}"), inside("nodejs", "launcher.js")]
}

fn python_arguments(_: &Found, _: u64) -> Vec<String> {
    let mut arguments: Vec<String> = ["-I", "-S", "-B", "-X", "utf8"].map(str::to_owned).into();
    arguments.push(inside("python", "launcher.py"));
    arguments
}

fn ruby_arguments(_: &Found, _: u64) -> Vec<String> {
    vec!["--disable=gems".to_owned(), inside("ruby", "launcher.rb")]
}

fn php_arguments(_: &Found, _: u64) -> Vec<String> {
    vec!["-n".to_owned(), inside("php", "launcher.php")]
}

/// Where a file of a launcher is inside a sandbox.
fn inside(language: &str, file: &str) -> String {
    format!("{LAUNCHERS}/{language}/{file}")
}
