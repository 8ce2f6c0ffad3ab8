//! Launchers that are compiled once on the host: for the interpreter that was found, and again when that or the launcher
//! has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::java;
use super::language::Language;
use super::probe::Found;

/// A compiler may take so long on a busy machine; it takes a second or two.
const COMPILED_WITHIN: Duration = Duration::from_secs(120);
/// The file that says what a launcher was compiled from.
const STAMP: &str = ".prepared";
/// How much of what a compiler said is reported.
const SAID_BYTES_MAX: usize = 2_000;

/// Compiles the launcher of a language in its directory, unless that was done.
///
/// # Errors
/// When a command fails; the language cannot be used then.
pub(super) async fn prepare(language: &Language, found: &Found, directory: &Path) -> io::Result<()> {
    let commands = language.preparation(found);
    if commands.is_empty() {
        return Ok(());
    }
    let (stamp, wanted) = (directory.join(STAMP), stamp(language, found));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    tracing::info!(language = language.name, path = %found.path.display(), "compiling the launcher, once");
    // what is half made must not count
    let _ = fs::remove_file(&stamp);
    for command in commands {
        run(&command, directory).await?;
    }
    fs::write(stamp, wanted)
}

/// What the result depends on: the launcher's text, the commands, and the interpreter's file.
fn stamp(language: &Language, found: &Found) -> String {
    let mut hash = Sha256::new();
    for (name, text) in language.files {
        hash.update(format!("{name} {} ", text.len()));
        hash.update(text);
    }
    for argument in language.preparation(found).iter().flatten() {
        hash.update(format!("{} {argument} ", argument.len()));
    }
    hash.update(state_of(&found.path));
    if language.name == "java" {
        // Java ignores an archive that was made beside another gson
        hash.update(state_of(Path::new(java::GSON)));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells a file from another, and from none.
fn state_of(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(file) => format!("{} {} {} ", path.display(), file.len(), file.mtime()),
        Err(_) => format!("no {} ", path.display()),
    }
}

async fn run(command: &[String], directory: &Path) -> io::Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMPILED_WITHIN, output).await??;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = &said[..said.floor_char_boundary(SAID_BYTES_MAX)];
    Err(io::Error::other(format!("{program} ended with {}: {said}", output.status)))
}
