//! The runtimes of this node: which interpreters the host has, which kinds of action they run, and how they are started.

mod executable;
mod found;
mod java;
mod kind;
mod language;
mod launcher;
mod prepare;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use triplane_model::runtimes::Runtimes;

use crate::protocol::SandboxSpec;
pub use found::Found;
use language::{LANGUAGES, Language, language};
use launcher::LAUNCHERS;
use prepare::prepare;
use probe::Memory;
pub use probe::candidates;

/// Where an interpreter is inside that is one file and not among the host's system files.
const INTERPRETERS: &str = "/runtime";
/// Where the modules of Node.js actions are inside: there `require` looks for them by itself, and finds them by `NODE_PATH` for code
/// that is in no file.
const MODULES: &str = "/node_modules";
/// Where the action's code is inside.
pub(crate) const ACTION: &str = "/action";
const ENVIRONMENT: [&str; 3] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8"];
/// Directories of the host that every sandbox sees.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/lib", "/lib64"];

/// Where to look for the interpreters of each language, in this order.
pub type Candidates = BTreeMap<&'static str, Vec<PathBuf>>;

/// The usual places of all languages' interpreters, given the value of `PATH`.
#[must_use]
pub fn usual_places(path: Option<&std::ffi::OsStr>) -> Candidates {
    LANGUAGES.iter().map(|language| (language.name, candidates(language.program, path))).collect()
}

/// From where a launcher sees its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A sandbox with a root of its own.
    Sandbox,
    /// The host, also for sandboxes that have no such root.
    Host,
}

/// The interpreters that were found, each with its launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreters {
    found: Vec<Found>,
    /// The host's path of the launcher of executables.
    native: PathBuf,
    /// The host's directory of launchers.
    launchers: PathBuf,
    /// The host's directory of modules for Node.js actions.
    modules: Option<PathBuf>,
}

impl Interpreters {
    /// Writes the launchers below `data`, and takes of each language the first interpreter of a sufficient version.
    ///
    /// # Errors
    /// When the launchers cannot be written.
    pub async fn find(data: &Path, candidates: &Candidates, native: PathBuf) -> io::Result<Self> {
        // what sandboxes do not see: what is remembered of interpreters and compilers
        let own = data.join("runtimes");
        // a directory of the name that it has inside, because Java's archives hold relative paths
        let launchers = own.join("triplane");
        let directory = launchers.clone();
        tokio::task::spawn_blocking(move || write_launchers(&directory))
            .await
            .map_err(io::Error::other)??;
        let mut memory = Memory::open(&own);
        let mut found = Vec::new();
        for language in &LANGUAGES {
            let places = candidates.get(language.name).map_or(&[][..], Vec::as_slice);
            let Some(interpreter) = memory.first(language, places).await else { continue };
            if !interpreter.can_be_shown(data) {
                continue;
            }
            let stamp = own.join(format!("{}.prepared", language.name));
            match prepare(language, &interpreter, &launchers.join(language.name), &stamp).await {
                Ok(()) => found.push(interpreter),
                Err(error) => {
                    let path = interpreter.path.display();
                    tracing::warn!(%path, %error, "{} is not used: its launcher cannot be compiled", language.name);
                }
            }
        }
        memory.close();
        Ok(Self { found, native, launchers, modules: None })
    }

    /// With a directory of the host whose modules Node.js actions may require, such as those that OpenWhisk's images have.
    ///
    /// # Errors
    /// When it is no directory, or actions would see the platform's own data.
    pub fn with_modules(self, modules: Option<PathBuf>, data: &Path) -> io::Result<Self> {
        let Some(modules) = modules else { return Ok(self) };
        let modules = fs::canonicalize(&modules)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", modules.display())))?;
        if !modules.is_dir() || data.starts_with(&modules) {
            let error = format!("{} is no directory of modules that actions may see", modules.display());
            return Err(io::Error::other(error));
        }
        Ok(Self { modules: Some(modules), ..self })
    }

