//! What the thread of the pool does next, and when: decided here, done by the pool.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::layout::Addresses;

/// How long the thread leaves the processors to a start before it fills up, unless there is little left; an interpreter takes
/// some 40 ms.
const REST: Duration = Duration::from_millis(60);

/// A finished network namespace.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) namespace: OwnedFd,
    pub(crate) address: Ipv4Addr,
    pub(crate) policy: usize,
}

/// Where the result of a demand goes.
pub(crate) type Answer = oneshot::Sender<io::Result<Slot>>;

/// What there is, and what is to be done.
#[derive(Debug)]
pub(crate) struct Schedule {
    shelves: Vec<Shelf>,
    demands: VecDeque<(usize, Answer)>,
    released: Vec<(usize, Ipv4Addr)>,
    /// Until when a start is left alone. A stream of starts does not put it off.
    rest: Option<Instant>,
    is_closing: bool,
    /// How many of a policy in use are kept ready.
    ready: usize,
}

/// What there is of one policy.
#[derive(Debug)]
struct Shelf {
    idle: VecDeque<Slot>,
    addresses: Addresses,
    /// How many are to be idle.
    wanted: usize,
}

/// What the thread does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// This.
    Do(Job),
    /// Nothing for so long, or until something happens.
    Wait(Option<Duration>),
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make one that somebody waits for.
    Demand(usize, Answer),
    /// Clear one away.
    Release(usize, Ipv4Addr),
    /// Make one for the stock.
    Refill(usize),
    /// End.
    Close,
}

impl Schedule {
    /// The addresses of each policy; the first is kept ready from now on, each other one from its first use on.
    pub(crate) fn new(policies: impl Iterator<Item = Addresses>, ready: usize) -> Self {
        let shelf = |(number, addresses)| Shelf {
            idle: VecDeque::new(),
            addresses,
            wanted: if number == 0 { ready } else { 0 },
        };
        Self {
            shelves: policies.enumerate().map(shelf).collect(),
            demands: VecDeque::new(),
            released: Vec::new(),
            rest: None,
            is_closing: false,
            ready,
        }
    }

    /// What is most urgent.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.is_closing {
            return Next::Do(Job::Close);
        }
        if let Some((policy, answer)) = self.demands.pop_front() {
            return Next::Do(Job::Demand(policy, answer));
        }
        let rest = self.rest.map(|rest| rest.saturating_duration_since(now)).filter(|rest| !rest.is_zero());
        if rest.is_some() && !self.shelves.iter().any(Shelf::is_low) {
            return Next::Wait(rest);
        }
        self.rest = None;
        if let Some((policy, address)) = self.released.pop() {
            return Next::Do(Job::Release(policy, address));
        }
        let short = self.shelves.iter().position(|shelf| shelf.idle.len() < shelf.wanted);
        short.map_or(Next::Wait(None), |policy| Next::Do(Job::Refill(policy)))
    }

    /// One from the stock for a start. Where there is none, what [`Schedule::demand`] is for.
    ///
    /// # Errors
    /// When there is no such policy.
    pub(crate) fn take(&mut self, policy: usize, now: Instant) -> Result<Option<Slot>, String> {
        let shelf = self.shelves.get_mut(policy).ok_or("there is no such network policy")?;
        shelf.wanted = self.ready;
        self.rest.get_or_insert(now + REST);
        Ok(shelf.idle.pop_front())
    }

    /// Somebody waits for one.
    pub(crate) fn demand(&mut self, policy: usize, answer: Answer) {
        self.demands.push_back((policy, answer));
    }

    /// One more is in stock.
    pub(crate) fn put(&mut self, slot: Slot) {
        self.shelves[slot.policy].idle.push_back(slot);
    }

    /// None of this policy can be made; the next one that is taken tries again.
    pub(crate) fn give_up(&mut self, policy: usize) {
        self.shelves[policy].wanted = 0;
    }

    /// Its sandbox is gone.
    pub(crate) fn release(&mut self, policy: usize, address: Ipv4Addr) {
        self.released.push((policy, address));
    }

    /// The addresses of a policy.
    pub(crate) fn addresses(&mut self, policy: usize) -> &mut Addresses {
        &mut self.shelves[policy].addresses
    }

    /// Ends the thread.
    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Throws away what is in stock.
    pub(crate) fn clear(&mut self) {
        self.shelves.iter_mut().for_each(|shelf| shelf.idle.clear());
    }
}

