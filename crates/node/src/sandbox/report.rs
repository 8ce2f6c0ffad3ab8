//! What a child says to the spawner: that it waits, or at which step it failed and why.

use std::io;

/// What a child sends that waits for its order.
const WAITING: [u8; 1] = [u8::MAX];
/// The longest message: a step and an error number.
pub(crate) const BYTES_MAX: usize = 5;

/// A step of the set-up, as it is reported when it fails.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Step {
    SpawnerGone,
    Cgroups,
    Descriptors,
    Session,
    HostName,
    Proc,
    Tmp,
    Shm,
    Root,
    Limits,
    FileRules,
    Order,
    Network,
    Code,
    Identity,
    UserNamespace,
    Capabilities,
    SystemCalls,
    Execute,
}

const STEPS: [&str; 19] = [
    "watch the spawner",
    "join the cgroups",
    "place the descriptors",
    "start a session",
    "set the host name",
    "mount /proc",
    "mount /tmp",
    "mount /dev/shm",
    "change the root",
    "set limits",
    "restrict access to files",
    "take the order",
    "enter the network",
    "show the action's code",
    "change the user",
    "make the user namespace",
    "drop capabilities",
    "filter system calls",
    "execute the runtime",
];

/// Where it failed, and why.
pub(crate) type Failure = (Step, io::Error);

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Everything that can be done ahead is done.
    Waiting,
    /// The child ends without having executed anything; why.
    Failed(String),
    /// The same, but everything went well until there was nothing to execute.
    NothingToExecute(String),
}

impl Report {
    /// Reads a message; `None` for what is none.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        if message == WAITING {
            return Some(Self::Waiting);
        }
        let [step, errno @ ..] = message else { return None };
        let errno = i32::from_le_bytes(errno.try_into().ok()?);
        let what = STEPS.get(usize::from(*step))?;
        let text = format!("cannot {what}: {}", io::Error::from_raw_os_error(errno));
        let executes = *step == Step::Execute as u8;
        Some(if executes { Self::NothingToExecute(text) } else { Self::Failed(text) })
    }
}

/// The message of a child that waits.
pub(crate) fn waiting() -> &'static [u8] {
    &WAITING
}

/// The message of a child that failed.
pub(crate) fn failed((step, error): Failure) -> [u8; BYTES_MAX] {
    let mut message = [0; BYTES_MAX];
    message[0] = step as u8;
    message[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_le_bytes());
    message
}

/// Says at which step an error happened.
pub(crate) fn at<E: Into<io::Error>>(step: Step) -> impl Fn(E) -> Failure {
    move |error| (step, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_step_and_the_reason() {
        let message = |step, errno| failed((step, io::Error::from_raw_os_error(errno)));
        let text = "cannot mount /proc: Operation not permitted (os error 1)".to_owned();
        assert_eq!(Report::read(&message(Step::Proc, libc::EPERM)), Some(Report::Failed(text)));
        let text = "cannot execute the runtime: No such file or directory (os error 2)".to_owned();
        assert_eq!(Report::read(&message(Step::Execute, libc::ENOENT)), Some(Report::NothingToExecute(text)));
        assert_eq!(Report::read(waiting()), Some(Report::Waiting));
        for nonsense in [&[][..], &[3], &[99, 1, 0, 0, 0], &[0; 9]] {
            assert_eq!(Report::read(nonsense), None);
        }
    }

    #[test]
    fn every_step_has_a_text() {
        assert_eq!(STEPS[Step::Execute as usize], "execute the runtime");
        assert_eq!(STEPS[Step::Order as usize], "take the order");
        assert_eq!(STEPS[Step::Limits as usize], "set limits");
    }
}