    /// The kinds that this node runs.
    #[must_use]
    pub fn manifest(&self) -> Runtimes {
        let interpreted =
            self.languages().map(|(language, found)| (language.name.to_owned(), language.kinds(found)));
        Runtimes(interpreted.chain(executable::families()).collect())
    }

    /// The interpreters.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// What sandboxes must see: sources outside, targets inside.
    #[must_use]
    pub fn binds(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut binds = vec![
            (self.launchers.clone(), LAUNCHERS.into()),
            (self.native.clone(), executable::LAUNCHER.into()),
        ];
        binds.extend(self.found.iter().filter_map(Found::bind));
        binds.extend(self.modules.iter().map(|modules| (modules.clone(), MODULES.into())));
        let needed = self.languages().flat_map(|(language, _)| language.configuration());
        binds.extend(needed.map(|directory| (directory.clone(), directory)));
        binds
    }

    /// The sandbox of an action; `None` when this node does not run its kind.
    #[must_use]
    pub fn spec(&self, kind: &str, memory_mb: u64, processes_max: u64, view: View) -> Option<SandboxSpec> {
        let native = match view {
            View::Sandbox => Path::new(executable::LAUNCHER),
            View::Host => &self.native,
        };
        let (arguments, variables) = match executable::arguments(kind, native) {
            Some(arguments) => (arguments, Vec::new()),
            None => self.interpreted(kind, memory_mb, view)?,
        };
        let environment = ENVIRONMENT.iter().map(ToString::to_string).chain(variables).collect();
        Some(SandboxSpec { arguments, environment, memory_mb, processes_max, code: None })
    }

    /// The command and the variables of a kind that needs an interpreter.
    fn interpreted(&self, kind: &str, memory_mb: u64, view: View) -> Option<(Vec<String>, Vec<String>)> {
        let (language, found) = self.of_kind(kind)?;
        let (program, launchers) = match view {
            View::Sandbox => (found.inside(), Path::new(LAUNCHERS)),
            View::Host => (found.path.clone(), &*self.launchers),
        };
        let mut arguments = vec![program.to_str()?.to_owned()];
        arguments.extend(language.arguments(found, launchers, memory_mb));
        let mut environment = language.environment(memory_mb);
        if let (Some(modules), "nodejs") = (&self.modules, language.name) {
            let modules = if view == View::Sandbox { Path::new(MODULES) } else { modules };
            environment.push(format!("NODE_PATH={}", modules.to_str()?));
        }
        Some((arguments, environment))
    }

    /// How the launcher of a kind is started on the host itself, without a sandbox, for measurements.
    #[must_use]
    pub fn outside(&self, kind: &str, memory_mb: u64) -> Option<Command> {
        let spec = self.spec(kind, memory_mb, 0, View::Host)?;
        let (program, arguments) = spec.arguments.split_first()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(spec.environment.iter().filter_map(|variable| variable.split_once('=')))
            // beside the launchers, as `/tmp` is inside
            .current_dir(self.launchers.with_file_name("tmp"));
        Some(command)
    }

    fn of_kind(&self, kind: &str) -> Option<(&'static Language, &Found)> {
        let runs =
            |language: &Language, found| language.kinds(found).iter().any(|runtime| runtime.kind == kind);
        self.languages().find(|(language, found)| runs(language, found))
    }

    fn languages(&self) -> impl Iterator<Item = (&'static Language, &Found)> {
        self.found.iter().filter_map(|found| Some((language(found.language)?, found)))
    }
}

impl Found {
    /// Where it is inside a sandbox: one file is shown alone, anything else keeps its place.
    fn inside(&self) -> PathBuf {
        match language(self.language) {
            Some(language) if language.is_one_file && !is_system(&self.path) => {
                Path::new(INTERPRETERS).join(language.program)
            }
            _ => self.path.clone(),
        }
    }

    /// What must be shown of it that sandboxes do not see anyway.
    fn bind(&self) -> Option<(PathBuf, PathBuf)> {
        let inside = self.inside();
        match inside == self.path {
            true => (!is_system(&self.path)).then(|| (self.home.clone(), self.home.clone())),
            false => Some((self.path.clone(), inside)),
        }
    }

