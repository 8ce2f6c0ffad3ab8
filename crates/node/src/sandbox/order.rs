//! What the spawner says to a child that waits: which sandbox it becomes. It travels over a socket pair of the two, with the
//! descriptors beside it.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

use crate::protocol::{MESSAGE_BYTES_MAX, Network, SandboxSpec, receive, send};
use crate::sys::Image;

const MB: u64 = 1024 * 1024;
const TMP_BYTES_MIN: u64 = 64 * MB;
/// An inode of a tmpfs takes about 1 KB of the kernel's memory.
const TMP_INODES_MAX: u32 = 65_536;
const SHM_INODES_MAX: u32 = 1024;

/// The order to become a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order<'a> {
    pub(crate) spec: Cow<'a, SandboxSpec>,
    pub(crate) network: Network,
}

/// What travels beside an order.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// 3 of the runtime.
    pub(crate) socket: OwnedFd,
    /// 1.
    pub(crate) stdout: OwnedFd,
    /// 2.
    pub(crate) stderr: OwnedFd,
    /// The mount to show at `/action`, attached to nothing yet.
    pub(crate) code: Option<OwnedFd>,
    /// The network namespace to enter.
    pub(crate) network: Option<OwnedFd>,
}

/// The sizes of the file systems in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) tmp: CString,
    pub(crate) shm: CString,
}

/// An order as a child carries it out.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) image: Image,
    pub(crate) network: Network,
    pub(crate) memory_mb: u64,
    pub(crate) processes_max: u64,
}

impl Order<'_> {
    /// Gives an order to the child at the other end.
    ///
    /// # Errors
    /// What the kernel says: the child is gone.
    pub(crate) fn give(&self, child: impl AsFd, descriptors: &Descriptors) -> io::Result<()> {
        let Descriptors { socket, stdout, stderr, code, network } = descriptors;
        let always = [socket, stdout, stderr];
        let beside: Vec<BorrowedFd<'_>> =
            always.into_iter().chain(code).chain(network).map(AsFd::as_fd).collect();
        send(child, self, &beside)
    }

    /// Waits for an order; `None` when the spawner is gone.
    ///
    /// # Errors
    /// When what came is none.
    pub(crate) fn take(
        spawner: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> io::Result<Option<(Plan, Descriptors)>> {
        let mut poll = [PollFd::from_borrowed_fd(spawner, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, None))?;
        let Some((order, descriptors)) = receive::<Order<'_>>(spawner, buffer)? else { return Ok(None) };
        let descriptors = Descriptors::sort(descriptors, &order).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((Plan::new(&order)?, descriptors)))
    }

    /// Does what [`Order::take`] does, with an order that means nothing: the pages that this touches first are then a matter
    /// of the time before the real one.
    pub(crate) fn rehearse(buffer: &mut [u8]) -> io::Result<()> {
        let text = || "NAME=/usr/bin/an/argument/of/some/length".to_owned();
        let spec = SandboxSpec {
            arguments: vec![text(), text(), text(), text()],
            environment: vec![text(), text(), text(), text()],
            memory_mb: 256,
            processes_max: 256,
            code: Some(text()),
        };
        let order = serde_json::to_vec(&Self { spec: Cow::Owned(spec), network: Network::Host })?;
        buffer[..order.len()].copy_from_slice(&order);
        Plan::new(&serde_json::from_slice(&buffer[..order.len()])?).map(drop)
    }
}

impl Descriptors {
    /// Gives what came beside an order its meaning.
    fn sort(descriptors: Vec<OwnedFd>, order: &Order<'_>) -> Option<Self> {
        let mut next = descriptors.into_iter();
        let (socket, stdout, stderr) = (next.next()?, next.next()?, next.next()?);
        let code = order.spec.code.is_some().then(|| next.next());
        let network = (order.network == Network::Given).then(|| next.next());
        // asked for and not there is as wrong as there and not asked for
        let (code, network) = (code.map_or(Some(None), |code| code.map(Some))?, network.flatten());
        let complete = network.is_some() == (order.network == Network::Given) && next.next().is_none();
        complete.then_some(Self { socket, stdout, stderr, code, network })
    }
}

/// How much a sandbox of so much memory may keep in `/tmp`.
pub(crate) fn tmp_bytes(memory_mb: u64) -> u64 {
    (memory_mb.saturating_mul(MB) / 4).max(TMP_BYTES_MIN)
}

impl Sizes {
    /// Those of a sandbox with so much memory.
    pub(crate) fn new(memory_mb: u64) -> io::Result<Self> {
        let bytes = tmp_bytes(memory_mb);
        let options = |inodes: u32| CString::new(format!("mode=1777,size={bytes},nr_inodes={inodes}"));
        Ok(Self { tmp: options(TMP_INODES_MAX)?, shm: options(SHM_INODES_MAX)? })
    }
}

impl Plan {
    fn new(order: &Order<'_>) -> io::Result<Self> {
        let spec = &*order.spec;
        Ok(Self {
            image: Image::new(&spec.arguments, &spec.environment)?,
            network: order.network,
            memory_mb: spec.memory_mb,
            processes_max: spec.processes_max,
        })
    }
}

/// A buffer for an order.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; MESSAGE_BYTES_MAX]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(code: bool, network: Network) -> Order<'static> {
        let spec = SandboxSpec {
            arguments: vec!["/bin/true".into()],
            environment: Vec::new(),
            memory_mb: 128,
            processes_max: 9,
            code: code.then(|| "abc".to_owned()),
        };
        Order { spec: Cow::Owned(spec), network }
    }

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn descriptors_are_as_many_as_the_order_says() {
        for (code, network, count) in [
            (false, Network::Host, 3),
            (true, Network::Loopback, 4),
            (false, Network::Given, 4),
            (true, Network::Given, 5),
        ] {
            let order = order(code, network);
            let sorted = Descriptors::sort(descriptors(count), &order).unwrap();
            assert_eq!((sorted.code.is_some(), sorted.network.is_some()), (code, network == Network::Given));
            assert!(Descriptors::sort(descriptors(count - 1), &order).is_none());
            assert!(Descriptors::sort(descriptors(count + 1), &order).is_none());
        }
    }

    #[test]
    fn the_file_systems_in_memory_grow_with_the_memory_limit() {
        let tmp = |memory_mb| Sizes::new(memory_mb).unwrap().tmp.into_string().unwrap();
        assert_eq!(tmp(128), "mode=1777,size=67108864,nr_inodes=65536");
        assert_eq!(tmp(128), tmp(256));
        assert_eq!(tmp(512), "mode=1777,size=134217728,nr_inodes=65536");
    }

    #[test]
    fn a_rehearsal_changes_nothing_and_succeeds() {
        Order::rehearse(&mut buffer()).unwrap();
    }
}
