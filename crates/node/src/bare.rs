//! What the spawner does for sandboxes without namespaces: a directory for each instead of a `/tmp`, and an end to what outlives
//! its first process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

use crate::cgroup::pause;
use crate::protocol::{Config, SandboxSpec};
use crate::sandbox::template;
use crate::sys::{self, Cloned, SingleThreaded};

/// How often what outlives a sandbox is looked for at once; a generation of it ends each time.
const GENERATIONS_MAX: u32 = 1000;

/// The directories of this spawner's sandboxes.
#[derive(Debug)]
pub(crate) struct Bare {
    root: PathBuf,
    code: PathBuf,
    /// Processes that remove directories.
    removals: Vec<(i32, OwnedFd)>,
}

impl Bare {
    /// Removes what dead spawners left, and makes this process the parent of whatever loses its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn start(config: &Config) -> io::Result<Self> {
        let (root, code) = (PathBuf::from(&config.root), PathBuf::from(&config.code_root));
        let bare = Self { root, code, removals: Vec::new() };
        bare.remove_homes()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(bare)
    }

    /// Removes the directories of all sandboxes, which must have ended.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove_homes(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.root) {
            // whoever has removed all of it has removed these too
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        entries.flatten().filter(is_home).try_for_each(|home| remove(&home.path()))
    }

    /// The directory of a sandbox.
    pub(crate) fn home(&self, number: u64) -> PathBuf {
        self.root.join(number.to_string())
    }

    /// Makes it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn make_home(&self, number: u64) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(self.home(number))
    }

    /// Removes it, in a process of its own: it may hold a lot.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn remove_home(&mut self, proof: &SingleThreaded, number: u64) -> io::Result<()> {
        match proof.clone_with(0)? {
            Cloned::Child => {
                // as if it were not there: other ends of what is open here wait for these to close
                let closed = sys::close_from(0);
                let removed = closed.and_then(|()| remove(&self.home(number)));
                sys::exit_now(i32::from(removed.is_err()))
            }
            Cloned::Parent { pid, pidfd } => self.removals.push((pid, pidfd)),
        }
        Ok(())
    }

    /// The specification with its directory as its home, and for its temporary files.
    pub(crate) fn at_home(&self, spec: &SandboxSpec, number: u64) -> SandboxSpec {
        let home = self.home(number).display().to_string();
        let mut spec = spec.clone();
        spec.environment.retain(|variable| !variable.starts_with("HOME="));
        spec.environment.extend([format!("HOME={home}"), format!("TMPDIR={home}")]);
        spec
    }

    /// The code's directory, for rules to name it.
    ///
    /// # Errors
    /// When there is no such code, or the name is none.
    pub(crate) fn open_code(&self, name: &str) -> io::Result<OwnedFd> {
        let path = template::code_path(&self.code, name)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map_err(|error| io::Error::other(format!("cannot show the action's code: {error}")))
    }

    /// Forgets the processes that have removed what they were to remove; whether any is left.
    pub(crate) fn is_removing(&mut self) -> bool {
        self.removals.retain(|(_, pidfd)| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            matches!(rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(None))
        });
        !self.removals.is_empty()
    }

    /// Ends what outlives its sandbox: the children of this process that it did not clone. Every first process of a sandbox
    /// takes in what loses its parent, so these are none of a sandbox that lives.
    pub(crate) fn end_orphans(&self, is_known: impl Fn(i32) -> bool) {
        for _ in 0..GENERATIONS_MAX {
            let orphans: Vec<Pid> = children()
                .into_iter()
                .filter(|pid| !is_known(*pid) && self.removals.iter().all(|(removal, _)| removal != pid))
                .filter_map(Pid::from_raw)
                .collect();
            if orphans.is_empty() {
                return;
            }
            for orphan in &orphans {
                // one that has ended is waited for below
                let _ = rustix::process::kill_process(*orphan, Signal::KILL);
            }
            let waited = |pid: &Pid| rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG);
            if orphans.iter().any(|pid| matches!(waited(pid), Ok(None))) {
                pause(1);
            }
        }
        eprintln!("triplane spawner: processes of a sandbox that has ended cannot be killed");
    }
}

/// The processes whose parent this one is.
fn children() -> Vec<i32> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether an entry of the root was a sandbox's.
fn is_home(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Removes a directory in which nobody works any more, whatever its permissions are.
fn remove(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // of a link itself, not of what it leads to
        if entry.file_type()?.is_dir() { remove(&entry.path())? } else { fs::remove_file(entry.path())? }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_removed_whatever_its_permissions_are_and_links_are_not_followed() {
        let scratch = std::env::temp_dir().join(format!("triplane-bare-{}", std::process::id()));
        let (home, kept) = (scratch.join("7"), scratch.join("kept"));
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        fs::write(home.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, home.join("link")).unwrap();
        fs::set_permissions(home.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&home).unwrap();
        assert!(!home.exists() && kept.join("file").exists());
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_sandbox_has_its_directory_as_home_and_for_temporary_files() {
        let bare = Bare { root: "/data/sandbox".into(), code: "/data/code".into(), removals: Vec::new() };
        let spec = SandboxSpec {
            arguments: vec!["/bin/true".into()],
            environment: vec!["PATH=/bin".into(), "HOME=/tmp".into()],
            memory_mb: 128,
            processes_max: 9,
            code: None,
        };
        let environment = bare.at_home(&spec, 3).environment;
        assert_eq!(environment, ["PATH=/bin", "HOME=/data/sandbox/3", "TMPDIR=/data/sandbox/3"]);
        assert!(bare.open_code("../sandbox").is_err());
    }
}