    /// Whether its directory can be shown to actions: not if that would show the platform's own data, or everything.
    fn can_be_shown(&self, data: &Path) -> bool {
        let Some((outside, _)) = self.bind() else { return true };
        let is_safe = outside.components().count() > 2 && !data.starts_with(&outside);
        if !is_safe {
            let path = outside.display();
            tracing::warn!(%path, "{} is not used: actions would see all of this directory", self.language);
        }
        is_safe
    }
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|root| path.starts_with(root))
}

/// Replaces each file of the launchers as a whole, so that no sandbox ever reads half of one.
fn write_launchers(directory: &Path) -> io::Result<()> {
    make_directory(directory)?;
    // where they work outside of a sandbox
    make_directory(&directory.with_file_name("tmp"))?;
    for language in &LANGUAGES {
        let directory = directory.join(language.name);
        make_directory(&directory)?;
        for (name, text) in language.files {
            let temporary = directory.join(format!(".{name}"));
            fs::write(&temporary, text)?;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644))?;
            fs::rename(temporary, directory.join(name))?;
        }
    }
    Ok(())
}

fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(language: &'static str, path: &str, version: (u32, u32), home: &str) -> Found {
        Found { language, path: path.into(), version, home: home.into() }
    }

    fn interpreters(found: Vec<Found>) -> Interpreters {
        Interpreters {
            found,
            native: "/bin/triplane".into(),
            launchers: "/data/runtimes".into(),
            modules: None,
        }
    }

    fn nodejs(path: &str, major: u32) -> Interpreters {
        interpreters(vec![found("nodejs", path, (major, 1), "/usr")])
    }

    #[test]
    fn modules_are_shown_to_nodejs_and_are_no_others() {
        let directory = std::env::temp_dir();
        let modules = nodejs("/usr/bin/node", 20).with_modules(Some(directory.clone()), Path::new("/data"));
        let modules = modules.unwrap();
        let real = fs::canonicalize(&directory).unwrap();
        assert!(modules.binds().contains(&(real.clone(), MODULES.into())));
        let environment = |view| modules.spec("nodejs:20", 256, 1, view).unwrap().environment;
        assert!(environment(View::Sandbox).contains(&format!("NODE_PATH={MODULES}")));
        assert!(environment(View::Host).contains(&format!("NODE_PATH={}", real.display())));
        let with =
            |path: &Path, data: &Path| nodejs("/usr/bin/node", 20).with_modules(Some(path.into()), data);
        assert!(with(Path::new("/none"), Path::new("/data")).is_err());
        assert!(with(&directory, &real.join("data")).is_err(), "it would show the data");
    }

    #[test]
    fn nodejs_20_is_the_default_kind_and_a_newer_host_adds_its_own() {
        let kinds = |major| -> Vec<String> {
            let manifest = nodejs("/usr/bin/node", major).manifest();
            assert_eq!(manifest.resolve("nodejs:default").unwrap().kind, "nodejs:20");
            manifest.0["nodejs"].iter().map(|runtime| runtime.kind.clone()).collect()
        };
        assert_eq!(kinds(20), ["nodejs:20"]);
        assert_eq!(kinds(22), ["nodejs:20", "nodejs:22"]);
    }

    #[test]
    fn other_languages_have_the_version_of_the_host() {
        let python = interpreters(vec![found("python", "/usr/bin/python3.11", (3, 11), "/usr")]);
        assert_eq!(python.manifest().resolve("python:default").unwrap().kind, "python:3.11");
        assert_eq!(
            python.spec("python:3.11", 128, 64, View::Sandbox).unwrap().arguments[0],
            "/usr/bin/python3.11"
        );
        assert!(python.spec("python:3.10", 128, 64, View::Sandbox).is_none());
        assert!(python.spec("nodejs:20", 128, 64, View::Sandbox).is_none());
    }

    #[test]
    fn a_host_without_interpreters_runs_executables_only() {
        let none = interpreters(Vec::new());
        assert_eq!(none.manifest().0.into_keys().collect::<Vec<_>>(), ["go", "native", "rust"]);
        assert!(none.spec("nodejs:20", 128, 64, View::Sandbox).is_none());
        let go = none.spec("go:1.20", 128, 64, View::Sandbox).unwrap();
        assert_eq!(go.arguments, ["/runtime/triplane", "native-launcher", "loop"]);
    }

    #[test]
    fn an_interpreter_outside_the_system_is_shown_alone_or_with_its_directory() {
        let system = nodejs("/usr/bin/node", 20);
        assert_eq!(system.spec("nodejs:20", 128, 64, View::Sandbox).unwrap().arguments[0], "/usr/bin/node");
        assert_eq!(system.binds()[0], ("/data/runtimes".into(), "/triplane".into()));
        assert_eq!(system.binds().len(), 2, "and the launcher of executables");
        let cached = nodejs("/root/.cache/node/bin/node", 20);
        assert_eq!(cached.spec("nodejs:20", 128, 64, View::Sandbox).unwrap().arguments[0], "/runtime/node");
        assert_eq!(cached.binds()[2], ("/root/.cache/node/bin/node".into(), "/runtime/node".into()));
        let python = interpreters(vec![found("python", "/opt/py/bin/python3", (3, 12), "/opt/py")]);
        assert_eq!(
            python.spec("python:3.12", 128, 64, View::Sandbox).unwrap().arguments[0],
            "/opt/py/bin/python3"
        );
        assert_eq!(python.binds()[2], ("/opt/py".into(), "/opt/py".into()));
    }

    #[tokio::test]
    async fn sandboxes_see_launchers_and_nothing_that_is_remembered() {
        let data = std::env::temp_dir().join(format!("triplane-launchers-{}", std::process::id()));
        // the only one whose launcher is compiled without a compiler of its own
        let python = Candidates::from([("python", vec!["/usr/bin/python3".into()])]);
        let found = Interpreters::find(&data, &python, "/bin/triplane".into()).await.unwrap();
        let names = |directory: &Path| -> Vec<String> {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).collect()
        };
        let (shown, inside) = found.binds()[0].clone();
        assert_eq!(inside, Path::new(LAUNCHERS));
        let languages = LANGUAGES.iter().map(|language| language.name.to_owned()).collect();
        assert_eq!(BTreeSet::from_iter(names(&shown)), languages);
        if !found.found().is_empty() {
            let remembered = ["found.json", "python.prepared", "tmp", "triplane"].map(str::to_owned);
            assert_eq!(BTreeSet::from_iter(names(&data.join("runtimes"))), remembered.into());
            let launcher = ["launcher.py", "launcher.pyc"].map(str::to_owned);
            assert_eq!(BTreeSet::from_iter(names(&shown.join("python"))), launcher.into());
        }
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_command_has_the_hosts_paths_where_there_is_no_root() {
        let cached = nodejs("/root/.cache/node/bin/node", 20);
        let arguments = |kind| cached.spec(kind, 128, 64, View::Host).unwrap().arguments;
        assert_eq!(arguments("nodejs:20")[0], "/root/.cache/node/bin/node");
        assert_eq!(arguments("nodejs:20").last().unwrap(), "/data/runtimes/nodejs/launcher.js");
        assert_eq!(arguments("go:1.20"), ["/bin/triplane", "native-launcher", "loop"]);
    }

    #[test]
    fn an_interpreter_whose_directory_holds_the_platforms_data_is_not_used() {
        let data = Path::new("/srv/triplane");
        let in_home = |home| found("python", "/srv/bin/python3", (3, 11), home);
        assert!(in_home("/srv/python").can_be_shown(data));
        assert!(!in_home("/srv").can_be_shown(data));
        assert!(!in_home("/").can_be_shown(Path::new("/data")));
        assert!(!found("python", "/a/b/python3", (3, 11), "/srv/triplane").can_be_shown(&data.join("x")));
    }
}
