//! The launcher of executables: the process inside a sandbox that runs binaries and scripts, as the framed protocol on file
//! descriptor 3 asks. It is this program in another role, so a native action needs no interpreter.
//!
//! Two ways of talking to an action, chosen by its kind (openwhisk-api.md 11.6):
//! - `skeleton`: the executable is started for each call, with the arguments as JSON in its first argument and on its
//!   standard input; the last line that it prints is the result (OpenWhisk's `dockerskeleton`, `wsk --native`);
//! - `action_loop`: the executable is started once and reads a line for each call; it writes results to its descriptor 3
//!   (the binaries that OpenWhisk's Go and Rust runtimes make).
//!
//! It is the first process of its sandbox, so whatever an action leaves behind is its child in the end, and is reaped here.

mod action_loop;
mod child;
mod frames;
mod skeleton;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use triplane_wire::framed::FrameType;

use frames::{Frame, Frames};

/// The socket's number at the start.
const SOCKET: i32 = 3;
/// An executable that came as a file is copied to where it may be executed: below the directory for temporary files.
const COPY: &str = "exec";
/// An archive's executable.
const ENTRY: &str = "exec";
const NO_BINARY: &str = "The action failed to generate or locate a binary. See logs for details.";
const INITIALISED: &str = "Cannot initialize the action more than once.";
const NOT_INITIALISED: &str = "System not initialized.";

/// The first argument of this program that makes it the launcher of executables; the second is a mode.
pub const ROLE: &str = "native-launcher";

/// The way in which an action is talked to; the argument of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A process for each call.
    Skeleton,
    /// One process that reads lines.
    ActionLoop,
}

impl Mode {
    /// Its name in a command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Skeleton => "skeleton",
            Self::ActionLoop => "loop",
        }
    }
}

/// Whether these are the arguments of a launcher of executables (the program's name aside): then it is one, to its end.
#[must_use]
pub fn run_if_asked(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != ROLE {
        return None;
    }
    let mode = arguments.next();
    let is_asked = |known: &Mode| mode.as_deref() == Some(known.name().as_ref());
    match [Mode::Skeleton, Mode::ActionLoop].into_iter().find(is_asked) {
        Some(mode) => Some(run(mode)),
        None => {
            eprintln!("launcher: there is no such mode");
            Some(ExitCode::FAILURE)
        }
    }
}

/// What init says that this launcher needs.
#[derive(Debug, Deserialize)]
struct Init {
    path: PathBuf,
    archive: bool,
    env: BTreeMap<String, String>,
}

/// An initialised action.
enum Action {
    Skeleton(skeleton::Skeleton),
    Loop(action_loop::ActionLoop),
}

/// Runs the launcher until its socket closes.
fn run(mode: Mode) -> ExitCode {
    let served = crate::sys::take_socket(SOCKET).and_then(|socket| serve(mode, socket));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("launcher: {error}");
            // 70 is EX_SOFTWARE (sysexits.h): what came over the socket made no sense, or nobody reads it any more
            ExitCode::from(70)
        }
    }
}

fn serve(mode: Mode, socket: OwnedFd) -> std::io::Result<()> {
    let mut frames = Frames::new(socket);
    frames.hello()?;
    let mut action = None;
    while let Some(Frame { kind, stream, payload }) = frames.next()? {
        match kind {
            FrameType::Init if action.is_some() => frames.init_done(Err(INITIALISED))?,
            FrameType::Init => match initialise(mode, &payload) {
                Ok(ready) => {
                    action = Some(ready);
                    frames.init_done(Ok(()))?;
                }
                Err(text) => frames.init_done(Err(&text))?,
            },
            FrameType::Run => {
                let answer = match &mut action {
                    Some(Action::Skeleton(skeleton)) => skeleton.run(&payload),
                    Some(Action::Loop(action)) => action.run(&payload),
                    None => Err(NOT_INITIALISED.to_owned()),
                };
                child::reap();
                frames.result(stream, answer.as_deref().map_err(String::as_str))?;
            }
            // plain calls have no streams
            FrameType::Cancel | FrameType::Chunk => {}
            other => return Err(std::io::Error::other(format!("a {other:?} frame is not for a launcher"))),
        }
    }
    Ok(())
}

fn initialise(mode: Mode, payload: &[u8]) -> Result<Action, String> {
    let init: Init = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let (program, directory) = executable(&init)?;
    let environment: Vec<(String, String)> = init.env.into_iter().collect();
    match mode {
        Mode::Skeleton => Ok(Action::Skeleton(skeleton::Skeleton::new(program, directory, environment))),
        Mode::ActionLoop => {
            action_loop::ActionLoop::start(&program, &directory, &environment).map(Action::Loop)
        }
    }
}

/// Finds what is to be executed, and the directory to do it in.
fn executable(init: &Init) -> Result<(PathBuf, PathBuf), String> {
    if init.archive {
        let program = init.path.join(ENTRY);
        if !is_executable(&program) {
            eprintln!("the archive has no file '{ENTRY}' at its root that may be executed");
            return Err(NO_BINARY.to_owned());
        }
        return Ok((program, init.path.clone()));
    }
    copy_executable(&init.path).map_err(|error| {
        eprintln!("the code cannot be executed: {error}");
        NO_BINARY.to_owned()
    })
}

/// Code that came as a file is not executable where it is.
fn copy_executable(code: &Path) -> std::io::Result<(PathBuf, PathBuf)> {
    use std::os::unix::fs::PermissionsExt;
    let bytes = std::fs::read(code)?;
    let is_program = bytes.starts_with(b"\x7fELF") || bytes.starts_with(b"#!");
    if !is_program {
        return Err(std::io::Error::other(
            "it is neither a binary of this system (ELF) nor a script that begins with #!",
        ));
    }
    let directory = std::env::temp_dir();
    let copy = directory.join(COPY);
    std::fs::write(&copy, bytes)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    Ok((copy, directory))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
