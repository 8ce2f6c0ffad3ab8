//! Who leads the control plane: one record in a store that compares and sets.
//!
//! A lease as in "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency" (Gray and Cheriton, SOSP
//! 1989), held as Kubernetes' clients hold theirs: nobody compares clocks of two machines. Whoever waits for the lease counts the time since
//! it *saw* the record change; whoever holds it counts from when it *asked* for the renewal that succeeded, and gives up
//! well before. So while all clocks run equally fast two never lead at once, and if they do not, the epoch, which grows with
//! each take-over, fences the older one (LEASE-1).
//!
//! [`Candidate`] is a machine: [`Candidate::step`] takes an event and `now`, and says what is to be done.

use crate::id::Epoch;

/// One process that may lead; unique, also over its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CandidateId(pub u64);

/// What the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who leads.
    pub holder: CandidateId,
    /// Its fencing token.
    pub epoch: Epoch,
    /// How often it has renewed: a renewal must be seen as a change.
    pub renewals: u64,
}

/// How long things may take, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A record that was not seen to change for so long may be replaced.
    pub lease_ms: u64,
    /// A leader that could not renew for so long leads no more. Less than the lease by more than clocks may differ over it.
    pub give_up_ms: u64,
    /// How often the record is read or renewed, and how long an answer is waited for.
    pub period_ms: u64,
}

impl Default for Settings {
    /// As Kubernetes' own components.
    fn default() -> Self {
        Self { lease_ms: 15_000, give_up_ms: 10_000, period_ms: 2_000 }
    }
}

/// The number of a request to the store; its answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request(pub u64);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Ticked,
    /// The store answered [`Action::Read`].
    Read(Request, Option<Record>),
    /// The store answered [`Action::Write`]: whether the record was as expected, and is now as asked.
    Wrote(Request, bool),
    /// The process ends in peace: its lease is to be free at once.
    Resigned,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the record; answer with [`Event::Read`]. No answer is fine: it is asked again.
    Read(Request),
    /// Replace the record if it is still `over`; answer with [`Event::Wrote`].
    Write {
        /// The number of the request.
        request: Request,
        /// What must be there.
        over: Option<Record>,
        /// What comes there; nothing gives the lease back.
        record: Option<Record>,
    },
    /// Lead under this epoch.
    Lead(Epoch),
    /// Lead no more, at once.
    StepDown,
}

/// The machine of one process.
#[derive(Debug)]
pub struct Candidate {
    id: CandidateId,
    settings: Settings,
    now_ms: u64,
    /// The record as last seen, and when it was first seen so.
    seen: Option<(Option<Record>, u64)>,
    /// The highest epoch ever seen: a lease that was given back leaves no record.
    epoch: Epoch,
    leads: Option<Leadership>,
    pending: Option<Pending>,
    due_ms: u64,
    last_request: u64,
    /// A renewal was refused: it leads until it has read why, as long as the lease lasts.
    unsure: bool,
    resigned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Leadership {
    record: Record,
    /// When the renewal was asked for that succeeded last.
    renewed_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    request: Request,
    asked_ms: u64,
    /// What is written; nothing for a read.
    write: Option<Record>,
}

impl Candidate {
    /// A process that leads nothing and knows nothing.
    #[must_use]
    pub fn new(id: CandidateId, settings: Settings) -> Self {
        Self {
            id,
            settings,
            now_ms: 0,
            seen: None,
            epoch: Epoch::default(),
            leads: None,
            pending: None,
            due_ms: 0,
            last_request: 0,
            unsure: false,
            resigned: false,
        }
    }

    /// Which process this is.
    #[must_use]
    pub fn id(&self) -> CandidateId {
        self.id
    }

    /// The epoch under which this process leads now. To be asked before each command: a process that was asleep for long has not
    /// heard yet that it leads no more.
    #[must_use]
    pub fn leads(&self, now_ms: u64) -> Option<Epoch> {
        let leads = self.leads.filter(|leads| now_ms < leads.renewed_ms + self.settings.give_up_ms);
        leads.map(|leads| leads.record.epoch)
    }

    /// Takes in an event and adds what is to be done, in order. `now_ms` is monotonic.
    pub fn step(&mut self, now_ms: u64, event: Event, actions: &mut Vec<Action>) {
        self.now_ms = self.now_ms.max(now_ms);
        // first of all: whoever was asleep must not act on a lease that has lapsed meanwhile
        self.give_up_in_time(actions);
        match event {
            Event::Ticked => {}
            Event::Read(request, record) => {
                if self.answered(request).is_some() {
                    self.read(record, actions);
                }
            }
            Event::Wrote(request, done) => {
                if let Some(pending) = self.answered(request) {
                    self.wrote(pending, done, actions);
                }
            }
            Event::Resigned => self.resign(actions),
        }
        self.ask_if_due(actions);
    }