impl Shelf {
    /// Whether the next starts may find nothing.
    fn is_low(&self) -> bool {
        2 * self.idle.len() < self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two policies, the first of which has four ready.
    fn filled() -> (Schedule, Instant) {
        let addresses = ["10.0.0.0/24", "10.0.1.0/24"].map(|block| Addresses::new(block.parse().unwrap()));
        let mut schedule = Schedule::new(addresses.into_iter(), 4);
        let now = Instant::now();
        fill(&mut schedule, now);
        (schedule, now)
    }

    /// Does what is to be done until there is nothing; how many were made.
    fn fill(schedule: &mut Schedule, now: Instant) -> usize {
        for made in 0.. {
            match schedule.next(now) {
                Next::Do(Job::Refill(policy)) => schedule.put(slot(policy)),
                Next::Wait(None) => return made,
                other => panic!("{other:?}"),
            }
        }
        unreachable!()
    }

    fn slot(policy: usize) -> Slot {
        let namespace = std::fs::File::open("/dev/null").unwrap().into();
        Slot { namespace, address: Ipv4Addr::LOCALHOST, policy }
    }

    fn take(schedule: &mut Schedule, policy: usize, now: Instant) -> Option<Slot> {
        schedule.take(policy, now).unwrap()
    }

    #[test]
    fn only_the_first_policy_is_kept_ready_before_its_use() {
        let (mut schedule, now) = filled();
        assert!((0..4).all(|_| take(&mut schedule, 0, now).is_some()));
        assert!(take(&mut schedule, 0, now).is_none());
        assert!(take(&mut schedule, 1, now).is_none());
        assert_eq!(fill(&mut schedule, now), 8);
        assert!(schedule.take(2, now).is_err());
    }

    #[test]
    fn a_start_is_left_alone_for_a_while() {
        let (mut schedule, now) = filled();
        take(&mut schedule, 0, now);
        schedule.release(0, Ipv4Addr::LOCALHOST);
        assert!(matches!(schedule.next(now), Next::Wait(Some(REST))));
        let later = now + REST - Duration::from_millis(1);
        assert!(matches!(schedule.next(later), Next::Wait(Some(rest)) if rest.as_millis() == 1));
        assert!(matches!(schedule.next(now + REST), Next::Do(Job::Release(0, _))));
        assert_eq!(fill(&mut schedule, now + REST), 1);
    }

    #[test]
    fn a_stream_of_starts_does_not_put_the_rest_off() {
        let (mut schedule, now) = filled();
        take(&mut schedule, 0, now);
        take(&mut schedule, 0, now + REST / 2);
        assert!(matches!(schedule.next(now + REST), Next::Do(Job::Refill(0))));
    }

    #[test]
    fn where_little_is_left_there_is_no_rest() {
        let (mut schedule, now) = filled();
        (0..3).for_each(|_| drop(take(&mut schedule, 0, now)));
        assert!(matches!(schedule.next(now), Next::Do(Job::Refill(0))));
    }

    #[test]
    fn who_waits_comes_first() {
        let (mut schedule, now) = filled();
        take(&mut schedule, 0, now);
        schedule.release(0, Ipv4Addr::LOCALHOST);
        schedule.demand(1, oneshot::channel().0);
        assert!(matches!(schedule.next(now), Next::Do(Job::Demand(1, _))));
        schedule.close();
        schedule.demand(1, oneshot::channel().0);
        assert!(matches!(schedule.next(now), Next::Do(Job::Close)));
    }

    #[test]
    fn what_cannot_be_made_is_tried_again_at_the_next_start() {
        let (mut schedule, now) = filled();
        (0..4).for_each(|_| drop(take(&mut schedule, 0, now)));
        schedule.give_up(0);
        assert!(matches!(schedule.next(now + REST), Next::Wait(None)));
        take(&mut schedule, 0, now);
        assert!(matches!(schedule.next(now), Next::Do(Job::Refill(0))));
    }
}
