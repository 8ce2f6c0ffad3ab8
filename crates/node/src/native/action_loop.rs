//! One process that reads a line for each call and writes its result to its descriptor 3 (OpenWhisk's actionloop protocol).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::pipe::PipeFlags;

use super::child::is_result;
use crate::sys;

/// Where the process writes results.
const RESULTS: i32 = 3;
/// More than any limit of results.
const LINE_BYTES_MAX: u64 = 64 << 20;
const CANNOT_START: &str = "Cannot start action. Check logs for details.";
const NO_BINARY: &str = "The action failed to generate or locate a binary. See logs for details.";
const EXITED: &str = "command exited";
const NO_RESULT: &str = "The action did not return a dictionary or array.";

/// An action that runs.
#[derive(Debug)]
pub(super) struct ActionLoop {
    child: Child,
    calls: ChildStdin,
    results: BufReader<File>,
}

impl ActionLoop {
    /// Starts the executable.
    pub(super) fn start(
        program: &Path,
        directory: &Path,
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let failed = |error: io::Error| {
            eprintln!("the action cannot be executed: {error}");
            NO_BINARY.to_owned()
        };
        let (results, far_results) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::piped());
        command.envs(environment.iter().cloned()).env("__OW_WAIT_FOR_ACK", "1");
        // inherited by this child alone: the number is closed again before anything else is started
        let spawned = sys::with_placed(far_results.as_fd(), RESULTS, || command.spawn());
        drop(far_results);
        let mut child = spawned.map_err(failed)?;
        let Some(calls) = child.stdin.take() else { return Err(CANNOT_START.to_owned()) };
        let mut action = Self { child, calls, results: BufReader::new(File::from(results)) };
        action.acknowledge()?;
        Ok(action)
    }

    /// Waits for the first line, which says that the process is ready, as long as init may take: OpenWhisk's images of these
    /// kinds wait for it too, and so what their compilers make writes it.
    fn acknowledge(&mut self) -> Result<(), String> {
        let line = self.line().ok_or_else(|| CANNOT_START.to_owned())?;
        let ready: Result<serde_json::Value, _> = serde_json::from_slice(&line);
        match ready {
            Ok(ready) if ready["ok"] == true => Ok(()),
            _ => Err(CANNOT_START.to_owned()),
        }
    }

    /// Runs one call.
    pub(super) fn run(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        // a line is a call: ends of lines between the tokens of the JSON mean nothing
        let mut call: Vec<u8> =
            payload.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect();
        call.push(b'\n');
        let written = self.calls.write_all(&call).and_then(|()| self.calls.flush());
        let line = written.ok().and_then(|()| self.line());
        let Some(line) = line else {
            let _ = self.child.wait();
            return Err(EXITED.to_owned());
        };
        if is_result(&line) { Ok(line) } else { Err(NO_RESULT.to_owned()) }
    }

    /// The next line; nothing at the end, or when it is too long.
    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let count = self.results.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
        (count > 0 && line.last() == Some(&b'\n')).then_some(line)
    }
}
