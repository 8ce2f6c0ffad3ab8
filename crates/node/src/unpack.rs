//! Writes an action's code to a directory: text as it is, binary decoded, archives unpacked within limits.
//!
//! An archive is an outsider's: nothing is written outside the directory, through a link, or without a bound.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use flate2::read::GzDecoder;

/// The name of the file of code that is no archive.
pub const SOURCE: &str = "source";
/// The name of the directory of an unpacked archive.
pub const ARCHIVE: &str = "archive";

const MB: u64 = 1024 * 1024;

/// How much an archive may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Files, directories and links.
    pub entries_max: usize,
    /// Bytes of all files.
    pub bytes_max: u64,
    /// Bytes of all files for each byte of the archive, once there are more than `ratio_free_bytes`.
    pub ratio_max: u64,
    /// Up to here the ratio does not matter: a few repetitive files are no bomb.
    pub ratio_free_bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        // a large `node_modules` has some 30,000 files and 300 MB; deflate reaches 1000, honest code 5
        Self { entries_max: 50_000, bytes_max: 512 * MB, ratio_max: 100, ratio_free_bytes: 64 * MB }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Whether it is a directory, [`ARCHIVE`]; else a file, [`SOURCE`].
    pub archive: bool,
    /// The bytes of its files, and some for each entry.
    pub bytes: u64,
}

/// Why code cannot be used. The action's fault, but for [`UnpackError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is marked as binary and is no base64.
    #[error("the binary code is not valid base64")]
    Base64,
    /// It starts like an archive and cannot be read as one.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A limit was passed.
    #[error("the archive has too many {0}")]
    TooLarge(&'static str),
    /// An entry is not where or what it may be.
    #[error("the archive entry '{name}' {fault}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The disk.
    #[error("the code cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Writes code into an existing, empty directory.
///
/// # Errors
/// See [`UnpackError`]; the directory may then hold a part.
pub fn unpack(
    code: &str,
    binary: bool,
    directory: &Path,
    limits: UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    if !binary {
        return write_source(directory, code.as_bytes());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(code.trim());
    let bytes = decoded.map_err(|_| UnpackError::Base64)?;
    let root = directory.join(ARCHIVE);
    let entries = if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let mut writer = Writer::new(&root, &bytes, limits)?;
        unzip(&bytes, &mut writer)?;
        writer.finish()?
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut writer = Writer::new(&root, &bytes, limits)?;
        untar(&bytes, &mut writer)?;
        writer.finish()?
    } else {
        return write_source(directory, &bytes);
    };
    Ok(Unpacked { archive: true, bytes: entries })
}

fn write_source(directory: &Path, bytes: &[u8]) -> Result<Unpacked, UnpackError> {
    let mut file = File::create_new(directory.join(SOURCE))?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o444))?;
    Ok(Unpacked { archive: false, bytes: bytes.len() as u64 })
}

fn unzip(bytes: &[u8], writer: &mut Writer) -> Result<(), UnpackError> {
    let damaged = |error: zip::result::ZipError| UnpackError::Damaged(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > writer.limits.entries_max {
        return Err(UnpackError::TooLarge("entries"));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.replace('\\', "/");
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            writer.directory(&name)?;
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry.by_ref().take(4096).read_to_string(&mut target).map_err(read_failed)?;
            writer.link(&name, &target)?;
        } else if matches!(mode & 0o170_000, 0 | 0o100_000) {
            writer.file(&name, mode, &mut entry)?;
        } else {
            return Err(fault(&name, "is no file, directory or link"));
        }
    }
    Ok(())
}

fn untar(bytes: &[u8], writer: &mut Writer) -> Result<(), UnpackError> {
    // what a directory of the archive says about itself may be as long as a file
    let mut archive = tar::Archive::new(GzDecoder::new(bytes).take(writer.bytes_max + 64 * MB));
    for entry in archive.entries().map_err(read_failed)? {
        let mut entry = entry.map_err(read_failed)?;
        let name = entry.path().map_err(read_failed)?.to_string_lossy().into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        match entry.header().entry_type() {
            tar::EntryType::Directory => writer.directory(&name)?,
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(read_failed)?.unwrap_or_default();
                writer.link(&name, &target.to_string_lossy())?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => writer.file(&name, mode, &mut entry)?,
            tar::EntryType::XGlobalHeader => {}
            _ => return Err(fault(&name, "is no file, directory or link")),
        }
    }
    Ok(())
}

