//! Directories that vanish with their guard.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Distinguishes the directories of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new, empty directory, removed with its content when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a directory under the system's directory for temporary files; `label` makes it recognisable.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self::new_in(&std::env::temp_dir(), label)
    }

    /// The same in a directory that is there.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new_in(parent: &Path, label: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("triplane-{label}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_vanishes_with_its_guard() {
        let guard = TempDir::new("guard");
        let path = guard.path().to_owned();
        std::fs::write(guard.join("file"), "x").unwrap();
        drop(guard);
        assert!(!path.exists());
    }

    #[test]
    fn two_directories_are_two() {
        assert_ne!(TempDir::new("same").path(), TempDir::new("same").path());
    }
}
