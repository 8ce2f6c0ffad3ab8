//! A process for each call (OpenWhisk's `dockerskeleton`, its `actionproxy.py`).

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::{Call, is_result};

/// The longest argument that the kernel takes (`MAX_ARG_STRLEN`, with its end); longer ones come on standard input only.
const ARGUMENT_BYTES_MAX: usize = 131_071;
/// The longest line that may be a result: more than any limit of results. What is longer is log.
const LINE_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 << 10;
const NO_RESULT: &str = "The action did not return a dictionary or array.";

/// An action that is started for each call.
#[derive(Debug)]
pub(super) struct Skeleton {
    program: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl Skeleton {
    pub(super) fn new(program: PathBuf, directory: PathBuf, environment: Vec<(String, String)>) -> Self {
        Self { program, directory, environment }
    }

    /// Runs one call: its last line is the result, what came before goes to the log.
    pub(super) fn run(&self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let call = Call::read(payload)?;
        let mut command = Command::new(&self.program);
        if call.value.len() <= ARGUMENT_BYTES_MAX {
            command.arg(call.value);
        }
        command.current_dir(&self.directory);
        command.envs(self.environment.iter().cloned()).envs(call.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let last = command.spawn().and_then(|child| talk(child, call.value.as_bytes()));
        let last = last.map_err(|error| {
            eprintln!("the action cannot be executed: {error}");
            NO_RESULT.to_owned()
        })?;
        if is_result(&last) {
            return Ok(last);
        }
        // what is no result was meant for people
        let _ = io::stdout().write_all(&[&last[..], b"\n"].concat());
        Err(NO_RESULT.to_owned())
    }
}

/// Gives a process its input and takes its output until it ends; answers its last line.
fn talk(mut child: Child, input: &[u8]) -> io::Result<Vec<u8>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let Some(stdout) = stdout else { return Err(io::Error::other("no output")) };
    let mut conversation = Conversation { stdin, stdout, input, lines: Lines::default() };
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("no process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    rustix::io::ioctl_fionbio(&conversation.stdout, true)?;
    if let Some(stdin) = &conversation.stdin {
        rustix::io::ioctl_fionbio(stdin, true)?;
    }
    loop {
        let ended = conversation.wait(&process)?;
        let open = conversation.exchange()?;
        // whoever inherited its output may hold it open for ever: what counts is the action's own end
        if ended || !open {
            child.wait()?;
            conversation.exchange()?;
            return Ok(conversation.lines.last());
        }
    }
}

struct Conversation<'a> {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What the process has not read yet.
    input: &'a [u8],
    lines: Lines,
}

impl Conversation<'_> {
    /// Waits until something can be written or read, or the process has ended; says whether it has.
    fn wait(&self, process: impl AsFd) -> io::Result<bool> {
        let mut descriptors =
            vec![PollFd::new(&process, PollFlags::IN), PollFd::new(&self.stdout, PollFlags::IN)];
        if let Some(stdin) = &self.stdin {
            descriptors.push(PollFd::new(stdin, PollFlags::OUT));
        }
        rustix::io::retry_on_intr(|| poll(&mut descriptors, None))?;
        Ok(!descriptors[0].revents().is_empty())
    }

    /// Writes and reads what is possible now; says whether there may be more output.
    fn exchange(&mut self) -> io::Result<bool> {
        if let Some(stdin) = &mut self.stdin {
            match stdin.write(self.input) {
                Ok(count) => self.input = &self.input[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // it need not read its input
                Err(_) => self.input = &[],
            }
            if self.input.is_empty() {
                self.stdin = None;
            }
        }
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match rustix::io::read(&self.stdout, &mut buffer[..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.lines.push(&buffer[..count])?,
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Output by lines: all but the last, which may be the result, go on to the log at once.
#[derive(Debug, Default)]
struct Lines {
    /// The last line with something in it, and perhaps its end.
    held: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        // the end of the line before the last; an end at the very end closes the last line itself
        let body = self.held.strip_suffix(b"\n").unwrap_or(&self.held);
        let cut = body.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let cut = if self.held.len() - cut > LINE_BYTES_MAX { self.held.len() } else { cut };
        let mut out = io::stdout();
        out.write_all(&self.held[..cut])?;
        out.flush()?;
        self.held.drain(..cut);
        Ok(())
    }

    fn last(self) -> Vec<u8> {
        self.held.trim_ascii().to_vec()
    }
}