fn read_failed(error: io::Error) -> UnpackError {
    UnpackError::Damaged(error.to_string())
}

fn fault(name: &str, fault: &'static str) -> UnpackError {
    UnpackError::Entry { name: name.chars().take(200).collect(), fault }
}

/// Writes entries below a directory, within limits. Links come last, so that nothing is written through one.
struct Writer<'a> {
    root: &'a Path,
    limits: UnpackLimits,
    bytes_max: u64,
    entries: usize,
    bytes: u64,
    links: BTreeMap<PathBuf, String>,
}

impl<'a> Writer<'a> {
    fn new(root: &'a Path, archive: &[u8], limits: UnpackLimits) -> Result<Self, UnpackError> {
        make_directory(root)?;
        let by_ratio = (archive.len() as u64).saturating_mul(limits.ratio_max);
        let bytes_max = limits.bytes_max.min(by_ratio.max(limits.ratio_free_bytes));
        Ok(Self { root, limits, bytes_max, entries: 0, bytes: 0, links: BTreeMap::new() })
    }

    fn directory(&mut self, name: &str) -> Result<(), UnpackError> {
        let path = self.entry(name)?;
        self.make_directories(&path)
    }

    fn file(&mut self, name: &str, mode: u32, content: &mut impl Read) -> Result<(), UnpackError> {
        let path = self.entry(name)?;
        let Some(parent) = path.parent() else { return Err(fault(name, "has no name")) };
        self.make_directories(parent)?;
        let target = self.root.join(&path);
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(fault(name, "is there twice"));
            }
            file => file?,
        };
        let left = self.bytes_max - self.bytes;
        let copied = copy(content, &mut file, left + 1)?;
        if copied > left {
            return Err(UnpackError::TooLarge("bytes"));
        }
        self.bytes += copied;
        let mode = if mode & 0o111 == 0 { 0o444 } else { 0o555 };
        Ok(file.set_permissions(fs::Permissions::from_mode(mode))?)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), UnpackError> {
        let path = self.entry(name)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        if !stays_inside(parent, Path::new(target)) {
            return Err(fault(name, "is a link that leads outside"));
        }
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// Makes the links, and says how much there is.
    fn finish(mut self) -> Result<u64, UnpackError> {
        for (path, target) in std::mem::take(&mut self.links) {
            if let Some(parent) = path.parent() {
                self.make_directories(parent)?;
            }
            match std::os::unix::fs::symlink(&target, self.root.join(&path)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(fault(&path.to_string_lossy(), "is there twice"));
                }
                made => made?,
            }
        }
        // a small file takes a block, and an inode
        Ok(self.bytes + self.entries as u64 * 4096)
    }

    /// Counts an entry and checks its name.
    fn entry(&mut self, name: &str) -> Result<PathBuf, UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(UnpackError::TooLarge("entries"));
        }
        let mut path = PathBuf::new();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => return Err(fault(name, "leads outside")),
            }
        }
        if path.as_os_str().len() > 4096 || path.components().count() > 64 {
            return Err(fault(name, "is too deep"));
        }
        Ok(path)
    }

    /// Directories above entries, too, are counted: a deep name must not make them for nothing.
    fn make_directories(&mut self, path: &Path) -> Result<(), UnpackError> {
        let mut directory = self.root.to_owned();
        for part in path.components() {
            directory.push(part);
            match fs::symlink_metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(fault(&path.to_string_lossy(), "is below something that is no directory"));
                }
                Err(_) => {
                    self.entries += 1;
                    if self.entries > self.limits.entries_max * 2 {
                        return Err(UnpackError::TooLarge("entries"));
                    }
                    make_directory(&directory)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a link in `parent` leads to something inside the archive, judged by the names alone: reads are confined by the
/// sandbox, and writes never go through a link.
fn stays_inside(parent: &Path, target: &Path) -> bool {
    let mut depth = parent.components().count();
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    !target.as_os_str().is_empty()
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    // whatever the umask: another user reads it
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Copies at most `limit` bytes; what cannot be read is the archive's fault, what cannot be written is not.
fn copy(from: &mut impl Read, to: &mut File, limit: u64) -> Result<u64, UnpackError> {
    let mut buffer = [0; 16 * 1024];
    let mut from = from.take(limit);
    let mut copied = 0;
    loop {
        let length = from.read(&mut buffer).map_err(read_failed)?;
        if length == 0 {
            return Ok(copied);
        }
        to.write_all(&buffer[..length])?;
        copied += length as u64;
    }
}
