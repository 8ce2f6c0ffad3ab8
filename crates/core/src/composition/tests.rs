//! Compositions over a small world of actions, to their ends.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use triplane_model::{ActionLimits, ActivationId, EntityName, FullName, Status, Version};

use super::*;

pub(super) fn name(text: &str) -> FullName {
    let part = |text| EntityName::entity(text).unwrap();
    FullName::new(part("guest"), part(text))
}

/// What an action of the world does with its input.
#[derive(Clone, Debug)]
enum Does {
    /// Answers this; nothing means its input.
    Says(Option<String>),
    /// Fails with this.
    Fails(Status, String),
    Sequence(Vec<FullName>),
    /// A conductor that says these, one after another, and at last its input.
    Conducts(Vec<String>),
    Forbidden,
    Late,
    NotRun,
}

/// What came of a composition.
#[derive(Debug)]
struct Ended {
    records: Vec<Over>,
    /// Activation, cause, action, input.
    runs: Vec<(ActivationId, ActivationId, String, Option<String>)>,
}

impl Ended {
    fn top(&self) -> &Over {
        self.records.last().unwrap()
    }

    fn result(&self) -> (Status, &str) {
        let response = &self.top().response;
        (response.status, &response.result)
    }

    fn inputs(&self) -> Vec<&str> {
        self.runs.iter().map(|(.., input)| input.as_deref().unwrap_or("nothing")).collect()
    }
}

struct World {
    actions: BTreeMap<FullName, Does>,
    components_max: u32,
    last_id: u128,
    said: HashMap<ActivationId, usize>,
}

impl World {
    fn new(actions: &[(&str, Does)]) -> Self {
        let actions = actions.iter().map(|(text, does)| (name(text), does.clone())).collect();
        Self { actions, components_max: 4, last_id: 0, said: HashMap::new() }
    }

    fn id(&mut self) -> ActivationId {
        self.last_id += 1;
        ActivationId::from_bits(self.last_id)
    }

    fn opened(&mut self, action: &FullName) -> Option<Opened> {
        let kind = match self.actions.get(action)? {
            Does::Sequence(components) => Kind::Sequence(components.clone()),
            Does::Conducts(_) => Kind::Conductor,
            _ => return None,
        };
        let limits =
            ActionLimits { timeout_ms: 1, memory_mb: 128, logs_mb: 1, concurrency: 1, instances: None };
        let (name, called) = (action.clone(), action.clone());
        let action = Composed { name, called, version: Version::FIRST, limits, binding: None };
        Some(Opened { id: self.id(), action, kind, wait_ms: 0 })
    }

    fn found(&mut self, name: &FullName) -> Found {
        match self.actions.get(name) {
            None => Found::Missing,
            Some(Does::Forbidden) => Found::NotEntitled,
            Some(_) => self.opened(name).map_or(Found::Action, |opened| Found::Composition(Box::new(opened))),
        }
    }

    /// Runs an action: it takes 10 ms, and memory as its name is long.
    fn run(
        &mut self,
        action: &FullName,
        cause: ActivationId,
        id: ActivationId,
        input: Option<&str>,
    ) -> Event {
        let input = input.unwrap_or("{}").to_owned();
        let response = match &self.actions[action] {
            Does::Says(said) => (Status::Success, said.clone().unwrap_or(input)),
            Does::Fails(status, result) => (*status, result.clone()),
            Does::Conducts(said) => {
                let count = self.said.entry(cause).or_default();
                *count += 1;
                (Status::Success, said.get(*count - 1).cloned().unwrap_or(input))
            }
            Does::Late => return Event::Late(id),
            Does::NotRun => return Event::NotRun,
            Does::Sequence(_) | Does::Forbidden => panic!("{action} runs"),
        };
        let (status, result) = response;
        let memory_mb = Some(128 * action.name.as_str().len() as u64);
        Event::Ran(Ran { id, response: Response { status, result }, duration_ms: 10, memory_mb })
    }