    fn give_up_in_time(&mut self, actions: &mut Vec<Action>) {
        if self.leads.is_some() && self.leads(self.now_ms).is_none() {
            self.step_down(actions);
        }
    }

    /// The request that is answered, unless it was given up.
    fn answered(&mut self, request: Request) -> Option<Pending> {
        self.pending.take_if(|pending| pending.request == request)
    }

    fn read(&mut self, record: Option<Record>, actions: &mut Vec<Action>) {
        self.see(record);
        let Some(leads) = &mut self.leads else { return self.take_over_if_lapsed(actions) };
        self.unsure = false;
        match record.filter(|it| it.holder == self.id && it.epoch == leads.record.epoch) {
            // A renewal was written, and its answer lost. When it was asked for is not known any more, so it does not count.
            Some(record) => {
                leads.record = record;
                self.due_ms = self.now_ms;
            }
            None => self.step_down(actions),
        }
    }

    fn step_down(&mut self, actions: &mut Vec<Action>) {
        if self.leads.take().is_some() {
            actions.push(Action::StepDown);
        }
    }

    fn see(&mut self, record: Option<Record>) {
        if let Some(record) = record {
            self.epoch = self.epoch.max(record.epoch);
        }
        match self.seen {
            Some((seen, _)) if seen == record => {}
            _ => self.seen = Some((record, self.now_ms)),
        }
    }

    fn take_over_if_lapsed(&mut self, actions: &mut Vec<Action>) {
        let Some((seen, since_ms)) = self.seen else { return };
        let lapsed = match seen {
            None => true,
            // Its own, from a write that was answered too late: whatever it led by it has ended.
            Some(record) if record.holder == self.id => true,
            Some(_) => self.now_ms >= since_ms + self.settings.lease_ms,
        };
        if lapsed && self.leads.is_none() && !self.resigned {
            let epoch = Epoch(self.epoch.0 + 1);
            self.write(seen, Record { holder: self.id, epoch, renewals: 0 }, actions);
        }
    }

    fn wrote(&mut self, pending: Pending, done: bool, actions: &mut Vec<Action>) {
        let Some(record) = pending.write else { return };
        if !done {
            // Somebody else was faster, or an earlier renewal was written and its answer lost: to be read before anything else.
            self.unsure = true;
            self.due_ms = self.now_ms;
            return;
        }
        self.see(Some(record));
        let is_late = self.now_ms >= pending.asked_ms + self.settings.give_up_ms;
        // Who has given up meanwhile does not lead by a renewal again: nobody may lead twice under one epoch.
        let is_over = self.leads.is_none() && record.renewals > 0;
        if self.resigned || is_late || is_over {
            return;
        }
        self.unsure = false;
        let leads_already = self.leads.is_some_and(|leads| leads.record.epoch == record.epoch);
        self.leads = Some(Leadership { record, renewed_ms: pending.asked_ms });
        if !leads_already {
            actions.push(Action::Lead(record.epoch));
        }
    }

    fn resign(&mut self, actions: &mut Vec<Action>) {
        self.resigned = true;
        self.pending = None;
        if let Some(Leadership { record, .. }) = self.leads {
            self.step_down(actions);
            // It may come to nothing, because a renewal is on its way: then the lease lapses by itself.
            let request = self.next_request();
            actions.push(Action::Write { request, over: Some(record), record: None });
        }
    }

    fn ask_if_due(&mut self, actions: &mut Vec<Action>) {
        let late = |pending: &mut Pending| self.now_ms >= pending.asked_ms + self.settings.period_ms;
        self.pending.take_if(late);
        if self.resigned || self.pending.is_some() || self.now_ms < self.due_ms {
            return;
        }
        self.due_ms = self.now_ms + self.settings.period_ms;
        match self.leads.filter(|_| !self.unsure) {
            Some(Leadership { record, .. }) => {
                self.write(Some(record), Record { renewals: record.renewals + 1, ..record }, actions);
            }
            None => {
                let request = self.ask(None);
                actions.push(Action::Read(request));
            }
        }
    }

    fn write(&mut self, over: Option<Record>, record: Record, actions: &mut Vec<Action>) {
        let request = self.ask(Some(record));
        actions.push(Action::Write { request, over, record: Some(record) });
    }

    fn ask(&mut self, write: Option<Record>) -> Request {
        let request = self.next_request();
        self.pending = Some(Pending { request, asked_ms: self.now_ms, write });
        request
    }

