//! The lock of a data directory: one server, or one administrative command, at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// The name of the lock file in a data directory.
pub(crate) const LOCK_FILE: &str = "lock";

/// Holds a data directory for this process until it is dropped; the kernel releases it when the process dies.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "data directory {0} is in use by another process: stop that server first, or use its admin interface \
         instead of opening the directory"
    )]
    InUse(PathBuf),
    /// The lock file cannot be made or locked.
    #[error("cannot lock data directory {0}: {1}")]
    Io(PathBuf, std::io::Error),
}

impl DirLock {
    /// Takes the lock of `dir`, which is created if it is not there. Does not wait.
    ///
    /// # Errors
    /// The directory is in use, or the lock file cannot be written.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io(dir.to_owned(), error);
        crate::keys::create_dir(dir).map_err(io)?;
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}
