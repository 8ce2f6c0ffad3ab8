//! The stem cells that there really are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use triplane_core::collector::Stems;
use triplane_proxy::runtime::Sandbox;

use super::{Class, Next, StemCells};
use crate::launch::Launched;

/// Holds them. Those that are not held any more are killed.
#[derive(Debug)]
pub(crate) struct Keeper {
    cells: Mutex<StemCells<Waiting>>,
    changed: Notify,
    began: Instant,
}

/// The memory of a container, which stem cells may have again when this is dropped.
#[derive(Debug)]
pub(crate) struct Charged {
    keeper: Arc<Keeper>,
    memory_mb: u64,
}

impl Drop for Charged {
    fn drop(&mut self) {
        let now = self.keeper.now();
        self.keeper.cells().release(self.memory_mb, now);
        self.keeper.changed.notify_one();
    }
}

/// A stem cell that waits.
#[derive(Debug)]
struct Waiting {
    launched: Launched,
    /// Who waits for its end.
    watch: AbortHandle,
}

impl Waiting {
    fn into_launched(self) -> Launched {
        self.watch.abort();
        self.launched
    }
}

impl Keeper {
    /// Holds none, on a node that offers so much memory.
    pub(crate) fn new(memory_mb: u64) -> Arc<Self> {
        let cells = Mutex::new(StemCells::new(memory_mb));
        Arc::new(Self { cells, changed: Notify::new(), began: Instant::now() })
    }

    /// So many there shall be; of other classes none.
    pub(crate) fn want(&self, stems: &[Stems]) {
        let now = self.now();
        let surplus = self.cells().want(stems, now);
        self.changed.notify_one();
        drop(surplus);
    }

    /// What the node offers, MB.
    pub(crate) fn memory_mb(&self) -> u64 {
        self.cells().memory_mb()
    }

    /// The node offers so much memory from now on.
    pub(crate) fn offer(&self, memory_mb: u64) {
        let now = self.now();
        let surplus = self.cells().offer(memory_mb, now);
        drop(surplus);
    }

    /// A container has so much memory until what this returns is dropped. It ends the stem cells that there is no room for beside it.
    pub(crate) fn charge(self: &Arc<Self>, memory_mb: u64) -> Charged {
        let now = self.now();
        let surplus = self.cells().charge(memory_mb, now);
        drop(surplus);
        Charged { keeper: Arc::clone(self), memory_mb }
    }

    /// Says that a start happens, and takes the one of a kind and memory that waits longest.
    pub(crate) fn take(&self, kind: &str, memory_mb: u64) -> Option<Launched> {
        let now = self.now();
        let taken = {
            let mut cells = self.cells();
            cells.started(now);
            cells.take(kind, memory_mb)
        };
        self.changed.notify_one();
        taken.map(Waiting::into_launched)
    }

    /// Ends one to make room for a start; says whether there was one.
    pub(crate) async fn give_way(&self) -> bool {
        let taken = self.cells().take_any();
        let Some(launched) = taken.map(Waiting::into_launched) else { return false };
        launched.sandbox.kill();
        launched.sandbox.exited().await;
        true
    }

    /// How many wait, by class.
    pub(crate) fn waiting(&self) -> Vec<Stems> {
        self.cells().waiting()
    }

    /// What is to be started next, when it is time; nothing when no more is.
    pub(crate) async fn next(&self) -> Option<(Class, u64)> {
        loop {
            let now = self.now();
            let next = self.cells().next(now);
            match next {
                Next::Start(class, number) => return Some((class, number)),
                Next::End => return None,
                Next::Wait(None) => self.changed.notified().await,
                Next::Wait(Some(rest)) => {
                    // whatever has changed, the next one may be due at another time
                    let _ = tokio::time::timeout(rest, self.changed.notified()).await;
                }
            }
        }
    }

    /// One that was to be started waits now, or could not be started.
    pub(crate) fn put(self: &Arc<Self>, class: Class, number: u64, launched: Result<Launched, String>) {
        let launched = match launched {
            Ok(launched) => launched,
            Err(error) => {
                tracing::warn!(kind = &*class.0, memory_mb = class.1, error, "no stem cell");
                let now = self.now();
                return self.cells().failed(&class, number, now);
            }
        };
        let (keeper, exited) = (Arc::clone(self), launched.sandbox.exited());
        let watch = tokio::spawn(async move {
            let exit = exited.await;
            let now = keeper.now();
            let ended = keeper.cells().ended(number, now);
            if ended.is_some() {
                tracing::warn!(?exit, "a stem cell ended while it waited");
                keeper.changed.notify_one();
            }
        });
        let waiting = Waiting { launched, watch: watch.abort_handle() };
        let surplus = self.cells().put(class, number, waiting);
        drop(surplus);
    }

    /// None are held from now on.
    pub(crate) fn close(&self) {
        let all = self.cells().close();
        self.changed.notify_one();
        drop(all);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn cells(&self) -> MutexGuard<'_, StemCells<Waiting>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
