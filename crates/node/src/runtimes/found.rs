//! An interpreter of the host.

use std::path::PathBuf;

/// An interpreter of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of its language.
    pub language: &'static str,
    /// The binary itself, behind all links and scripts.
    pub path: PathBuf,
    /// Its version: major, minor.
    pub version: (u32, u32),
    /// The directory that it needs beside itself.
    pub home: PathBuf,
}
