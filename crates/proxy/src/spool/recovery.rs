//! What an earlier run left in the spool.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use triplane_model::ActivationId;
use triplane_model::activation::Status;

use super::SpoolError;
use super::entry::{self, Decoded, Entry, MAGIC, Record, Sent};
use super::segments::{Segment, Segments, path};
use crate::record::{self, Ending};

/// What the record of a call says that was sent and never heard of again.
const INTERRUPTED: &str = "the platform was stopped while the action ran; the action was not run again";
/// The end of its annotations.
const LOST: &str = r#",{"key":"lost","value":true}"#;

/// What was found.
pub(super) struct Recovered {
    pub(super) segments: Segments,
    /// Records that wait to be stored.
    pub(super) records: u64,
    /// How many of them are about calls that were never heard of again.
    pub(super) unfinished: usize,
}

/// Reads the segments of earlier runs, and writes records for calls that have none.
pub(super) fn recover(dir: PathBuf) -> Result<Recovered, SpoolError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| SpoolError::Io { path, source }
    };
    fs::create_dir_all(&dir).map_err(io(&dir))?;
    let lock = lock(&dir)?;
    let mut found = Found::default();
    let mut files = BTreeMap::new();
    for number in numbers(&dir).map_err(io(&dir))? {
        let path = path(&dir, number);
        let mut file = OpenOptions::new().read(true).open(&path).map_err(io(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io(&path))?;
        let end = found.read(&bytes, &path)?;
        files.insert(number, Segment::found(file, end));
    }
    let mut segments = Segments::new(dir, lock, files)?;
    let unfinished = found.open.len();
    for sent in found.open.values() {
        let record = sent.record();
        let record = Record {
            id: sent.id,
            start_ms: sent.start_ms,
            namespace: &sent.namespace,
            name: &sent.name,
            record: &record,
            logs: "[]",
        };
        segments.append(&Entry::Record(record), u64::MAX)?;
    }
    Ok(Recovered { segments, records: found.records + unfinished as u64, unfinished })
}

/// One process at a time; the lock ends with it.
fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|source| SpoolError::Io { path, source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(SpoolError::Locked(dir.to_owned())),
    }
}

fn numbers(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[derive(Default)]
struct Found {
    records: u64,
    open: HashMap<ActivationId, OwnedSent>,
}

struct OwnedSent {
    id: ActivationId,
    start_ms: u64,
    namespace: String,
    name: String,
    head: String,
    annotations: String,
}

impl Found {
    /// Takes in a segment; answers where its last whole entry ends.
    fn read(&mut self, bytes: &[u8], path: &Path) -> Result<u64, SpoolError> {
        if bytes.len() < MAGIC.len() {
            return Ok(bytes.len() as u64);
        }
        let (magic, mut rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(SpoolError::Foreign(path.to_owned()));
        }
        while !rest.is_empty() {
            let Decoded::Entry(entry, length) = entry::decode(rest, rest.len() as u64) else {
                tracing::warn!(segment = %path.display(), bytes = rest.len(), "spool: a torn tail is left out");
                break;
            };
            self.take(&entry);
            rest = &rest[length..];
        }
        Ok((bytes.len() - rest.len()) as u64)
    }

    fn take(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Sent(sent) => drop(self.open.insert(sent.id, OwnedSent::from(sent))),
            Entry::Record(record) => {
                self.open.remove(&record.id);
                self.records += 1;
            }
            Entry::Void(id) => drop(self.open.remove(id)),
        }
    }
}

impl From<&Sent<'_>> for OwnedSent {
    fn from(sent: &Sent<'_>) -> Self {
        Self {
            id: sent.id,
            start_ms: sent.start_ms,
            namespace: sent.namespace.to_owned(),
            name: sent.name.to_owned(),
            head: sent.head.to_owned(),
            annotations: sent.annotations.to_owned(),
        }
    }
}

impl OwnedSent {
    /// Nobody knows how long it ran: its record says nothing, rather than something wrong.
    /// The annotation tells it from a failure that somebody saw.
    fn record(&self) -> String {
        let result = record::error_result(INTERRUPTED);
        let ending =
            Ending { status: Status::WhiskError, result: &result, start_ms: self.start_ms, duration_ms: 0 };
        let annotations = self.annotations.strip_suffix(']').unwrap_or(&self.annotations);
        record::write(&self.head, &ending, &format!("{annotations}{LOST}]")).0
    }
}
