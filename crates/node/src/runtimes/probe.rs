//! Finding interpreters on the host, once: what is found is remembered by the file's size and time, because asking takes
//! longer than all the rest of a start.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::found::Found;
use super::language::{Language, Reading};

/// How long an interpreter may take to say what it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The file that remembers answers.
const MEMORY: &str = "found.json";
/// More answers than any host has interpreters.
const REMEMBERED_MAX: usize = 64;

/// What an interpreter said, with what its file was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    bytes: u64,
    modified_s: i64,
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    path: PathBuf,
    version: (u32, u32),
    home: PathBuf,
}

/// The answers that are remembered in a directory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    file: PathBuf,
    answers: BTreeMap<String, Remembered>,
    has_changed: bool,
}

impl Memory {
    /// Reads what is remembered; what cannot be read is asked anew.
    pub(super) fn open(directory: &Path) -> Self {
        let file = directory.join(MEMORY);
        let answers = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, answers: answers.unwrap_or_default(), has_changed: false }
    }

    /// Keeps the answers for the next start. That they cannot be kept costs time, nothing else.
    pub(super) fn close(self) {
        if !self.has_changed {
            return;
        }
        let answers: BTreeMap<_, _> = self.answers.iter().take(REMEMBERED_MAX).collect();
        let written = serde_json::to_vec(&answers)
            .map_err(io::Error::other)
            .and_then(|bytes| fs::write(&self.file, bytes));
        if let Err(error) = written {
            tracing::debug!(file = %self.file.display(), %error, "interpreters are looked for anew at the next start");
        }
    }

    /// The first of the candidates that is an interpreter of a sufficient version.
    pub(super) async fn first(
        &mut self,
        language: &'static Language,
        candidates: &[PathBuf],
    ) -> Option<Found> {
        let name = language.name;
        for candidate in candidates {
            match self.look_at(language, candidate).await {
                Ok(answer) if answer.version >= language.oldest => {
                    let Answer { path, version, home } = answer;
                    return Some(Found { language: name, path, version, home });
                }
                Ok(answer) => {
                    let (path, version) = (candidate.display(), answer.version);
                    tracing::warn!(%path, ?version, oldest = ?language.oldest, "{name} is too old");
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %candidate.display(), %error, "{name} cannot be used"),
            }
        }
        None
    }

    async fn look_at(&mut self, language: &Language, candidate: &Path) -> io::Result<Answer> {
        let path = fs::canonicalize(candidate)?;
        let metadata = fs::metadata(&path)?;
        let key = format!("{} {}", language.name, path.display());
        let (bytes, modified_s) = (metadata.len(), metadata.mtime());
        if let Some(known) = self.answers.get(&key)
            && (known.bytes, known.modified_s) == (bytes, modified_s)
            && known.answer.path.is_file()
        {
            return Ok(known.answer.clone());
        }
        let said = ask(&path, language.question, language.answer).await?;
        let answer = match language.answer {
            Reading::Lines => read_answer(&said),
            Reading::Properties => read_properties(&said),
        }?;
        // a script that chooses one of several (nvm, pyenv) may choose another the next time
        if is_elf(&path)? {
            self.answers.insert(key, Remembered { bytes, modified_s, answer: answer.clone() });
            self.has_changed = true;
        }
        Ok(answer)
    }
}

/// Where an interpreter usually is: the directories of `path` (as in `PATH`) in their order, then the common ones.
#[must_use]
pub fn candidates(program: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut candidates: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).filter(|directory| directory.is_absolute()).collect())
        .unwrap_or_default();
    candidates.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    candidates.iter_mut().for_each(|directory| directory.push(program));
    candidates
}

fn read_answer(text: &str) -> io::Result<Answer> {
    let bad = || io::Error::other(format!("its answer makes no sense: {text:?}"));
    let mut lines = text.lines().map(str::trim);
    let (path, version, home) =
        (lines.next().ok_or_else(bad)?, lines.next().ok_or_else(bad)?, lines.next().unwrap_or("/usr"));
    if !Path::new(path).is_absolute() {
        return Err(bad());
    }
    Ok(Answer { path: path.into(), version: read_version(version).ok_or_else(bad)?, home: home.into() })
}

/// What Java says of itself: `    java.home = /usr/lib/jvm/java-17` and more such lines.
fn read_properties(text: &str) -> io::Result<Answer> {
    let bad = || io::Error::other("its answer names no java.home or no version");
    let property = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(name));
        lines.find_map(|rest| rest.trim_start().strip_prefix("= "))
    };
    let home = property("java.home").filter(|home| Path::new(home).is_absolute()).ok_or_else(bad)?;
    let version = property("java.specification.version").and_then(read_version).ok_or_else(bad)?;
    Ok(Answer { path: Path::new(home).join("bin/java"), version, home: home.into() })
}

/// Major and minor; `17` is `17.0`.
fn read_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.');
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().map_or(Ok(0), str::parse).ok()?))
}

fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let read = fs::File::open(path)?.read(&mut magic)?;
    Ok(magic[..read] == *b"\x7fELF")
}

/// What a program prints.
async fn ask(program: &Path, arguments: &[&str], answer: Reading) -> io::Result<String> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(ANSWER_WITHIN, output).await??;
    if !output.status.success() {
        return Err(io::Error::other(format!("it ended with {}", output.status)));
    }
    let said = match answer {
        Reading::Lines => output.stdout,
        Reading::Properties => output.stderr,
    };
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::language::language;

    #[test]
    fn an_answer_is_a_path_a_version_and_a_directory() {
        let answer = read_answer("/opt/x/bin/python3.11\n3.11\n/opt/x\n").unwrap();
        assert_eq!(
            answer,
            Answer { path: "/opt/x/bin/python3.11".into(), version: (3, 11), home: "/opt/x".into() }
        );
        assert_eq!(read_answer("/usr/bin/node\n20.1.0\n").unwrap().version, (20, 1));
        for bad in ["", "node", "/usr/bin/node\n20.x", "/usr/bin/node\nnew", "node\n20.1.0\n/"] {
            assert!(read_answer(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn java_is_known_by_its_properties() {
        let said = "Property settings:\n    java.home = /usr/lib/jvm/java-17-openjdk-amd64\n    java.specification.version = 17\n";
        let answer = read_properties(said).unwrap();
        assert_eq!(answer.path, Path::new("/usr/lib/jvm/java-17-openjdk-amd64/bin/java"));
        assert_eq!(answer.version, (17, 0));
        assert!(read_properties("java.home = here").is_err());
    }

    #[test]
    fn only_absolute_directories_of_the_path_are_candidates() {
        let found = candidates("node", Some("/a:relative::/b".as_ref()));
        assert_eq!(found, ["/a/node", "/b/node", "/usr/local/bin/node", "/usr/bin/node"].map(PathBuf::from));
    }

    /// A script that stands for an interpreter and says this version.
    fn stand_in(directory: &Path, version: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let file = directory.join(format!("node-{version}"));
        fs::write(&file, format!("#!/bin/sh\nprintf '%s\\n' /usr/bin/true {version}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[tokio::test]
    async fn the_first_interpreter_that_is_new_enough_is_taken() {
        let directory = std::env::temp_dir().join(format!("triplane-probe-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let candidates = [directory.join("none"), stand_in(&directory, "18.0"), stand_in(&directory, "22.3")];
        let mut memory = Memory::open(&directory);
        let found = memory.first(language("nodejs").unwrap(), &candidates).await;
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.unwrap().version, (22, 3));
    }
}
