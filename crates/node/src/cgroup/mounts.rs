//! Where this process's own cgroup is, in the hierarchies of both versions.

use std::path::{Path, PathBuf};

/// The directory of this process's cgroup in the version 1 hierarchy of a controller.
pub(super) fn version_one_directory(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let (root, point) = mounts.lines().find_map(|line| {
        let (root, point, kind, options) = mount_fields(line)?;
        (kind == "cgroup" && options.split(',').any(|option| option == controller)).then_some((root, point))
    })?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    Some(below_mount(point, root, path))
}

/// The directory of this process's cgroup in the version 2 hierarchy, and the root of that.
pub(super) fn version_two_directories(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let (root, point) = mounts.lines().find_map(|line| {
        let (root, point, kind, _) = mount_fields(line)?;
        (kind == "cgroup2").then_some((root, point))
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some((below_mount(point, root, path), PathBuf::from(point)))
}

fn below_mount(point: &str, root: &str, path: &str) -> PathBuf {
    let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    Path::new(point).join(below)
}

/// Root within the file system, mount point, type, super block options (proc(5), mountinfo).
fn mount_fields(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut system = system.split(' ');
    let (root, point, kind) = (mount.next()?, mount.next()?, system.next()?);
    Some((root, point, kind, system.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw,relatime shared:5 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const OWN: &str = "8:pids:/docker/abc/x\n4:memory:/a/b\n0::/user.slice";

    #[test]
    fn the_own_cgroup_is_found_in_every_hierarchy() {
        let one = |controller| version_one_directory(MOUNTS, OWN, controller);
        assert_eq!(one("memory"), Some("/sys/fs/cgroup/memory/a/b".into()));
        assert_eq!(one("pids"), Some("/sys/fs/cgroup/pids/x".into()));
        assert_eq!(one("cpu"), None);
        let two = version_two_directories(MOUNTS, OWN).unwrap();
        assert_eq!(two.0, Path::new("/sys/fs/cgroup/unified/user.slice"));
        assert_eq!(two.1, Path::new("/sys/fs/cgroup/unified"));
    }
}
