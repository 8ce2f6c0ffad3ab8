//! The steps of a composition.

use triplane_model::{ActivationId, EntityName, FullName, Status};

use super::conductor::{Instruction, Then, boxed, error_object, overlay};
use super::frame::{Counts, Frame, Over, Response, Work};
use super::text;
use super::{Awaits, Composition, Event, Found, Kind, Next, Opened, Ran};

/// All that the conductors of a composition may keep as their states, bytes: those of outer ones wait while inner ones run.
const STATES_BYTES_MAX: usize = 4 << 20;

impl Composition {
    /// Begins. `payload` is what the caller sent, a JSON object or nothing; `components_max` is the most components of a sequence, and
    /// of a composition.
    #[must_use]
    pub fn begin(
        caller: EntityName,
        components_max: u32,
        opened: Opened,
        payload: Option<String>,
        now_ms: u64,
    ) -> (Self, Next) {
        let frames = vec![Frame::open(opened, 0, now_ms)];
        let mut composition = Self { caller, components_max, frames, awaits: Awaits::Nothing };
        let next = composition.advance(payload, now_ms);
        (composition, next)
    }

    /// Takes in what happened; says what is next. An event that does not fit changes nothing.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Next {
        match (std::mem::replace(&mut self.awaits, Awaits::Nothing), event) {
            (Awaits::Found { name, input }, Event::Found(found)) => self.found(name, input, found, now_ms),
            (Awaits::Component { .. }, Event::Ran(ran)) => {
                self.count_component();
                self.component_ran(ran, now_ms)
            }
            (Awaits::Conductor { .. }, Event::Ran(ran)) => self.conductor_ran(ran, now_ms),
            (Awaits::Component { .. } | Awaits::Conductor { .. }, Event::Late(id)) => self.late(id, now_ms),
            (Awaits::Component { .. } | Awaits::Conductor { .. }, Event::NotRun) => self.not_run(now_ms),
            (Awaits::Recorded(over), Event::Recorded) => self.recorded(over, now_ms),
            (awaits, _) => {
                self.awaits = awaits;
                self.next()
            }
        }
    }

    /// What is next after what is known was read again. A component that was not sent is looked at anew: it may be another action by
    /// now.
    pub fn resume(&mut self) -> Next {
        if let Awaits::Component { name, input, .. } = &mut self.awaits {
            self.awaits = Awaits::Found { name: name.clone(), input: input.take() };
        }
        self.next()
    }

    /// The activation of the whole.
    #[must_use]
    pub fn id(&self) -> Option<ActivationId> {
        match (&self.awaits, self.frames.first()) {
            (_, Some(frame)) => Some(frame.id),
            (Awaits::Recorded(over), None) => Some(over.id),
            (_, None) => None,
        }
    }

    /// Notes the activation that the run has that is next.
    pub fn sending(&mut self, sent: ActivationId) {
        if let Awaits::Component { id, .. } | Awaits::Conductor { id, .. } = &mut self.awaits {
            *id = Some(sent);
        }
    }

    /// The run that is sent, or about to be.
    #[must_use]
    pub fn sent(&self) -> Option<ActivationId> {
        match &self.awaits {
            Awaits::Component { id, .. } | Awaits::Conductor { id, .. } => *id,
            _ => None,
        }
    }

    /// What the run gets that is next: a JSON object or array, or nothing. It is not kept: who wants to read what is known again writes
    /// it down before.
    pub fn take_input(&mut self) -> Option<String> {
        match &mut self.awaits {
            Awaits::Component { input, .. } | Awaits::Conductor { input, .. } => input.take(),
            _ => None,
        }
    }

    /// About how many bytes it keeps: states and what is handed on.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        let states: usize = self.frames.iter().map(Frame::state_bytes).sum();
        let handed_on = match &self.awaits {
            Awaits::Found { input, .. }
            | Awaits::Component { input, .. }
            | Awaits::Conductor { input, .. } => input.as_ref().map_or(0, String::len),
            Awaits::Recorded(over) => over.response.result.len(),
            Awaits::Nothing => 0,
        };
        states + handed_on
    }

    /// The run that was sent is lost, and all that encloses it ends with it: the records of the compositions, inner ones first.
    #[must_use]
    pub fn lost(self, text: &str, now_ms: u64) -> Vec<Over> {
        let lost = self.sent();
        self.given_up(lost, text, now_ms)
    }

    /// Nothing is sent any more: the records of the compositions, inner ones first. `last` is a run that they do not know of yet.
    #[must_use]
    pub fn given_up(mut self, last: Option<ActivationId>, text: &str, now_ms: u64) -> Vec<Over> {
        let mut ended = last;
        let mut records = Vec::new();
        while let Some(mut frame) = self.frames.pop() {
            frame.logs.extend(ended);
            ended = Some(frame.id);
            let response = Response::error(Status::WhiskError, text);
            records.push(frame.end(response, self.cause(), now_ms));
        }
        records
    }

    /// The run that was sent is lost and is sent again, in another attempt at the whole: from now on that is this activation.
    pub fn attempt_as(&mut self, id: ActivationId) {
        let lost = self.sent();
        if let Some(last) = self.frames.last_mut() {
            last.logs.extend(lost);
        }
        if let Some(first) = self.frames.first_mut() {
            first.id = id;
        }
    }

    fn next(&self) -> Next {
        match &self.awaits {
            Awaits::Found { name, .. } => self.find(name.clone()),
            Awaits::Component { name, .. } => self.run(name.clone(), false),
            Awaits::Conductor { .. } => self.run_conductor(),
            Awaits::Recorded(over) => Next::Record(over.clone()),
            Awaits::Nothing => Next::Nothing,
        }
    }

    /// The last frame: what is run is run for it.
    fn cause(&self) -> Option<ActivationId> {
        self.frames.last().map(|frame| frame.id)
    }

    /// The last frame goes on with an input.
    fn advance(&mut self, input: Option<String>, now_ms: u64) -> Next {
        let Some(frame) = self.frames.last() else { return Next::Nothing };
        let Work::Sequence { components, next, ran } = &frame.work else {
            return self.conduct(input, now_ms);
        };
        match components.get(*next) {
            None => {
                let result = input.unwrap_or_else(|| "{}".to_owned());
                self.end(Response { status: Status::Success, result }, now_ms)
            }
            Some(_) if *ran >= self.components_max => self.fail(text::SEQUENCE_TOO_LONG, now_ms),
            Some(name) => {
                let name = name.clone();
                self.awaits = Awaits::Found { name: name.clone(), input };
                self.find(name)
            }
        }
    }

    /// The conductor of the last frame is run, with its state over the input.
    fn conduct(&mut self, input: Option<String>, now_ms: u64) -> Next {
        let conductors_max = self.components_max.saturating_mul(2);
        match self.counts() {
            Some(counts) if counts.conductors > conductors_max => {
                return self.fail(text::COMPOSITION_TOO_LONG, now_ms);
            }
            Some(counts) => counts.conductors += 1,
            None => {}
        }
        let state = match self.frames.last().map(|frame| &frame.work) {
            Some(Work::Conductor { state, .. }) => state.as_deref(),
            _ => None,
        };
        let input = match (input, state) {
            (Some(input), Some(state)) => Some(overlay(&boxed("value", &input), state)),
            (None, Some(state)) => Some(state.to_owned()),
            (Some(input), None) => Some(boxed("value", &input)),
            (None, None) => None,
        };
        self.awaits = Awaits::Conductor { input, id: None };
        self.run_conductor()
    }

    fn found(&mut self, name: FullName, input: Option<String>, found: Found, now_ms: u64) -> Next {
        let is_conductor = self.frames.last().is_some_and(Frame::is_conductor);
        match found {
            Found::Action => {
                self.awaits = Awaits::Component { name: name.clone(), input, id: None };
                self.run(name, false)
            }
            Found::Composition(opened) => self.enter(*opened, input, now_ms),
            Found::Missing if is_conductor => self.tell(&text::name_unresolved(&name), now_ms),
            Found::NotEntitled if is_conductor => self.tell(&text::name_not_entitled(&name), now_ms),
            Found::Missing | Found::NotEntitled => self.fail(text::COMPONENT_MISSING, now_ms),
            Found::Unknown => self.not_run(now_ms),
        }
    }

    /// A composition within the last frame begins.
    fn enter(&mut self, opened: Opened, input: Option<String>, now_ms: u64) -> Next {
        let ran = match self.frames.last().map(|frame| &frame.work) {
            Some(Work::Sequence { ran, .. }) => *ran,
            _ => 0,
        };
        let is_sequence = matches!(opened.kind, Kind::Sequence(_));
        if is_sequence && self.sequences_around() >= self.components_max {
            // Only sequences that were written at the same time can be so deep, or be within themselves.
            return self.fail(text::SEQUENCE_TOO_LONG, now_ms);
        }
        self.frames.push(Frame::open(opened, ran, now_ms));
        self.advance(input, now_ms)
    }

    /// How many sequences there are directly around the last frame, itself included.
    fn sequences_around(&self) -> u32 {
        let sequences = self.frames.iter().rev().take_while(|frame| !frame.is_conductor());
        u32::try_from(sequences.count()).unwrap_or(u32::MAX)
    }

    /// The counts that the conductors share.
    fn counts(&mut self) -> Option<&mut Counts> {
        self.frames.iter_mut().find_map(|frame| match &mut frame.work {
            Work::Conductor { counts, .. } => Some(counts),
            Work::Sequence { .. } => None,
        })
    }

    /// A component of the last frame ended.
    fn count_component(&mut self) {
        match self.frames.last_mut().map(|frame| &mut frame.work) {
            Some(Work::Sequence { ran, .. }) => *ran += 1,
            Some(Work::Conductor { .. }) => {
                if let Some(counts) = self.counts() {
                    counts.components += 1;
                }
            }
            None => {}
        }
    }

    fn component_ran(&mut self, ran: Ran, now_ms: u64) -> Next {
        let Some(frame) = self.frames.last_mut() else { return Next::Nothing };
        frame.account(&ran);
        match &mut frame.work {
            Work::Conductor { .. } => self.conduct(Some(ran.response.result), now_ms),
            Work::Sequence { .. } if ran.response.status != Status::Success => self.end(ran.response, now_ms),
            Work::Sequence { next, .. } => {
                *next += 1;
                self.advance(Some(ran.response.result), now_ms)
            }
        }
    }

    fn conductor_ran(&mut self, ran: Ran, now_ms: u64) -> Next {
        let said = match ran.response.status {
            Status::Success => Instruction::read(&ran.response.result, &self.caller),
            _ => Instruction { then: Then::End, params: None, state: None },
        };
        let Some(frame) = self.frames.last_mut() else { return Next::Nothing };
        frame.account(&ran);
        if let Work::Conductor { state, .. } = &mut frame.work {
            *state = said.state;
        }
        let bytes: usize = self.frames.iter().map(Frame::state_bytes).sum();
        if bytes > STATES_BYTES_MAX {
            return self.fail(&text::states_too_large(bytes, STATES_BYTES_MAX), now_ms);
        }
        let components = self.counts().map_or(0, |counts| counts.components);
        match said.then {
            Then::End => {
                let result = said.params.unwrap_or(ran.response.result);
                self.end(Response { status: ran.response.status, result }, now_ms)
            }
            Then::Invalid(json) => self.tell(&text::name_invalid(&json), now_ms),
            Then::Run(_) if components >= self.components_max => {
                self.tell(text::COMPOSITION_TOO_LONG, now_ms)
            }
            Then::Run(name) => {
                let input = Some(said.params.unwrap_or_else(|| "{}".to_owned()));
                self.awaits = Awaits::Found { name: name.clone(), input };
                self.find(name)
            }
        }
    }

    /// The conductor is told of an error, and may go on.
    fn tell(&mut self, text: &str, now_ms: u64) -> Next {
        self.conduct(Some(error_object(text)), now_ms)
    }

    fn late(&mut self, id: ActivationId, now_ms: u64) -> Next {
        let Some(frame) = self.frames.last_mut() else { return Next::Nothing };
        frame.logs.push(id);
        let text = match frame.is_conductor() {
            true => text::composition_late(id),
            false => text::sequence_late(id),
        };
        self.end(Response::error(Status::WhiskError, &text), now_ms)
    }

    fn not_run(&mut self, now_ms: u64) -> Next {
        let is_conductor = self.frames.last().is_some_and(Frame::is_conductor);
        let text = if is_conductor { text::COMPOSITION_FAILED } else { text::SEQUENCE_FAILED };
        self.end(Response::error(Status::WhiskError, text), now_ms)
    }

    fn fail(&mut self, text: &str, now_ms: u64) -> Next {
        self.end(Response::error(Status::ApplicationError, text), now_ms)
    }

    /// The last frame is over.
    fn end(&mut self, response: Response, now_ms: u64) -> Next {
        let Some(frame) = self.frames.pop() else { return Next::Nothing };
        self.hand_on_counts(&frame);
        let over = Box::new(frame.end(response, self.cause(), now_ms));
        self.awaits = Awaits::Recorded(over.clone());
        Next::Record(over)
    }

    /// What a sequence ran counts for the sequence around it. A composition counts as one action of a sequence, a sequence as one of a
    /// composition; of compositions within each other all runs are counted together.
    fn hand_on_counts(&mut self, over: &Frame) {
        let around = self.frames.last_mut().map(|frame| &mut frame.work);
        match (around, &over.work) {
            (Some(Work::Sequence { ran, .. }), Work::Sequence { ran: inner, .. }) => *ran = *inner,
            (Some(Work::Conductor { .. }), Work::Conductor { .. }) | (None, _) => {}
            (Some(_), _) => self.count_component(),
        }
    }

    fn recorded(&mut self, over: Box<Over>, now_ms: u64) -> Next {
        match self.frames.is_empty() {
            true => Next::Nothing,
            false => self.component_ran(over.ran(), now_ms),
        }
    }

    fn find(&self, name: FullName) -> Next {
        // The right to call the components of a sequence is checked before it is begun.
        Next::Find { name, is_to_be_entitled: self.frames.last().is_some_and(Frame::is_conductor) }
    }

    fn run_conductor(&self) -> Next {
        match self.frames.last() {
            Some(frame) => self.run(frame.action.called.clone(), true),
            None => Next::Nothing,
        }
    }

    fn run(&self, name: FullName, is_conductor: bool) -> Next {
        match self.cause() {
            Some(cause) => Next::Run { name, cause, is_conductor },
            None => Next::Nothing,
        }
    }
}
