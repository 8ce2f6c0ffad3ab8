//! The pool of finished network namespaces, kept full by one thread off the path of starts.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::firewall::Firewall;
use super::layout::Addresses;
use super::schedule::{Job, Next, Schedule, Slot};
use super::workshop::Workshop;

/// How long a namespace may take on a busy machine; it takes about a millisecond.
const BUILD_WITHIN: Duration = Duration::from_secs(10);
/// How often another address is tried, when the kernel still has what had this one.
const ATTEMPTS: u32 = 3;

/// A network namespace for one sandbox, gone when this is dropped: a namespace is never used twice.
#[derive(Debug)]
pub(crate) struct Lease {
    slot: Option<Slot>,
    pool: Arc<Pool>,
    firewall: Arc<Firewall>,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    schedule: Mutex<Schedule>,
    wake: Condvar,
}

impl Pool {
    /// A pool that keeps so many namespaces ready for the first policy, and for each other one from its first use on.
    pub(crate) fn new(workshop: &Workshop, ready: usize) -> Arc<Self> {
        let policies = workshop.layout.blocks().iter().map(|block| Addresses::new(*block));
        Arc::new(Self { schedule: Mutex::new(Schedule::new(policies, ready)), wake: Condvar::new() })
    }

    /// Works until the pool is closed, and then clears away; for a thread of its own.
    pub(crate) fn work(&self, workshop: &Workshop) {
        loop {
            match self.next() {
                Job::Demand(policy, answer) => {
                    if let Err(Ok(unwanted)) = answer.send(self.build(workshop, policy)) {
                        self.lock().put(unwanted);
                    }
                }
                Job::Release(policy, address) => self.cut(workshop, policy, address),
                Job::Refill(policy) => match self.build(workshop, policy) {
                    Ok(slot) => self.lock().put(slot),
                    Err(error) => {
                        tracing::warn!(%error, "no network namespace in stock");
                        self.lock().give_up(policy);
                    }
                },
                Job::Close => break,
            }
        }
        self.lock().clear();
        workshop.close();
    }

    /// What is most urgent; waits where that is nothing.
    fn next(&self) -> Job {
        let mut schedule = self.lock();
        loop {
            schedule = match schedule.next(Instant::now()) {
                Next::Do(job) => return job,
                Next::Wait(Some(rest)) => {
                    self.wake.wait_timeout(schedule, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Wait(None) => self.wake.wait(schedule).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn build(&self, workshop: &Workshop, policy: usize) -> io::Result<Slot> {
        let mut result =
            Err(io::Error::other("every address of the range is in use; set a larger network.range"));
        for _ in 0..ATTEMPTS {
            let Some(address) = self.lock().addresses(policy).take() else { break };
            match workshop.build(address) {
                Ok(namespace) => return Ok(Slot { namespace, address, policy }),
                Err(error) => {
                    self.cut(workshop, policy, address);
                    result = Err(error);
                }
            }
        }
        result
    }

    fn cut(&self, workshop: &Workshop, policy: usize, address: Ipv4Addr) {
        workshop.cut(address);
        self.lock().addresses(policy).give_back(address);
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
            let mut schedule = self.lock();
            let built = schedule.take(policy, Instant::now())?.ok_or_else(|| {
                let (answer, built) = oneshot::channel();
                schedule.demand(policy, answer);
                built
            });
            // after the lock is free: who is woken wants it
            drop(schedule);
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
        self.lock().close();
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.pool.lock().release(policy, address);
        self.pool.wake.notify_one();
    }
}
