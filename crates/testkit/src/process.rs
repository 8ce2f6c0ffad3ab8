//! Processes that end with their guard.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait_for;

/// How many bytes of output are kept; what is older is dropped.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// A process whose output is collected, and which is killed (and reaped) when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a command with its output collected and nothing on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// The same with something to type into.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut process = Self::spawn(command.stdin(Stdio::piped()));
        let input = process.child.stdin.take().expect("its standard input");
        (process, input)
    }

    fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let output = Arc::default();
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        Self { child, output }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far to stdout and stderr, line by line in the order of arrival.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the process is gone and reaped.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signal a process that was not waited for");
    }

    /// Kills it with SIGKILL and waits until it is gone. Killing what ended already is harmless.
    pub fn kill(&mut self) {
        // An error means that it was reaped already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end in time; the message shows its output.
    pub async fn exited(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("process {} ends", self.child.id());
        wait_for(deadline, &what, async || self.child.try_wait().expect("wait for a child")).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- output of process {}\n{}---", self.child.id(), self.output());
        }
    }
}

/// Reads a pipe into `output` on a thread of its own, which ends with the pipe.
fn collect(pipe: Option<impl Read + Send + 'static>, output: &Arc<Mutex<String>>) {
    let Some(pipe) = pipe else { return };
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            append(&mut output.lock().unwrap_or_else(PoisonError::into_inner), &line);
            line.clear();
        }
    });
}

/// Appends a line and drops the older half when there is too much.
fn append(output: &mut String, line: &[u8]) {
    output.push_str(&String::from_utf8_lossy(line));
    if output.len() > OUTPUT_BYTES_MAX {
        let middle = output.ceil_char_boundary(OUTPUT_BYTES_MAX / 2);
        output.drain(..middle);
    }
}

/// Kills a process that is not ours with SIGKILL.
///
/// # Panics
/// When there is none with this id, or it may not be killed.
pub fn kill_9(pid: u32) {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::KILL).unwrap_or_else(|error| panic!("kill process {pid}: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]))
    }

    #[tokio::test]
    async fn output_of_both_streams_is_collected() {
        let process = shell("echo out; echo err >&2; exec sleep 60");
        wait_until(Duration::from_secs(10), "both lines arrive", async || {
            let output = process.output();
            output.contains("out\n") && output.contains("err\n")
        })
        .await;
    }

    #[tokio::test]
    async fn a_dropped_guard_kills_its_process() {
        let process = shell("exec sleep 60");
        let entry = format!("/proc/{}", process.pid());
        assert!(std::path::Path::new(&entry).exists());
        drop(process);
        assert!(!std::path::Path::new(&entry).exists());
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process() {
        let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        wait_until(Duration::from_secs(10), "the trap is set", async || process.output().contains("ready"))
            .await;
        process.signal(Signal::TERM);
        assert_eq!(process.exited(Duration::from_secs(10)).await.code(), Some(7));
        assert!(!process.is_running());
    }

    #[test]
    fn old_output_is_dropped() {
        let mut output = "x".repeat(OUTPUT_BYTES_MAX);
        append(&mut output, b"the end\n");
        assert!(output.len() < OUTPUT_BYTES_MAX && output.ends_with("the end\n"));
    }
}
