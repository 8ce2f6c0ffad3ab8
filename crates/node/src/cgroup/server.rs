//! The weight of the server beside the sandboxes: the version 1 cpu cgroup that it is put into
//! (docs/adr/0007-the-server-goes-before-the-actions.md).
//!
//! The server's nice value counts among the threads of its own group only: its session, which the kernel groups by itself
//! (sched(7), autogroup), or its cgroup. Among groups it is the group's weight that counts, and every sandbox is one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, getppid};

use super::{subtree_name, write};

/// As much as a thread with the nice value -10.
const SHARES: u64 = 10_240;
/// As much in version 2, where 100 is ordinary.
const WEIGHT: u64 = 1_000;
const SUFFIX: &str = "-server";

/// The cgroup of the process that started this one.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where the server was before, and the sandboxes' cgroups are.
    pub(super) parent: PathBuf,
    name: String,
    pid: Pid,
}

impl Server {
    /// Moves the server; `None` when that is not allowed.
    pub(super) fn weighed(parent: &Path) -> Option<Self> {
        let pid = getppid()?;
        let name = subtree_name(&pid.to_string())? + SUFFIX;
        let server = Self { parent: parent.to_owned(), name, pid };
        let directory = server.directory();
        match fs::create_dir(&directory) {
            Ok(()) => {}
            // an earlier spawner of the same server made it
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
        let moved = write(&directory, "cpu.shares", SHARES)
            .and_then(|()| write(&directory, "cgroup.procs", server.number()));
        if moved.is_err() {
            server.remove();
            return None;
        }
        Some(server)
    }

    /// Puts the server back where it was, if it still lives, and removes its cgroup. What fails is left to the next start.
    pub(super) fn remove(&self) {
        if getppid() == Some(self.pid) {
            let _ = write(&self.parent, "cgroup.procs", self.number());
        }
        let _ = fs::remove_dir(self.directory());
    }

    fn directory(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    fn number(&self) -> u64 {
        u64::from(self.pid.as_raw_nonzero().get().unsigned_abs())
    }
}

/// Gives the version 2 leaf that the server moved into its weight.
pub(super) fn weigh_leaf(leaf: &Path) {
    // without a leaf the server is in the root cgroup, which has none
    let _ = write(leaf, "cpu.weight", WEIGHT);
}

/// The cgroup in which sandboxes have their places: not the one of a server, which the next spawner of that server is
/// born into and leaves by this.
pub(super) fn left(own: PathBuf) -> Option<PathBuf> {
    if !own.file_name()?.to_str().is_some_and(is_server) {
        return Some(own);
    }
    let parent = own.parent()?.to_owned();
    write(&parent, "tasks", 0).ok()?;
    Some(parent)
}

fn is_server(name: &str) -> bool {
    name.starts_with(super::PREFIX) && name.ends_with(SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_servers_cgroup_is_left() {
        assert_eq!(left("/sys/fs/cgroup/cpu/x".into()), Some("/sys/fs/cgroup/cpu/x".into()));
        assert!(is_server("triplane-1-2-3-server"));
        assert!(!is_server("triplane-1-2-3-c-4") && !is_server("x-server"));
    }

    #[test]
    fn a_living_servers_cgroup_is_not_stale() {
        assert!(!super::super::is_stale(&(subtree_name("self").unwrap() + SUFFIX)));
    }
}
