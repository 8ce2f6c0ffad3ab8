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

use super::found::Found;
use super::language::Language;

/// A compiler may take so long on a busy machine; it takes a second or two.
const COMPILED_WITHIN: Duration = Duration::from_secs(120);
/// How much of what a compiler said is reported.
const SAID_BYTES_MAX: usize = 2_000;

/// Compiles the launcher of a language in its directory, unless the file `stamp`, which says what it was compiled from,
/// says that this was done.
///
/// # Errors
/// When a command fails; the language cannot be used then.
pub(super) async fn prepare(
    language: &Language,
    found: &Found,
    directory: &Path,
    stamp: &Path,
) -> io::Result<()> {
    let commands = language.preparation(found);
    if commands.is_empty() {
        return Ok(());
    }
    let wanted = made_from(language, found);
    if fs::read_to_string(stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    tracing::info!(language = language.name, path = %found.path.display(), "compiling the launcher, once");
    // what is half made must not count
    let _ = fs::remove_file(stamp);
    for command in commands {
        run(&command, directory).await?;
    }
    fs::write(stamp, wanted)
}

/// What the result depends on: the launcher's text, the commands, and the interpreter's file.
fn made_from(language: &Language, found: &Found) -> String {
    let mut hash = Sha256::new();
    for (name, text) in language.files {
        hash.update(format!("{name} {} ", text.len()));
        hash.update(text);
    }
    for argument in language.preparation(found).iter().flatten() {
        hash.update(format!("{} {argument} ", argument.len()));
    }
    hash.update(state_of(&found.path));
    for file in language.prepared_with {
        hash.update(state_of(Path::new(file)));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::runtimes::language::language;

    #[tokio::test]
    async fn java_compiles_its_launcher_wherever_it_is_and_only_once() {
        let data = std::env::temp_dir().join(format!("triplane-prepare-{}", std::process::id()));
        let (tools, directory) = (data.join("it's \"my\" $HOME; java"), data.join("runtimes/triplane/java"));
        fs::create_dir_all(&tools).unwrap();
        fs::create_dir_all(&directory).unwrap();
        fs::create_dir_all(data.join("runtimes/tmp")).unwrap();
        let log = data.join("log");
        for tool in ["java", "javac", "jar"] {
            let script = format!("#!/bin/sh\necho {tool} $# $(basename \"$PWD\") >> '{}'\n", log.display());
            fs::write(tools.join(tool), script).unwrap();
            fs::set_permissions(tools.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let found = Found { language: "java", path: tools.join("java"), version: (17, 0), home: tools };
        let (java, stamp) = (language("java").unwrap(), data.join("stamp"));
        for _ in 0..2 {
            prepare(java, &found, &directory, &stamp).await.unwrap();
        }
        let said = fs::read_to_string(log).unwrap();
        fs::remove_dir_all(data).unwrap();
        let (java_words, sources) = (java.preparation(&found)[2].len() - 5, java.files.len());
        let expected = format!("javac {} java\njar 6 java\njava {} tmp\n", 7 + sources, java_words);
        assert_eq!(said, expected);
    }

    #[tokio::test]
    async fn what_a_compiler_says_is_told() {
        let failing = ["/bin/sh", "-c", "echo no such class >&2; exit 3"].map(str::to_owned);
        let error = run(&failing, Path::new("/")).await.unwrap_err().to_string();
        assert_eq!(error, "/bin/sh ended with exit status: 3: no such class\n");
    }
}