    fn next_request(&mut self) -> Request {
        self.last_request += 1;
        Request(self.last_request)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mix::mix;

    const SETTINGS: Settings = Settings { lease_ms: 150, give_up_ms: 100, period_ms: 20 };

    fn step(candidate: &mut Candidate, now_ms: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        candidate.step(now_ms, event, &mut actions);
        actions
    }

    fn candidate(id: u64) -> Candidate {
        Candidate::new(CandidateId(id), SETTINGS)
    }

    fn record(holder: u64, epoch: u64, renewals: u64) -> Record {
        Record { holder: CandidateId(holder), epoch: Epoch(epoch), renewals }
    }

    /// Candidate 1 has taken an empty store at time 0, and renews next as its request 3.
    fn leader() -> Candidate {
        let mut leader = candidate(1);
        assert_eq!(step(&mut leader, 0, Event::Ticked), [Action::Read(Request(1))]);
        let taken = step(&mut leader, 0, Event::Read(Request(1), None));
        let first = Some(record(1, 1, 0));
        assert_eq!(taken, [Action::Write { request: Request(2), over: None, record: first }]);
        assert_eq!(step(&mut leader, 1, Event::Wrote(Request(2), true)), [Action::Lead(Epoch(1))]);
        leader
    }

    #[test]
    fn a_free_lease_is_taken_and_renewed() {
        let mut leader = leader();
        let (over, renewed) = (Some(record(1, 1, 0)), Some(record(1, 1, 1)));
        let renewal = Action::Write { request: Request(3), over, record: renewed };
        assert_eq!(step(&mut leader, 20, Event::Ticked), [renewal]);
        assert_eq!(step(&mut leader, 21, Event::Wrote(Request(3), true)), []);
        assert_eq!(leader.leads(42), Some(Epoch(1)));
    }

    #[test]
    fn a_leader_that_cannot_renew_gives_up_before_anybody_else_may_take_over() {
        let (mut leader, mut other) = (leader(), candidate(2));
        step(&mut other, 1, Event::Ticked);
        step(&mut other, 1, Event::Read(Request(1), Some(record(1, 1, 0))));
        assert!(!step(&mut leader, 99, Event::Ticked).contains(&Action::StepDown));
        assert!(step(&mut leader, 100, Event::Ticked).contains(&Action::StepDown));
        assert_eq!(step(&mut other, 150, Event::Ticked), [Action::Read(Request(2))]);
        assert_eq!(step(&mut other, 150, Event::Read(Request(2), Some(record(1, 1, 0)))), []);
        step(&mut other, 170, Event::Ticked);
        let (over, record) = (Some(record(1, 1, 0)), Some(record(2, 2, 0)));
        let taken = step(&mut other, 171, Event::Read(Request(3), over));
        assert_eq!(taken, [Action::Write { request: Request(4), over, record }]);
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_does_not_end_the_leadership() {
        let mut leader = leader();
        step(&mut leader, 20, Event::Ticked);
        let again = step(&mut leader, 40, Event::Ticked);
        assert!(matches!(again[..], [Action::Write { request: Request(4), .. }]));
        assert_eq!(step(&mut leader, 41, Event::Wrote(Request(4), false)), [Action::Read(Request(5))]);
        let renewal = step(&mut leader, 42, Event::Read(Request(5), Some(record(1, 1, 1))));
        assert!(matches!(renewal[..], [Action::Write { record: Some(Record { renewals: 2, .. }), .. }]));
        assert_eq!(leader.leads(42), Some(Epoch(1)));
    }

    #[test]
    fn a_leader_that_was_replaced_steps_down_when_it_reads_so() {
        let mut leader = leader();
        step(&mut leader, 20, Event::Ticked);
        step(&mut leader, 21, Event::Wrote(Request(3), false));
        let told = step(&mut leader, 22, Event::Read(Request(4), Some(record(2, 2, 0))));
        assert_eq!((told.first(), leader.leads(22)), (Some(&Action::StepDown), None));
    }

    #[test]
    fn a_lease_that_was_written_too_slowly_is_not_led_by() {
        let mut slow = candidate(1);
        step(&mut slow, 0, Event::Ticked);
        step(&mut slow, 0, Event::Read(Request(1), None));
        slow.settings.period_ms = 1_000;
        assert_eq!(step(&mut slow, 100, Event::Wrote(Request(2), true)), [Action::Read(Request(3))]);
        assert_eq!(slow.leads(100), None);
    }

    #[test]
    fn who_gave_up_does_not_lead_again_under_the_same_epoch() {
        let mut leader = leader();
        leader.settings.period_ms = 1_000;
        step(&mut leader, 20, Event::Ticked);
        leader.due_ms = u64::MAX;
        assert_eq!(step(&mut leader, 100, Event::Ticked), [Action::StepDown]);
        assert_eq!(step(&mut leader, 101, Event::Wrote(Request(3), true)), []);
        leader.due_ms = 102;
        assert_eq!(step(&mut leader, 102, Event::Ticked), [Action::Read(Request(4))]);
        let taken = step(&mut leader, 103, Event::Read(Request(4), Some(record(1, 1, 1))));
        assert!(matches!(taken[..], [Action::Write { record: Some(Record { epoch: Epoch(2), .. }), .. }]));
    }

    #[test]
    fn who_resigns_gives_the_lease_back() {
        let mut leader = leader();
        let over = Some(record(1, 1, 0));
        let given_back = Action::Write { request: Request(3), over, record: None };
        assert_eq!(step(&mut leader, 10, Event::Resigned), [Action::StepDown, given_back]);
        assert_eq!(step(&mut leader, 500, Event::Ticked), []);
    }

    /// Candidates beside a store that is slow, forgets answers, and whose candidates stop and go on.
    struct World {
        seed: u64,
        now_ms: u64,
        candidates: Vec<Candidate>,
        stored: Option<Record>,
        agenda: BTreeMap<(u64, u64), Message>,
        last_message: u64,
        epochs: Vec<Epoch>,
    }

    enum Message {
        ToStore(usize, Action),
        ToCandidate(usize, Event),
    }

    impl World {
        fn new(seed: u64) -> Self {
            let candidates = (0..3).map(candidate).collect();
            let agenda = BTreeMap::new();
            Self { seed, now_ms: 0, candidates, stored: None, agenda, last_message: 0, epochs: Vec::new() }
        }

        fn below(&mut self, bound: u64) -> u64 {
            self.seed = mix(self.seed);
            self.seed % bound
        }

        /// Sends a message; while there is trouble it may be late, or lost.
        fn send(&mut self, trouble: bool, message: Message) {
            self.last_message += 1;
            let late_ms = if trouble { self.below(60) } else { 1 };
            if !trouble || self.below(5) > 0 {
                self.agenda.insert((self.now_ms + late_ms, self.last_message), message);
            }
        }

        fn happen(&mut self, trouble: bool, index: usize, event: Event) {
            let mut actions = Vec::new();
            self.candidates[index].step(self.now_ms, event, &mut actions);
            for action in actions {
                match action {
                    Action::Lead(epoch) => self.epochs.push(epoch),
                    Action::StepDown => {}
                    _ => self.send(trouble, Message::ToStore(index, action)),
                }
            }
            let leading = self.candidates.iter().filter_map(|it| it.leads(self.now_ms)).count();
            assert!(leading <= 1, "{leading} lead at {} ms", self.now_ms);
        }

        fn store(&mut self, action: Action) -> Option<Event> {
            match action {
                Action::Read(request) => Some(Event::Read(request, self.stored)),
                Action::Write { request, over, record } => {
                    let as_expected = self.stored == over;
                    if as_expected {
                        self.stored = record;
                    }
                    Some(Event::Wrote(request, as_expected))
                }
                Action::Lead(_) | Action::StepDown => None,
            }
        }

        fn run_until(&mut self, end_ms: u64, trouble: bool) {
            while self.now_ms < end_ms {
                self.now_ms += 1;
                while let Some(entry) = self.agenda.first_entry().filter(|it| it.key().0 <= self.now_ms) {
                    match entry.remove() {
                        Message::ToCandidate(index, event) => self.happen(trouble, index, event),
                        Message::ToStore(index, action) => {
                            if let Some(answer) = self.store(action) {
                                self.send(trouble, Message::ToCandidate(index, answer));
                            }
                        }
                    }
                }
                // a candidate that is not ticked sleeps: what it does next, it must do in the light of the time
                for index in 0..self.candidates.len() {
                    let awake = !trouble || (self.now_ms / 300 + index as u64) % 4 != self.seed % 4;
                    if self.now_ms.is_multiple_of(5) && awake {
                        self.happen(trouble, index, Event::Ticked);
                    }
                }
            }
        }
    }

    #[test]
    fn never_two_lead_at_once_epochs_grow_and_after_all_trouble_one_leads() {
        let mut elections = 0;
        for seed in 0..200 {
            let mut world = World::new(seed);
            world.run_until(5_000, true);
            world.run_until(6_000, false);
            assert!(
                world.epochs.is_sorted_by(|earlier, later| earlier < later),
                "seed {seed}: {:?}",
                world.epochs
            );
            assert!(
                world.candidates.iter().any(|it| it.leads(world.now_ms).is_some()),
                "seed {seed}: nobody leads"
            );
            elections += world.epochs.len();
        }
        assert!(elections > 300, "only {elections} elections: there was no trouble");
    }
}
