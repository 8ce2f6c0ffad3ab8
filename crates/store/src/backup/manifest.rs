//! What a backup says of itself: `manifest.json`.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BackupError, FILES, known_schema};
use crate::OpenError;

const NAME: &str = "manifest.json";
/// The version of the layout of a backup.
const FORMAT: u32 = 1;
/// A manifest is small; anything larger is none.
const BYTES_MAX: u64 = 1 << 20;

/// The contents of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the layout.
    pub format: u32,
    /// The version of the program that wrote it.
    pub triplane: String,
    /// When, epoch milliseconds.
    pub created_ms: u64,
    /// The files in the order in which they were copied.
    pub files: Vec<FileEntry>,
    /// Whether the key file is with it.
    pub key: bool,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// The version of its schema.
    pub schema: i64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(created_ms: u64, files: Vec<FileEntry>, key: bool) -> Self {
        let triplane = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, triplane, created_ms, files, key }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(NAME);
        let written = || {
            let mut file = fs::File::create_new(&path)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()
        };
        written().map_err(|error: std::io::Error| BackupError::io(&path, &error))
    }

    /// Reads the manifest of a backup and checks that this program can restore it.
    pub(super) fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(NAME);
        let unusable = |detail: String| BackupError::Unusable { path: path.clone(), detail };
        let bytes = fs::metadata(&path).map_err(|error| unusable(error.to_string()))?.len();
        if bytes > BYTES_MAX {
            return Err(unusable(format!("it has {bytes} bytes and is no manifest")));
        }
        let text = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(unusable(format!("its format is {}, this triplane knows {FORMAT}", manifest.format)));
        }
        for kind in FILES {
            let Some(file) = manifest.files.iter().find(|file| file.name == kind.name) else {
                return Err(unusable(format!("it does not name {}", kind.name)));
            };
            let known = known_schema(kind);
            if file.schema > known {
                let path = dir.join(kind.name);
                return Err(OpenError::Newer { path, found: file.schema, known }.into());
            }
        }
        Ok(manifest)
    }
}