    /// Calls an action; each step is taken by a process that has read what the one before has written down.
    fn call(&mut self, action: &str, payload: &str) -> Ended {
        let opened = self.opened(&name(action)).unwrap();
        let caller = EntityName::namespace("guest").unwrap();
        let payload = Some(payload.to_owned()).filter(|payload| !payload.is_empty());
        let (mut composition, mut next) =
            Composition::begin(caller, self.components_max, opened, payload, 1_000);
        let mut ended = Ended { records: Vec::new(), runs: Vec::new() };
        for now_ms in 1_001.. {
            assert!(now_ms < 100_000, "it does not end");
            let written = serde_json::to_string(&composition).unwrap();
            let mut read: Composition = serde_json::from_str(&written).unwrap();
            assert_eq!(read, composition);
            assert_eq!(read.resume(), composition.clone().resume());
            let event = match next {
                Next::Nothing => break,
                Next::Find { name, .. } => Event::Found(self.found(&name)),
                Next::Record(over) => {
                    ended.records.push(*over);
                    Event::Recorded
                }
                Next::Run { name, cause, .. } => {
                    let id = self.id();
                    composition.sending(id);
                    assert_eq!(composition.sent(), Some(id));
                    let input = composition.take_input();
                    let event = self.run(&name, cause, id, input.as_deref());
                    if event != Event::NotRun {
                        ended.runs.push((id, cause, name.name.to_string(), input));
                    }
                    event
                }
            };
            next = composition.step(event, now_ms);
        }
        ended
    }
}

fn says(result: &str) -> Does {
    Does::Says(Some(result.to_owned()))
}

fn sequence(components: &str) -> Does {
    Does::Sequence(components.split(',').map(name).collect())
}

fn conducts(said: &[&str]) -> Does {
    Does::Conducts(said.iter().map(|&said| said.to_owned()).collect())
}

const ECHO: Does = Does::Says(None);

