//! The program `nft`, which has the kernel's firewall do what its commands say.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `nft` is.
const DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/usr/local/bin"];

/// The program, if it is installed.
#[must_use]
pub fn find() -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join("nft")).find(|path| path.is_file())
}

/// Has `nft` carry out commands in the network namespace of this thread: all of them, or none. Waits for it.
///
/// # Errors
/// What it says.
pub fn run(program: &Path, commands: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(commands.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("nft refuses: {}", text.lines().next().unwrap_or("it says nothing"))))
}

/// What `nft` prints.
///
/// # Errors
/// When it cannot be run.
pub fn list(program: &Path, what: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(what).env_clear().current_dir("/").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
