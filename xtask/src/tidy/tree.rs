//! The files that rules look at.

use std::collections::BTreeMap;
use std::path::Path;

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "results"];
/// What the names of files that are looked at end in.
const LOOKED_AT: &[&str] =
    &[".rs", ".js", ".mjs", ".cjs", ".ts", ".sh", ".sql", ".toml", ".md", "/dev", "/run"];

/// Paths relative to the root, with slashes, and contents.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads the files under `root` that rules look at.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.add(root, "")?;
        Ok(tree)
    }

    fn add(&mut self, directory: &Path, prefix: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                self.add(&entry.path(), &path)?;
            } else if kind.is_file() && LOOKED_AT.iter().any(|end| path.ends_with(end)) {
                let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
                self.0.insert(path.trim_start_matches('/').to_owned(), text);
            }
        }
        Ok(())
    }

    /// All files, ordered by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files in a directory and below.
    pub(crate) fn under<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files()
            .filter(move |(path, _)| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// A file's content.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// The directories with a `Cargo.toml`, but not the root.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &str> {
        self.files().filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }
}