#[test]
fn the_result_of_each_component_is_the_input_of_the_next() {
    let mut world =
        World::new(&[("s", sequence("a,bb,c")), ("a", ECHO), ("bb", says("[1, 2]")), ("c", ECHO)]);
    let ended = world.call("s", r#"{"error": 1}"#);
    assert_eq!(ended.inputs(), [r#"{"error": 1}"#, r#"{"error": 1}"#, "[1, 2]"]);
    assert_eq!(ended.result(), (Status::Success, "[1, 2]"));
    let top = ended.top();
    assert_eq!((top.duration_ms, top.memory_mb, top.cause, top.is_conductor), (30, Some(256), None, false));
    assert_eq!(top.logs, ended.runs.iter().map(|run| run.0).collect::<Vec<_>>());
}

#[test]
fn a_component_that_fails_ends_the_sequence_with_its_answer() {
    let fails = Does::Fails(Status::DeveloperError, r#"{"error":"x"}"#.to_owned());
    let mut world = World::new(&[("s", sequence("a,b,a")), ("a", ECHO), ("b", fails)]);
    let ended = world.call("s", "");
    assert_eq!(ended.result(), (Status::DeveloperError, r#"{"error":"x"}"#));
    assert_eq!(ended.inputs(), ["nothing", "{}"]);
}

#[test]
fn components_that_are_missing_late_or_not_run_end_the_sequence_with_openwhisks_texts() {
    for (component, status, text, logs) in [
        (None, Status::ApplicationError, text::COMPONENT_MISSING.to_owned(), 1),
        (Some(Does::NotRun), Status::WhiskError, text::SEQUENCE_FAILED.to_owned(), 1),
        (Some(Does::Late), Status::WhiskError, text::sequence_late(ActivationId::from_bits(3)), 2),
    ] {
        let mut world = World::new(&[("s", sequence("a,b,a")), ("a", ECHO)]);
        world.actions.extend(component.map(|does| (name("b"), does)));
        let ended = world.call("s", "");
        assert_eq!(ended.result(), (status, &*conductor::error_object(&text)));
        assert_eq!(ended.top().logs.len(), logs, "{text}");
    }
}

#[test]
fn a_sequence_in_a_sequence_is_one_component_with_a_record_of_its_own() {
    let mut world =
        World::new(&[("s", sequence("a,t,a")), ("t", sequence("bbb,a")), ("a", ECHO), ("bbb", ECHO)]);
    let ended = world.call("s", "");
    let [inner, top] = &ended.records[..] else { panic!("{ended:?}") };
    assert_eq!((inner.cause, inner.duration_ms, inner.logs.len()), (Some(top.id), 20, 2));
    assert_eq!((top.logs.len(), top.logs[1], top.duration_ms, top.memory_mb), (3, inner.id, 40, Some(384)));
}

#[test]
fn a_sequence_that_grew_too_long_ends_where_it_may_not_go_on() {
    let mut world = World::new(&[("s", sequence("t,t,a")), ("t", sequence("a,a")), ("a", ECHO)]);
    let ended = world.call("s", "");
    assert_eq!(ended.runs.len(), 4);
    assert_eq!(
        ended.result(),
        (Status::ApplicationError, r#"{"error":"Too many actions in the sequence."}"#)
    );
}

#[test]
fn a_sequence_that_became_a_part_of_itself_ends() {
    let mut world = World::new(&[("s", sequence("t")), ("t", sequence("s"))]);
    let ended = world.call("s", "");
    assert_eq!(ended.result().1, r#"{"error":"Too many actions in the sequence."}"#);
    assert_eq!((ended.runs.len(), ended.records.len()), (0, 4));
}

#[test]
fn a_conductor_runs_between_its_components_with_its_state_over_their_results() {
    let steps = [
        r#"{"action":"a","params":{"x":1},"state":{"s":1}}"#,
        r#"{"action":"a","params":2,"state":3}"#,
        r#"{"params":{"done":true},"state":{}}"#,
    ];
    let mut world = World::new(&[("c", conducts(&steps)), ("a", ECHO)]);
    let ended = world.call("c", r#"{"p":0}"#);
    let expected =
        [r#"{"p":0}"#, r#"{"x":1}"#, r#"{"x":1,"s":1}"#, r#"{"value":2}"#, r#"{"value":2,"state":3}"#];
    assert_eq!(ended.inputs(), expected);
    assert_eq!(ended.result(), (Status::Success, r#"{"done":true}"#));
    assert!(ended.top().is_conductor && ended.top().logs.len() == 5);
}

#[test]
fn an_action_without_parameters_gets_an_empty_object_and_an_array_comes_back_in_a_box() {
    let mut world = World::new(&[("c", conducts(&[r#"{"action":"b"}"#])), ("b", says("[1]"))]);
    let ended = world.call("c", "");
    assert_eq!(ended.inputs(), ["nothing", "{}", r#"{"value":[1]}"#]);
}

#[test]
fn an_error_of_a_component_is_told_to_the_conductor() {
    let fails = Does::Fails(Status::ApplicationError, r#"{"error":"x"}"#.to_owned());
    let mut world = World::new(&[("c", conducts(&[r#"{"action":"f","state":{"s":1}}"#])), ("f", fails)]);
    let ended = world.call("c", "");
    assert_eq!(ended.inputs()[2], r#"{"error":"x","s":1}"#);
}

#[test]
fn an_error_of_the_conductor_ends_the_composition() {
    let fails = Does::Fails(Status::DeveloperError, r#"{"error":"x"}"#.to_owned());
    let mut world = World::new(&[("c", conducts(&[]))]);
    let opened = world.opened(&name("c")).unwrap();
    world.actions.insert(name("c"), fails);
    let (mut composition, next) =
        Composition::begin(EntityName::namespace("guest").unwrap(), 4, opened, None, 0);
    let Next::Run { name, cause, is_conductor: true } = next else { panic!("{next:?}") };
    let event = world.run(&name, cause, ActivationId::from_bits(5), None);
    let Next::Record(over) = composition.step(event, 0) else { panic!("{composition:?}") };
    assert_eq!(over.response.status, Status::DeveloperError);
    assert_eq!(over.response.result, r#"{"error":"x"}"#);
}

#[test]
fn what_cannot_be_called_is_told_to_the_conductor() {
    for (action, text) in [
        ("\"/bad\"", "Failed to parse action name from json value \\\"/bad\\\" during composition."),
        ("\"none\"", "Failed to resolve action with name 'guest/none' during composition."),
        ("\"locked\"", "Failed entitlement check for action with name 'guest/locked' during composition."),
    ] {
        let said = format!(r#"{{"action":{action},"state":{{"s":1}}}}"#);
        let mut world = World::new(&[("c", conducts(&[&said])), ("locked", Does::Forbidden)]);
        let ended = world.call("c", "");
        assert_eq!(ended.inputs(), ["nothing", &format!(r#"{{"error":"{text}","s":1}}"#)]);
    }
}

#[test]
fn runs_for_a_composition_that_are_late_or_not_run_end_it() {
    let late = text::composition_late(ActivationId::from_bits(3));
    for (does, text) in [(Does::NotRun, text::COMPOSITION_FAILED), (Does::Late, &*late)] {
        let mut world = World::new(&[("c", conducts(&[r#"{"action":"a"}"#])), ("a", does)]);
        assert_eq!(world.call("c", "").result(), (Status::WhiskError, &*conductor::error_object(text)));
    }
}

#[test]
fn a_composition_has_as_many_components_as_a_sequence_and_is_told_so_until_it_has_run_too_often() {
    let step = r#"{"action":"a"}"#;
    let mut world = World::new(&[("c", conducts(&[step; 100])), ("a", ECHO)]);
    let ended = world.call("c", "");
    let count = |name: &str| ended.runs.iter().filter(|run| run.2 == name).count();
    assert_eq!((count("c"), count("a")), (9, 4));
    assert_eq!(
        ended.result(),
        (Status::ApplicationError, r#"{"error":"Too many actions in the composition."}"#)
    );
}

#[test]
fn compositions_in_compositions_are_counted_together_and_sequences_in_them_once() {
    let mut world = World::new(&[
        (
            "c",
            conducts(&[r#"{"action":"d"}"#, r#"{"action":"s"}"#, r#"{"action":"s"}"#, r#"{"action":"s"}"#]),
        ),
        ("d", conducts(&[r#"{"action":"a"}"#, r#"{"action":"a"}"#])),
        ("s", sequence("a,a,a")),
        ("a", ECHO),
    ]);
    let ended = world.call("c", "");
    // Two of `d`, two times `s`; the third is refused.
    assert_eq!(ended.runs.iter().filter(|run| run.2 == "a").count(), 2 + 2 * 3);
    assert!(ended.inputs().contains(&r#"{"error":"Too many actions in the composition."}"#));
}

#[test]
fn a_conductor_that_calls_itself_through_a_sequence_ends() {
    let mut world =
        World::new(&[("s", sequence("c")), ("c", conducts(&[r#"{"action":"s"}"#; 100])), ("a", ECHO)]);
    let ended = world.call("s", "");
    assert_eq!(ended.runs.len(), 9);
}

#[test]
fn each_composition_in_a_sequence_may_have_as_many_components() {
    let steps = [r#"{"action":"a"}"#; 4];
    let mut world = World::new(&[("s", sequence("c,c,c,c")), ("c", conducts(&steps)), ("a", ECHO)]);
    let ended = world.call("s", "");
    assert_eq!((ended.result().0, ended.runs.len()), (Status::Success, 4 * 9));
}

#[test]
fn states_that_are_too_large_together_end_the_composition() {
    let large = format!(r#"{{"action":"c","state":{{"s":"{}"}}}}"#, "x".repeat(900_000));
    let mut world = World::new(&[("c", conducts(&[large.as_str(); 9]))]);
    let ended = world.call("c", "");
    let inner = &ended.records[0].response;
    assert!(inner.result.contains("the states of the nested compositions have 45"), "{}", inner.result);
}

#[test]
fn what_is_lost_ends_all_around_it_with_a_record_for_each() {
    let mut world = World::new(&[("s", sequence("t")), ("t", sequence("a")), ("a", ECHO)]);
    let opened = world.opened(&name("s")).unwrap();
    let caller = EntityName::namespace("guest").unwrap();
    let (mut composition, _) = Composition::begin(caller, 4, opened, None, 0);
    let inner = world.opened(&name("t")).unwrap();
    composition.step(Event::Found(Found::Composition(Box::new(inner))), 0);
    composition.step(Event::Found(Found::Action), 0);
    composition.sending(ActivationId::from_bits(9));
    let records = composition.lost("gone", 5);
    let ids: Vec<_> = records.iter().map(|over| (over.id, over.cause, over.logs.clone())).collect();
    let id = ActivationId::from_bits;
    assert_eq!(ids, [(id(2), Some(id(1)), vec![id(9)]), (id(1), None, vec![id(2)])]);
    assert!(records.iter().all(|over| over.response == Response::error(Status::WhiskError, "gone")));
}

#[test]
fn what_is_lost_can_be_sent_again_as_another_attempt() {
    let mut world = World::new(&[("s", sequence("a")), ("a", ECHO)]);
    let opened = world.opened(&name("s")).unwrap();
    let caller = EntityName::namespace("guest").unwrap();
    let (mut composition, _) = Composition::begin(caller, 4, opened, Some(r#"{"x":1}"#.to_owned()), 0);
    composition.step(Event::Found(Found::Action), 0);
    let id = ActivationId::from_bits;
    composition.sending(id(9));
    composition.attempt_as(id(10));
    assert_eq!(composition.resume(), Next::Find { name: name("a"), is_to_be_entitled: false });
    let next = composition.step(Event::Found(Found::Action), 0);
    assert_eq!(next, Next::Run { name: name("a"), cause: id(10), is_conductor: false });
    assert_eq!(composition.take_input().as_deref(), Some(r#"{"x":1}"#));
    composition.sending(id(11));
    let response = Response { status: Status::Success, result: "{}".to_owned() };
    let ran = Ran { id: id(11), response, duration_ms: 1, memory_mb: None };
    let Next::Record(over) = composition.step(Event::Ran(ran), 0) else { panic!("{composition:?}") };
    assert_eq!((over.id, over.logs), (id(10), vec![id(9), id(11)]));
}

#[test]
fn an_event_that_does_not_fit_changes_nothing() {
    let mut world = World::new(&[("s", sequence("a")), ("a", ECHO)]);
    let opened = world.opened(&name("s")).unwrap();
    let caller = EntityName::namespace("guest").unwrap();
    let (mut composition, first) = Composition::begin(caller, 4, opened, None, 0);
    let before = composition.clone();
    for event in [Event::Recorded, Event::NotRun, Event::Late(ActivationId::from_bits(1))] {
        assert_eq!(composition.step(event, 1), first);
        assert_eq!(composition, before);
    }
}

fn does() -> impl Strategy<Value = Does> {
    let any_name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "none"]);
    let step = (any_name(), any::<bool>()).prop_map(|(action, has_state)| match has_state {
        true => format!(r#"{{"action":"{action}","state":{{"k":1}}}}"#),
        false => format!(r#"{{"action":"{action}","params":[]}}"#),
    });
    prop_oneof![
        2 => Just(ECHO),
        1 => Just(Does::Fails(Status::ApplicationError, r#"{"error":1}"#.to_owned())),
        1 => Just(Does::Late),
        1 => Just(Does::NotRun),
        3 => prop::collection::vec(any_name().prop_map(name), 1..5).prop_map(Does::Sequence),
        3 => prop::collection::vec(step, 0..6).prop_map(Does::Conducts),
    ]
}

proptest! {
    #[test]
    fn whatever_the_actions_are_it_ends_and_the_records_tell_what_ran(
        actions in prop::collection::vec(does(), 5),
        is_sequence in any::<bool>(),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let mut world = World::new(&names.into_iter().zip(actions).collect::<Vec<_>>());
        let top = if is_sequence { sequence("a,b,c,d") } else { conducts(&[r#"{"action":"a"}"#, r#"{"action":"b"}"#]) };
        world.actions.insert(name("top"), top);
        let ended = world.call("top", "{}");
        for over in &ended.records {
            // SEQ-1: what ran is in the logs of what it ran for, in that order, and nothing else is.
            let runs = ended.runs.iter().filter(|run| run.1 == over.id).map(|run| run.0);
            let inner = ended.records.iter().filter(|inner| inner.cause == Some(over.id)).map(|inner| inner.id);
            let mut expected: Vec<_> = runs.chain(inner).collect();
            expected.sort_unstable();
            let mut logs = over.logs.clone();
            logs.sort_unstable();
            prop_assert_eq!(logs, expected);
        }
        let is_top = |over: &&Over| over.cause.is_none();
        prop_assert_eq!(ended.records.iter().filter(is_top).count(), 1);
        prop_assert!(ended.top().cause.is_none());
    }
}
