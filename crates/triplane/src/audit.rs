//! The audit trail: a line of JSON for each write, in a file of the data directory that is begun anew when it is long, and in
//! the log under the target `triplane::audit`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use anyhow::Context;
use triplane_management::{Audit, AuditEntry, NoAudit};

use crate::config::{AuditConfig, Config};

/// Entries that wait for the disk. One more is in the log only.
const WAITING_MAX: usize = 4_096;

/// Opens the trail that the configuration asks for.
pub(crate) fn start(config: &Config) -> anyhow::Result<Arc<dyn Audit>> {
    if !config.audit.enabled {
        return Ok(Arc::new(NoAudit));
    }
    let path = config.audit.path(&config.data_dir);
    let file = Rotated::open(path.clone(), &config.audit);
    let file = file.with_context(|| format!("cannot write the audit trail {}", path.display()))?;
    let (sender, entries) = sync_channel(WAITING_MAX);
    let thread = std::thread::Builder::new().name("audit".to_owned());
    thread.spawn(move || write(file, &entries)).context("cannot start a thread")?;
    Ok(Arc::new(Trail(sender)))
}

/// The way to the thread that writes; it ends when this is gone.
#[derive(Debug)]
struct Trail(SyncSender<AuditEntry>);

impl Audit for Trail {
    fn keep(&self, entry: AuditEntry) {
        let AuditEntry { who, method, path, status, transaction, .. } = &entry;
        tracing::info!(target: "triplane::audit", who, method, path, status, transaction, "write");
        if let Err(TrySendError::Full(entry) | TrySendError::Disconnected(entry)) = self.0.try_send(entry) {
            tracing::error!(
                transaction = entry.transaction,
                "the audit trail misses an entry: the disk is too slow"
            );
        }
    }
}

fn write(mut file: Rotated, entries: &Receiver<AuditEntry>) {
    for entry in entries {
        let mut line = serde_json::to_vec(&entry).unwrap_or_default();
        line.push(b'\n');
        if let Err(error) = file.append(&line) {
            let transaction = entry.transaction;
            tracing::error!(%error, transaction, "the audit trail misses an entry: it cannot be written");
        }
    }
}

/// A file with a bounded number of older ones beside it: `audit.log`, `audit.log.1`, ...
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
}

impl Rotated {
    fn open(path: PathBuf, config: &AuditConfig) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = append_to(&path)?;
        let bytes = file.metadata()?.len();
        let AuditConfig { file_bytes_max, files_max, .. } = *config;
        Ok(Self { path, file, bytes, bytes_max: file_bytes_max, files_max })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.turn()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Begins a new file; each older one gets the next number, and the last goes.
    fn turn(&mut self) -> io::Result<()> {
        for number in (0..self.files_max.saturating_sub(1)).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files_max == 1 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use triplane_testkit::TempDir;

    use super::*;

    fn rotated(dir: &TempDir, files_max: u32) -> Rotated {
        let config = AuditConfig { file_bytes_max: 10, files_max, ..AuditConfig::default() };
        Rotated::open(dir.join("audit").join("audit.log"), &config).unwrap()
    }

    fn contents(dir: &TempDir) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(dir.join("audit"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    std::fs::read_to_string(path).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_long_file_is_begun_anew_and_the_oldest_goes() {
        let dir = TempDir::new("audit");
        let mut file = rotated(&dir, 3);
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let kept = contents(&dir);
        let kept: Vec<_> = kept.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let expected =
            [("audit.log", "six\nseven\n"), ("audit.log.1", "four\nfive\n"), ("audit.log.2", "three\n")];
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_file_is_gone_on_with_after_a_restart_and_one_alone_is_replaced() {
        let dir = TempDir::new("audit");
        rotated(&dir, 1).append(b"one\n").unwrap();
        let mut file = rotated(&dir, 1);
        file.append(b"two\n").unwrap();
        assert_eq!(contents(&dir), [("audit.log".to_owned(), "one\ntwo\n".to_owned())]);
        file.append(b"three\n").unwrap();
        assert_eq!(contents(&dir), [("audit.log".to_owned(), "three\n".to_owned())]);
    }

    #[test]
    fn only_the_owner_reads_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = TempDir::new("audit");
        drop(rotated(&dir, 2));
        let mode = std::fs::metadata(dir.join("audit").join("audit.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
