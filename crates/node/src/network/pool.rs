//! The pool of finished network namespaces, kept full by one thread off the path of starts.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::firewall::Firewall;
use super::layout::Addresses;
use super::workshop::Workshop;

/// How long a namespace may take on a busy machine; it takes about a millisecond.
const BUILD_WITHIN: Duration = Duration::from_secs(10);
/// How long the thread leaves the processors to a start before it fills up, unless there is little left; an interpreter takes
/// some 40 ms.
const REST: Duration = Duration::from_millis(60);
/// How often another address is tried, when the kernel still has what had this one.
const ATTEMPTS: u32 = 3;

/// A network namespace for one sandbox, gone when this is dropped: a namespace is never used twice.
#[derive(Debug)]
pub(crate) struct Lease {
    slot: Option<Slot>,
    pool: Arc<Pool>,
    firewall: Arc<Firewall>,
}

#[derive(Debug)]
struct Slot {
    namespace: OwnedFd,
    address: Ipv4Addr,
    policy: usize,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    wake: Condvar,
    ready: usize,
}

#[derive(Debug)]
struct State {
    policies: Vec<Shelf>,
    demands: VecDeque<(usize, oneshot::Sender<io::Result<Slot>>)>,
    released: Vec<(usize, Ipv4Addr)>,
    /// Until when a start is left alone. A stream of starts does not put it off.
    rest: Option<Instant>,
    closing: bool,
}

/// What there is of one policy.
#[derive(Debug)]
struct Shelf {
    idle: VecDeque<Slot>,
    addresses: Addresses,
    /// How many are to be idle.
    wanted: usize,
}

enum Job {
    Demand(usize, oneshot::Sender<io::Result<Slot>>),
    Release(usize, Ipv4Addr),
    Refill(usize),
    Close,
}

impl Pool {
    /// A pool that keeps so many namespaces ready for the first policy, and for each other one from its first use on.
    pub(crate) fn new(workshop: &Workshop, ready: usize) -> Arc<Self> {
        let blocks = workshop.layout.blocks().iter().enumerate();
        let shelves = blocks.map(|(number, block)| Shelf {
            idle: VecDeque::new(),
            addresses: Addresses::new(*block),
            wanted: if number == 0 { ready } else { 0 },
        });
        let state = State {
            policies: shelves.collect(),
            demands: VecDeque::new(),
            released: Vec::new(),
            rest: None,
            closing: false,
        };
        Arc::new(Self { state: Mutex::new(state), wake: Condvar::new(), ready })
    }

    /// Works until the pool is closed, and then clears away; for a thread of its own.
    pub(crate) fn work(&self, workshop: &Workshop) {
        loop {
            match self.next() {
                Job::Demand(policy, answer) => {
                    if let Err(Ok(unwanted)) = answer.send(self.build(workshop, policy)) {
                        self.lock().policies[policy].idle.push_back(unwanted);
                    }
                }
                Job::Release(policy, address) => {
                    workshop.cut(address);
                    self.lock().policies[policy].addresses.give_back(address);
                }
                Job::Refill(policy) => match self.build(workshop, policy) {
                    Ok(slot) => self.lock().policies[policy].idle.push_back(slot),
                    Err(error) => {
                        tracing::warn!(%error, "no network namespace in stock");
                        // tried again when the next one is taken
                        self.lock().policies[policy].wanted = 0;
                    }
                },
                Job::Close => break,
            }
        }
        self.lock().policies.iter_mut().for_each(|shelf| shelf.idle.clear());
        workshop.close();
    }

    /// What is most urgent; waits until there is something.
    fn next(&self) -> Job {
        let mut state = self.lock();
        loop {
            if state.closing {
                return Job::Close;
            }
            if let Some((policy, answer)) = state.demands.pop_front() {
                return Job::Demand(policy, answer);
            }
            let rest = state.rest.and_then(|rest| rest.checked_duration_since(Instant::now()));
            let rest = rest.filter(|_| !state.policies.iter().any(Shelf::is_low));
            if let Some(rest) = rest {
                state = self.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.rest = None;
            if let Some((policy, address)) = state.released.pop() {
                return Job::Release(policy, address);
            }
            if let Some(policy) = state.policies.iter().position(|shelf| shelf.idle.len() < shelf.wanted) {
                return Job::Refill(policy);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn build(&self, workshop: &Workshop, policy: usize) -> io::Result<Slot> {
        let mut result =
            Err(io::Error::other("every address of the range is in use; set a larger network.range"));
        for _ in 0..ATTEMPTS {
            let Some(address) = self.lock().policies[policy].addresses.take() else { break };
            match workshop.build(address) {
                Ok(namespace) => return Ok(Slot { namespace, address, policy }),
                Err(error) => {
                    workshop.cut(address);
                    self.lock().policies[policy].addresses.give_back(address);
                    result = Err(error);
                }
            }
        }
        result
    }

    /// A namespace from the stock, or a new one where it is empty.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn take(
        self: &Arc<Self>,
        policy: usize,
        firewall: &Arc<Firewall>,
    ) -> Result<Lease, String> {
        let built = {
            let mut state = self.lock();
            let shelf = state.policies.get_mut(policy).ok_or("there is no such network policy")?;
            shelf.wanted = self.ready;
            let idle = shelf.idle.pop_front();
            state.rest.get_or_insert_with(|| Instant::now() + REST);
            let built = match idle {
                Some(slot) => Ok(slot),
                None => {
                    let (answer, built) = oneshot::channel();
                    state.demands.push_back((policy, answer));
                    Err(built)
                }
            };
            self.wake.notify_one();
            built
        };
        let slot = match built {
            Ok(slot) => slot,
            Err(built) => {
                let built = tokio::time::timeout(BUILD_WITHIN, built).await;
                let built = built.map_err(|_| "a network namespace was not made in time")?;
                let built = built.map_err(|_| "the node is shutting down")?;
                built.map_err(|error| format!("a network namespace cannot be made: {error}"))?
            }
        };
        Ok(Lease { slot: Some(slot), pool: Arc::clone(self), firewall: Arc::clone(firewall) })
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Whether the next starts may find nothing.
    fn is_low(&self) -> bool {
        2 * self.idle.len() < self.wanted
    }
}

impl Lease {
    /// The namespace, until this is dropped.
    pub(crate) fn namespace(&self) -> Option<&OwnedFd> {
        self.slot.as_ref().map(|slot| &slot.namespace)
    }

    /// The sandbox's address.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.slot.as_ref().map(|slot| slot.address)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Slot { namespace, address, policy }) = self.slot.take() else { return };
        drop(namespace);
        self.firewall.forget(address);
        self.pool.lock().released.push((policy, address));
        self.pool.wake.notify_one();
    }
}
