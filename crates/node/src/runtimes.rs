//! The runtimes of this node: which interpreters the host has, which kinds of action they run, and how they are started.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use triplane_model::runtimes::{Runtime, Runtimes};

use crate::protocol::SandboxSpec;

/// Where the launchers are inside a sandbox.
const LAUNCHERS: &str = "/triplane";
/// Where an interpreter is inside that is not among the host's system files.
const INTERPRETERS: &str = "/runtime";
/// Where the action's code is inside.
pub(crate) const ACTION: &str = "/action";
const NODEJS_LAUNCHER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/nodejs/launcher.js"));
/// The oldest Node.js that the launcher works with, and what most actions ask for.
const NODEJS_MAJOR: u32 = 20;
/// How long an interpreter may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(10);
const ENVIRONMENT: [&str; 3] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8"];

/// The interpreters that were found, each with its launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreters {
    nodejs: Option<NodeJs>,
    /// The host's directory of launchers.
    launchers: PathBuf,
}

/// A Node.js.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeJs {
    /// The binary itself, behind all links and scripts.
    pub path: PathBuf,
    /// Its major version.
    pub major: u32,
}

impl NodeJs {
    /// Where it is inside a sandbox: system files are in their place, anything else is shown alone.
    fn inside(&self) -> PathBuf {
        let system = ["/usr", "/bin", "/lib", "/lib64"].iter().any(|root| self.path.starts_with(root));
        if system { self.path.clone() } else { Path::new(INTERPRETERS).join("node") }
    }

    fn kinds(&self) -> Vec<Runtime> {
        let mut kinds = vec![nodejs(NODEJS_MAJOR, true)];
        if self.major != NODEJS_MAJOR {
            kinds.push(nodejs(self.major, false));
        }
        kinds
    }
}

impl Interpreters {
    /// Writes the launchers below `data`, and takes the first of these that is a Node.js of a sufficient version.
    ///
    /// # Errors
    /// When the launchers cannot be written.
    pub async fn find(data: &Path, nodejs: &[PathBuf]) -> io::Result<Self> {
        let launchers = data.join("runtimes").join("nodejs");
        let directory = launchers.clone();
        tokio::task::spawn_blocking(move || write_launcher(&directory)).await.map_err(io::Error::other)??;
        let mut found = None;
        for candidate in nodejs {
            match probe(candidate).await {
                Ok(Some(nodejs)) => {
                    found = Some(nodejs);
                    break;
                }
                Ok(None) => tracing::warn!(path = %candidate.display(), "Node.js is too old: 20 is needed"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %candidate.display(), %error, "Node.js cannot be used"),
            }
        }
        Ok(Self { nodejs: found, launchers })
    }

    /// The kinds that this node runs.
    #[must_use]
    pub fn manifest(&self) -> Runtimes {
        let nodejs = self.nodejs.iter().map(|nodejs| ("nodejs".to_owned(), nodejs.kinds()));
        Runtimes(nodejs.collect::<BTreeMap<_, _>>())
    }

    /// The Node.js that was found.
    #[must_use]
    pub fn nodejs(&self) -> Option<&NodeJs> {
        self.nodejs.as_ref()
    }

    /// What sandboxes must see: sources outside, targets inside.
    pub(crate) fn binds(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut binds = vec![(self.launchers.clone(), LAUNCHERS.into())];
        if let Some(nodejs) = &self.nodejs
            && nodejs.inside() != nodejs.path
        {
            binds.push((nodejs.path.clone(), nodejs.inside()));
        }
        binds
    }

    /// The sandbox of an action; `None` when this node does not run its kind.
    pub(crate) fn spec(&self, kind: &str, memory_mb: u64, processes_max: u64) -> Option<SandboxSpec> {
        let nodejs = self.nodejs.as_ref()?;
        self.manifest().find(kind)?;
        let arguments = vec![
            nodejs.inside().to_str()?.to_owned(),
            // V8 sizes its heap by the machine's memory unless told. With the whole limit it collects garbage in time, and
            // what really needs more meets the kernel's limit first, which is reported as what it is.
            format!("--max-old-space-size={memory_mb}"),
            format!("{LAUNCHERS}/launcher.js"),
        ];
        let environment = ENVIRONMENT.iter().map(ToString::to_string).collect();
        Some(SandboxSpec { arguments, environment, memory_mb, processes_max, code: None })
    }
}

