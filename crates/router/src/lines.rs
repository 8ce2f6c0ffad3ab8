//! All waiting lines, and what they share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_core::route::Table;
use triplane_model::{FullName, Revision};

use crate::clock::Clock;
use crate::line::{Line, LineFull};
use crate::settings::Settings;
use crate::uplink::Uplink;

/// What lines share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) uplink: Uplink,
    pub(crate) waiting_per_action_max: usize,
    waiting_total_max: usize,
    waiting_total: AtomicUsize,
    /// Lines whose demand or use is to be told anew.
    dirty: Mutex<Vec<Arc<Line>>>,
}

impl Shared {
    pub(crate) fn new(settings: &Settings, clock: Clock, uplink: Uplink) -> Arc<Self> {
        Arc::new(Self {
            clock,
            uplink,
            waiting_per_action_max: settings.waiting_per_action_max,
            waiting_total_max: settings.waiting_total_max,
            waiting_total: AtomicUsize::new(0),
            dirty: Mutex::default(),
        })
    }

    /// Takes a place among all waiting calls.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Place, LineFull> {
        let entered = self.waiting_total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < self.waiting_total_max).then_some(waiting + 1)
        });
        match entered {
            Ok(_) => Ok(Place(Arc::clone(self))),
            Err(_) => Err(LineFull),
        }
    }

    /// Calls that wait, for whichever action.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_total.load(Ordering::Relaxed)
    }

    /// Notes that a line's demand or use is to be told anew.
    pub(crate) fn mark_dirty(&self, line: &Arc<Line>) {
        if line.set_dirty() {
            self.dirty().push(Arc::clone(line));
        }
        self.uplink.later.notify_one();
    }

    /// Tells the use and the demand of all lines that have news; tells whether nothing is left to say.
    pub(crate) fn flush(&self) -> bool {
        let dirty = std::mem::take(&mut *self.dirty());
        let mut all_said = true;
        for line in dirty {
            if !line.flush() {
                all_said = false;
                if line.set_dirty() {
                    self.dirty().push(line);
                }
            }
        }
        all_said
    }

    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among all waiting calls.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting_total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lines by what they wait for. A line lives as long as someone uses it.
#[derive(Debug)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
    known: Mutex<Known>,
    pub(crate) table: ArcSwap<Table>,
}

#[derive(Debug, Default)]
struct Known {
    lines: HashMap<Arc<ActionKey>, Weak<Line>>,
    /// Dead entries are removed when there are so many.
    sweep_at: usize,
}

impl Lines {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, known: Mutex::default(), table: ArcSwap::default() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The line of an action, made if there is none.
    pub(crate) fn line(&self, spec: &Arc<ContainerSpec>) -> Arc<Line> {
        let mut known = self.known();
        if let Some(line) = known.lines.get(&spec.key).and_then(Weak::upgrade) {
            return line;
        }
        if known.lines.len() >= known.sweep_at {
            known.lines.retain(|_, line| line.strong_count() > 0);
            known.sweep_at = 2 * known.lines.len().max(64);
        }
        let line = Arc::new(Line::new(Arc::clone(spec), Arc::clone(&self.shared)));
        known.lines.insert(Arc::clone(&spec.key), Arc::downgrade(&line));
        // Under the lock: a table that is published meanwhile finds the line and tells it.
        line.regroup(self.table.load().group(&spec.key).cloned());
        line
    }

    /// Publishes a table and tells the line of `key`, or every line.
    pub(crate) fn publish(&self, table: Table, key: Option<&ActionKey>) {
        self.table.store(Arc::new(table));
        let table = self.table.load();
        match key {
            Some(key) => {
                if let Some(line) = self.existing(key) {
                    line.regroup(table.group(key).cloned());
                }
            }
            None => self.all().iter().for_each(|line| line.regroup(table.group(&line.spec.key).cloned())),
        }
    }

    /// The line of an action, if there is one.
    pub(crate) fn existing(&self, key: &ActionKey) -> Option<Arc<Line>> {
        self.known().lines.get(key).and_then(Weak::upgrade)
    }

    /// Ends the lines of what is made of older revisions of an entity, or of all if it is deleted.
    pub(crate) fn entity_changed(&self, name: &FullName, revision: Option<Revision>) {
        let is_old = |key: &ActionKey| key.is_of(name) && revision.is_none_or(|new| key.revision < new);
        let old: Vec<_> = {
            let known = self.known();
            let old = known.lines.iter().filter(|(key, _)| is_old(key));
            old.filter_map(|(_, line)| line.upgrade()).collect()
        };
        old.iter().for_each(Line::end);
    }

    /// All lines.
    pub(crate) fn all(&self) -> Vec<Arc<Line>> {
        self.known().lines.values().filter_map(Weak::upgrade).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
