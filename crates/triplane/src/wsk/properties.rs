//! The file that `wsk` keeps its properties in, `~/.wskprops` (openwhisk-api.md 10.1).

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Lines `KEY=value`, in their order. What is not understood is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    lines: Vec<String>,
}

/// The file: `$WSK_CONFIG_FILE`, else `.wskprops` at home.
pub(crate) fn file() -> PathBuf {
    let named = std::env::var_os("WSK_CONFIG_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".wskprops"))
}

/// What is in the file; nothing if there is none.
pub(crate) fn load() -> anyhow::Result<Properties> {
    let path = file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Properties::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Properties::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces the file. It holds a key, so only its owner may read it; whoever reads it meanwhile sees the old or the new one.
pub(crate) fn store(properties: &Properties) -> anyhow::Result<()> {
    let path = file();
    write(&path, &properties.text()).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // A link to a file elsewhere stays one.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::rename(&new, &path)?)
}

impl Properties {
    pub(crate) fn parse(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// The value of a key; the last one if there are several, and none if it is empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.lines.iter().rev().filter_map(|line| Self::pair(line));
        let value = values.find(|(name, _)| *name == key)?.1;
        (!value.is_empty()).then_some(value)
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.unset(key);
        self.lines.push(format!("{key}={value}"));
    }

    /// Whether there was one.
    pub(crate) fn unset(&mut self, key: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| Self::pair(line).is_none_or(|(name, _)| name != key));
        self.lines.len() < before
    }

    fn pair(line: &str) -> Option<(&str, &str)> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((key.trim(), value.trim()))
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_lines_of_keys_and_values() {
        let text = "# mine\nAPIHOST=https://example.com\n AUTH = a:b=c \n\nNAMESPACE=\nnonsense\n";
        let properties = Properties::parse(text);
        assert_eq!(properties.get("APIHOST"), Some("https://example.com"));
        assert_eq!(properties.get("AUTH"), Some("a:b=c"));
        assert_eq!(properties.get("NAMESPACE"), None);
        assert_eq!(properties.get("CERT"), None);
    }

    #[test]
    fn what_is_set_or_unset_leaves_the_rest_alone() {
        let mut properties = Properties::parse("# mine\nAPIHOST=old\nAUTH=a:b\n");
        properties.set("APIHOST", "new");
        assert!(properties.unset("AUTH"));
        assert!(!properties.unset("AUTH"));
        assert_eq!(properties.text(), "# mine\nAPIHOST=new\n");
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("triplane-properties-{}", std::process::id()));
        write(&path, "AUTH=a:b\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, "").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        std::fs::remove_file(&path).unwrap();
    }
}