/// Where Node.js usually is: the directories of `path` (as in `PATH`) in their order, then the common ones.
#[must_use]
pub fn nodejs_candidates(path: Option<&std::ffi::OsStr>) -> Vec<PathBuf> {
    let mut candidates: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).filter(|directory| directory.is_absolute()).collect())
        .unwrap_or_default();
    candidates.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    candidates.iter_mut().for_each(|directory| directory.push("node"));
    candidates
}

fn nodejs(major: u32, default: bool) -> Runtime {
    Runtime {
        kind: format!("nodejs:{major}"),
        image: format!("openwhisk/action-nodejs-v{major}:nightly"),
        deprecated: false,
        default,
        attached: true,
        require_main: false,
    }
}

/// Looks at a candidate; `None` when it is too old.
async fn probe(candidate: &Path) -> io::Result<Option<NodeJs>> {
    let mut path = fs::canonicalize(candidate)?;
    if !is_elf(&path)? {
        // a script that chooses one of several (nvm, asdf, nodenv): ask what it chooses, once
        path = fs::canonicalize(ask(&path, &["-p", "process.execPath"]).await?)?;
    }
    let version = ask(&path, &["--version"]).await?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    let major: u32 =
        major.ok_or_else(|| io::Error::other(format!("its version is no version: {version}")))?;
    Ok((major >= NODEJS_MAJOR).then_some(NodeJs { path, major }))
}

fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let read = fs::File::open(path)?.read(&mut magic)?;
    Ok(magic[..read] == *b"\x7fELF")
}

/// The first line that a program prints.
async fn ask(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_WITHIN, output).await??;
    if !output.status.success() {
        return Err(io::Error::other(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Replaces the launcher as a whole, so that no sandbox ever reads half of it.
fn write_launcher(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let (temporary, launcher) = (directory.join(".launcher.js"), directory.join("launcher.js"));
    fs::write(&temporary, NODEJS_LAUNCHER)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644))?;
    fs::rename(temporary, launcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreters(path: &str, major: u32) -> Interpreters {
        Interpreters {
            nodejs: Some(NodeJs { path: path.into(), major }),
            launchers: "/data/runtimes/nodejs".into(),
        }
    }

    #[test]
    fn nodejs_20_is_the_default_kind_and_a_newer_host_adds_its_own() {
        let kinds = |major| -> Vec<String> {
            let manifest = interpreters("/usr/bin/node", major).manifest();
            assert_eq!(manifest.resolve("nodejs:default").unwrap().kind, "nodejs:20");
            manifest.0["nodejs"].iter().map(|runtime| runtime.kind.clone()).collect()
        };
        assert_eq!(kinds(20), ["nodejs:20"]);
        assert_eq!(kinds(22), ["nodejs:20", "nodejs:22"]);
    }

    #[test]
    fn a_host_without_nodejs_runs_no_kinds() {
        let none = Interpreters { nodejs: None, launchers: "/data".into() };
        assert!(none.manifest().0.is_empty());
        assert!(none.spec("nodejs:20", 128, 64).is_none());
    }

    #[test]
    fn an_interpreter_outside_the_system_is_shown_alone() {
        let system = interpreters("/usr/bin/node", 20);
        assert_eq!(system.spec("nodejs:20", 128, 64).unwrap().arguments[0], "/usr/bin/node");
        assert_eq!(system.binds(), [("/data/runtimes/nodejs".into(), "/triplane".into())]);
        let cached = interpreters("/root/.cache/node/bin/node", 20);
        assert_eq!(cached.spec("nodejs:20", 128, 64).unwrap().arguments[0], "/runtime/node");
        assert_eq!(cached.binds()[1], ("/root/.cache/node/bin/node".into(), "/runtime/node".into()));
    }

    #[test]
    fn a_kind_of_another_version_is_not_run() {
        assert!(interpreters("/usr/bin/node", 20).spec("nodejs:22", 128, 64).is_none());
        assert!(interpreters("/usr/bin/node", 20).spec("python:3", 128, 64).is_none());
    }

    #[test]
    fn only_absolute_directories_of_the_path_are_candidates() {
        let candidates = nodejs_candidates(Some("/a:relative::/b".as_ref()));
        assert_eq!(
            candidates,
            ["/a/node", "/b/node", "/usr/local/bin/node", "/usr/bin/node"].map(PathBuf::from)
        );
    }
}
