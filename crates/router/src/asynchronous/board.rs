//! What the dispatcher, the calls that it runs and those who accept calls tell each other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use triplane_core::asynchronous::{Destination, LANES_MAX};
use triplane_model::{ActivationId, EntityName};

/// Times that are remembered; what is due at others is found by the look of each second.
pub(crate) const DUES_MAX: usize = 1_024;
/// To what times are rounded up, milliseconds.
const DUE_STEP_MS: u64 = 10;

/// A lane of the queue: whose calls, and of what.
pub(crate) type Lane = (EntityName, Destination);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Board {
    news: Mutex<News>,
    held: Mutex<HashMap<ActivationId, Arc<Held>>>,
    /// There is news.
    pub(crate) notice: Notify,
}

/// What the dispatcher has not heard yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Calls that were accepted, by lane. What does not fit is found by the next look at the queue.
    pub(crate) accepted: HashMap<Lane, u64>,
    /// Lanes that rested and of which a call started.
    pub(crate) started: HashSet<Lane>,
    /// When calls are due that were put there for later, epoch milliseconds.
    pub(crate) dues: BTreeSet<u64>,
    /// Somebody changed the queue.
    pub(crate) is_changed: bool,
}

/// A call that this router holds.
#[derive(Debug)]
pub(crate) struct Held {
    /// The number of the lease; another one when the call was taken over from ourselves.
    number: AtomicU32,
    is_stopped: AtomicBool,
    /// It is not to be sent any more, because this router goes away.
    is_withdrawn: AtomicBool,
    told: Notify,
}

impl Board {
    /// A call that may be leased is in the queue.
    pub(crate) fn accepted(&self, lane: Lane) {
        let mut news = self.news();
        if news.accepted.len() < LANES_MAX || news.accepted.contains_key(&lane) {
            *news.accepted.entry(lane).or_default() += 1;
        }
        drop(news);
        self.notice.notify_one();
    }

    /// A call of a lane that rested was sent.
    pub(crate) fn started(&self, lane: Lane) {
        self.news().started.insert(lane);
        self.notice.notify_one();
    }

    /// A call is due then. Times are rounded up, so that calls of one moment are one look at the queue.
    pub(crate) fn due(&self, due_ms: u64) {
        let mut news = self.news();
        if news.dues.len() < DUES_MAX {
            news.dues.insert(due_ms.next_multiple_of(DUE_STEP_MS));
        }
        drop(news);
        self.notice.notify_one();
    }

    /// Calls may have become due.
    pub(crate) fn changed(&self) {
        self.news().is_changed = true;
        self.notice.notify_one();
    }

    pub(crate) fn take_news(&self) -> News {
        std::mem::take(&mut *self.news())
    }

    /// A call is held from now on.
    pub(crate) fn hold(&self, id: ActivationId, number: u32) -> Arc<Held> {
        let held = Arc::new(Held {
            number: AtomicU32::new(number),
            is_stopped: AtomicBool::new(false),
            is_withdrawn: AtomicBool::new(false),
            told: Notify::new(),
        });
        self.held().insert(id, Arc::clone(&held));
        held
    }

    /// A call is not held any more, unless it was leased again meanwhile.
    pub(crate) fn let_go(&self, id: ActivationId, held: &Arc<Held>) {
        let mut all = self.held();
        if all.get(&id).is_some_and(|known| Arc::ptr_eq(known, held)) {
            all.remove(&id);
        }
    }

    /// A call that is held.
    pub(crate) fn find(&self, id: ActivationId) -> Option<Arc<Held>> {
        self.held().get(&id).cloned()
    }

    /// The router goes away: what was not sent is put back.
    pub(crate) fn withdraw_all(&self) {
        for held in self.held().values() {
            held.is_withdrawn.store(true, Ordering::SeqCst);
            held.told.notify_waiters();
        }
    }

    /// The names of all holds.
    pub(crate) fn holds(&self) -> Vec<(ActivationId, u32)> {
        self.held().iter().map(|(id, held)| (*id, held.number())).collect()
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ActivationId, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::SeqCst)
    }

    /// The call is held under another number, because its lease lapsed and came back to us.
    pub(crate) fn renumber(&self, number: u32) {
        self.number.store(number, Ordering::SeqCst);
    }

    /// Its cancellation was asked for.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Whether it may still be sent.
    pub(crate) fn may_be_sent(&self) -> bool {
        !self.is_stopped() && !self.is_withdrawn.load(Ordering::SeqCst)
    }

    /// Waits until its cancellation is asked for.
    pub(crate) async fn stopped(&self) {
        self.until(|| self.is_stopped()).await;
    }

    /// Waits until it is not to be sent any more.
    pub(crate) async fn not_to_be_sent(&self) {
        self.until(|| !self.may_be_sent()).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let told = self.told.notified();
            if holds() {
                return;
            }
            told.await;
        }
    }
}
