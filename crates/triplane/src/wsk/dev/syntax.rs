//! Whether a file can be read by its language at all, so that a slip of the pen does not replace what works.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a check may take.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// How much of what an interpreter says is shown.
const SAID_CHARS_MAX: usize = 2_000;

/// Commands that read code from their input; one that is content is enough.
fn checks(kind: &str) -> &'static [&'static [&'static str]] {
    match kind.split(':').next().unwrap_or_default() {
        "nodejs" => &[&["node", "--check", "-"], &["node", "--input-type=module", "--check", "-"]],
        "python" => &[&["python3", "-c", "import ast, sys; ast.parse(sys.stdin.buffer.read(), 'the file')"]],
        "ruby" => &[&["ruby", "-c"]],
        "php" => &[&["php", "-l"]],
        _ => &[],
    }
}

/// What is wrong with code, if its language can say that here. Archives and executables are not looked into.
pub(crate) async fn mistake(kind: &str, code: &[u8]) -> Option<String> {
    std::str::from_utf8(code).ok()?;
    let mut said = None;
    for command in checks(kind) {
        let mistake = tokio::time::timeout(CHECK_MAX, mistake_by(command, code)).await.ok().flatten()?;
        // The first one speaks of the usual form of a file.
        said = said.or(Some(mistake));
    }
    said
}

/// What one command says; nothing if it is content or cannot be run.
async fn mistake_by(command: &[&str], code: &[u8]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let (_, output) = tokio::join!(
        async move {
            // It may end before it has read all; what it says then is what counts.
            let _ = input.write_all(code).await;
        },
        child.wait_with_output()
    );
    let output = output.ok()?;
    if output.status.success() {
        return None;
    }
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    Some(text.trim().chars().take(SAID_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_forms_of_javascript_are_taken_and_mistakes_are_said() {
        for code in ["function main() { return {} }", "import fs from 'fs'; export const main = () => ({})"] {
            assert_eq!(mistake("nodejs:default", code.as_bytes()).await, None, "{code}");
        }
        let said = mistake("nodejs:20", b"function main( {").await.unwrap();
        assert!(said.contains("SyntaxError"), "{said}");
    }

    #[tokio::test]
    async fn what_no_command_checks_is_taken() {
        assert_eq!(mistake("go:1.20", b"nonsense").await, None);
        assert_eq!(mistake("nodejs:20", b"PK\xff\xfe").await, None);
    }
}
