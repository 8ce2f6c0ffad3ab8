//! The segment files: appended to, read back, deleted.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use triplane_model::ActivationId;
use triplane_model::activation::ActivationEntry;
use triplane_model::name::EntityName;

use super::SpoolError;
use super::entry::{self, Decoded, Entry, MAGIC};

/// Where in the segments something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    file: Arc<File>,
    /// How far it is written, or, of an older run, how far it can be read.
    bytes: u64,
}

/// All files; the last one is written to.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    /// Held open for its lock.
    _lock: File,
    files: BTreeMap<u64, Segment>,
    current: u64,
    /// What was sent and has no record yet: where its note is, and how long.
    open: HashMap<ActivationId, (Position, usize)>,
    bytes: u64,
    buffer: Vec<u8>,
}

/// Entries that were read back.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<ActivationEntry>,
    /// Records that could not be made sense of, although their checksum was right.
    pub(super) unreadable: u64,
}

impl Segments {
    /// Segments with a new one to write to, numbered after those that are there.
    pub(super) fn new(dir: PathBuf, lock: File, files: BTreeMap<u64, Segment>) -> Result<Self, SpoolError> {
        let current = files.keys().next_back().map_or(1, |last| last + 1);
        let bytes = files.values().map(|segment| segment.bytes).sum();
        let mut segments = Self {
            dir,
            _lock: lock,
            files,
            current,
            open: HashMap::new(),
            bytes,
            buffer: Vec::with_capacity(4 << 10),
        };
        segments.create(current)?;
        Ok(segments)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the first entry is.
    pub(super) fn start(&self) -> Position {
        let segment = self.files.keys().next().copied().unwrap_or(self.current);
        Position { segment, offset: MAGIC.len() as u64 }
    }

    /// Appends to the current segment, or to a new one when that would grow too long.
    pub(super) fn append(&mut self, entry: &Entry<'_>, segment_bytes_max: u64) -> Result<(), SpoolError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        entry::encode(entry, &mut buffer);
        let written = self.append_bytes(&buffer, segment_bytes_max);
        buffer.shrink_to(256 << 10);
        let length = buffer.len();
        self.buffer = buffer;
        let position = written?;
        match entry {
            Entry::Sent(sent) => drop(self.open.insert(sent.id, (position, length))),
            Entry::Record(record) => drop(self.open.remove(&record.id)),
            Entry::Void(id) => drop(self.open.remove(id)),
        }
        Ok(())
    }

    fn append_bytes(&mut self, bytes: &[u8], segment_bytes_max: u64) -> Result<Position, SpoolError> {
        let length = bytes.len() as u64;
        let written = self.files.get(&self.current).map_or(0, |segment| segment.bytes);
        if written > MAGIC.len() as u64 && written + length > segment_bytes_max {
            self.create(self.current + 1)?;
        }
        let (dir, current) = (&self.dir, self.current);
        let failed = |source| SpoolError::Io { path: path(dir, current), source };
        let segment = self.files.get_mut(&current).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        // At an offset of our own: what a failed write left behind is written over by the next one.
        segment.file.write_all_at(bytes, segment.bytes).map_err(failed)?;
        let position = Position { segment: current, offset: segment.bytes };
        segment.bytes += length;
        self.bytes += length;
        Ok(position)
    }

    /// The segment to read from, with `position` moved to the next one at the end of one. The caller reads without the
    /// lock, so it takes the segment with it.
    pub(super) fn segment_at(&self, position: &mut Position) -> Option<Segment> {
        loop {
            let segment = self.files.get(&position.segment)?;
            if position.offset < segment.bytes {
                return Some(segment.clone());
            }
            if position.segment >= self.current {
                return None;
            }
            let next = self.files.range(position.segment + 1..).next()?;
            *position = Position { segment: *next.0, offset: MAGIC.len() as u64 };
        }
    }

    /// Closes the current segment if it is read to its end and long, so that it can be deleted. Notes that would have to
    /// be carried over count against it.
    pub(super) fn rotate_if_read(&mut self, position: Position, bytes_idle: u64) -> Result<(), SpoolError> {
        if !self.is_read(position) || position.offset <= bytes_idle {
            return Ok(());
        }
        let open: usize = self.open.values().map(|(_, length)| length).sum();
        if position.offset > bytes_idle + 2 * open as u64 { self.create(self.current + 1) } else { Ok(()) }
    }

    /// Whether this is the end of everything.
    fn is_read(&self, position: Position) -> bool {
        let current = self.files.get(&self.current);
        position.segment == self.current && current.is_some_and(|segment| position.offset == segment.bytes)
    }

    /// Lets go of the segments before `position`, and answers their files for deletion, which takes too long for the
    /// lock. Notes in them that are still open are carried over first.
    pub(super) fn release_before(&mut self, position: Position) -> Result<Vec<PathBuf>, SpoolError> {
        let done: Vec<u64> = self.files.range(..position.segment).map(|(number, _)| *number).collect();
        let mut paths = Vec::with_capacity(done.len());
        for number in done {
            self.carry_over(number)?;
            if let Some(segment) = self.files.remove(&number) {
                self.bytes = self.bytes.saturating_sub(segment.bytes);
            }
            paths.push(self.path(number));
        }
        Ok(paths)
    }

    /// Lets go of everything, if nothing is open.
    pub(super) fn release_all(&mut self, position: Position) -> Result<Vec<PathBuf>, SpoolError> {
        if !self.is_read(position) || !self.open.is_empty() {
            return Ok(Vec::new());
        }
        self.release_before(Position { segment: self.current + 1, offset: 0 })
    }

    fn carry_over(&mut self, number: u64) -> Result<(), SpoolError> {
        let Some(file) = self.files.get(&number).map(|segment| Arc::clone(&segment.file)) else {
            return Ok(());
        };
        let open: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (position, _))| position.segment == number)
            .map(|(id, (position, length))| (*id, *position, *length))
            .collect();
        for (id, position, length) in open {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, position.offset)
                .map_err(|source| SpoolError::Io { path: self.path(number), source })?;
            let position = self.append_bytes(&bytes, u64::MAX)?;
            self.open.insert(id, (position, length));
        }
        Ok(())
    }

    fn create(&mut self, number: u64) -> Result<(), SpoolError> {
        let path = self.path(number);
        let created = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = created.and_then(|file| file.write_all_at(&MAGIC, 0).map(|()| file));
        let file = file.map_err(|source| SpoolError::Io { path, source })?;
        let bytes = MAGIC.len() as u64;
        self.files.insert(number, Segment { file: Arc::new(file), bytes });
        self.bytes += bytes;
        self.current = number;
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        path(&self.dir, number)
    }
}

impl Segment {
    /// A segment of an earlier run that can be read this far.
    pub(super) fn found(file: File, bytes: u64) -> Self {
        Self { file: Arc::new(file), bytes }
    }

    /// Reads the records from `position` on and moves it behind them.
    pub(super) fn read(
        &self,
        position: &mut Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let left = |at: u64| self.bytes.saturating_sub(at);
        let mut bytes = self.read_at(position.offset, left(position.offset).min(bytes_max as u64))?;
        if let Decoded::Partial(length) = entry::decode(&bytes, left(position.offset)) {
            bytes = self.read_at(position.offset, length as u64)?;
            if let Decoded::Partial(length) = entry::decode(&bytes, left(position.offset)) {
                bytes = self.read_at(position.offset, length as u64)?;
            }
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && batch.entries.len() < entries_max {
            match entry::decode(rest, left(position.offset)) {
                Decoded::Entry(entry, length) => {
                    if let Entry::Record(record) = entry {
                        match to_owned(&record) {
                            Some(entry) => batch.entries.push(entry),
                            None => batch.unreadable += 1,
                        }
                    }
                    rest = &rest[length..];
                    position.offset += length as u64;
                }
                Decoded::Partial(_) => break,
                Decoded::Torn => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(batch)
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// The name of a segment: its number, so that names sort as numbers do.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

fn to_owned(record: &entry::Record<'_>) -> Option<ActivationEntry> {
    Some(ActivationEntry {
        id: record.id,
        namespace: EntityName::namespace(record.namespace).ok()?,
        name: record.name.to_owned(),
        start_ms: record.start_ms,
        record: record.record.to_owned(),
        logs: record.logs.to_owned(),
    })
}
