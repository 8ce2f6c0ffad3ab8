//! Fires of triggers: what their rules call, what the record says, and what is refused.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use triplane_core::asynchronous::{Destination, Final, Policy};
use triplane_core::fire::TOO_LARGE;
use triplane_core::pool::message::Delta;
use triplane_model::rule::RulePut;
use triplane_model::trigger::TriggerPut;
use triplane_model::{
    Action, ActivationId, Collection, EntityName, FullName, NamespaceLimits, Revision, RuleStatus, Status,
    StoreLevel, SystemLimits, TransactionId, Trigger,
};
use triplane_router::Settings;
use triplane_router::ports::{Queue, QueuedCall};

use crate::planes::{done, lock};
use crate::queue::{ScriptedQueue, now_ms};
use crate::world::{World, action, identity};

const FIRE: &str = "_/triggers/t";

fn full(text: &str) -> FullName {
    text.parse().unwrap()
}

/// The guest's trigger `t`, with these rules: name, action, whether it is active.
fn trigger(rules: &[(&str, &str, RuleStatus)]) -> Trigger {
    let parameters = json!({"parameters": [{"key": "from", "value": "trigger"}, {"key": "x", "value": 0}]});
    let put = TriggerPut::parse(parameters.to_string().as_bytes(), &SystemLimits::default()).unwrap();
    rules.iter().fold(put.create(full("guest/t"), 0), |trigger, (name, action, status)| {
        trigger.link(&rule(name, action, &json!([])), *status).unwrap()
    })
}

fn rule(name: &str, action: &str, annotations: &Value) -> triplane_model::Rule {
    let body = json!({"trigger": "/_/t", "action": action, "annotations": annotations}).to_string();
    let guest = EntityName::namespace("guest").unwrap();
    let put = RulePut::parse(body.as_bytes(), &guest, &SystemLimits::default()).unwrap();
    put.create(full(&format!("guest/{name}")), 0).unwrap()
}

/// A world with the actions `a` and `b`, and the trigger.
async fn world(rules: &[(&str, &str, RuleStatus)]) -> World {
    world_with(rules, |_| {}).await
}

async fn world_with(rules: &[(&str, &str, RuleStatus)], change: impl FnOnce(&mut Settings)) -> World {
    let world = World::with(change).await;
    world.unlimited();
    world.knowledge.put_action(action("b", 1, |_| {}));
    world.knowledge.put_trigger(trigger(rules));
    world
}

const ACTIVE: RuleStatus = RuleStatus::Active;
const BOTH: &[(&str, &str, RuleStatus)] = &[("r1", "/_/a", ACTIVE), ("r2", "/_/b", ACTIVE)];

fn arguments(call: &QueuedCall) -> Value {
    serde_json::from_slice(&call.payload).unwrap()
}

/// What the record of the trigger says of its rules.
fn lines(world: &World) -> Vec<Value> {
    let logs: Vec<String> = serde_json::from_str(&lock(&world.records).last().unwrap().logs).unwrap();
    logs.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_fire_calls_the_action_of_each_rule_with_what_was_posted() {
    let world = world(BOTH).await;
    let fired = world.post_with(FIRE, r#"{"x":1}"#, &[("X-Mine", "2")]).await;
    assert_eq!((fired.status, fired.body.clone()), (202, format!(r#"{{"activationId":"{}"}}"#, fired.id())));
    assert_eq!(fired.header("x-openwhisk-activation-id"), fired.id().to_string());
    let calls = world.queue.calls();
    assert_eq!(
        calls.iter().map(|call| call.target.to_string()).collect::<Vec<_>>(),
        ["/guest/a", "/guest/b"]
    );
    for call in calls {
        let arguments = arguments(&call);
        assert_eq!((&arguments["from"], &arguments["x"]), (&json!("trigger"), &json!(1)));
        assert_eq!(arguments["__ow_headers"]["x-mine"], "2");
        assert_eq!((call.cause, call.hops), (None, 0));
    }
}

#[tokio::test]
async fn the_record_has_what_was_posted_and_a_line_for_each_rule_but_no_end() {
    let rules = [("off", "/_/a", RuleStatus::Inactive), ("on", "/_/a", ACTIVE), ("wrong", "/_/none", ACTIVE)];
    let world = world(&rules).await;
    let fired = world.post(FIRE, r#" {"x":1} "#).await;
    let call = world.queue.calls()[0].id.to_string();
    let record = world.records().pop().unwrap();
    assert_eq!(
        record,
        json!({
            "namespace": "guest", "name": "t", "version": "0.0.1", "subject": "guest-subject",
            "activationId": fired.id(), "start": record["start"], "logs": [], "annotations": [],
            "response": {"status": "success", "success": true, "result": {"x": 1}, "size": 7}, "publish": false,
        })
    );
    assert_eq!(
        lines(&world),
        [
            json!({
                "statusCode": 1, "success": false, "rule": "guest/off", "action": "guest/a",
                "error": "Rule 'guest/off' is inactive, action 'guest/a' was not activated.",
            }),
            json!({
                "statusCode": 0, "success": true, "rule": "guest/on", "action": "guest/a", "activationId": call,
            }),
            json!({
                "statusCode": 1, "success": false, "rule": "guest/wrong", "action": "guest/none",
                "error": "The requested resource does not exist.",
            }),
        ]
    );
}

#[tokio::test]
async fn without_an_active_rule_the_answer_is_204_and_nothing_is_left_of_it() {
    for rules in [&[][..], &[("off", "/_/a", RuleStatus::Inactive)]] {
        let world = world(rules).await;
        let fired = world.post(FIRE, "").await;
        assert_eq!((fired.status, fired.body.as_str()), (204, ""));
        assert_eq!(fired.header("x-openwhisk-activation-id"), "");
        assert!(world.records().is_empty() && world.queue.calls().is_empty());
    }
}

#[tokio::test]
async fn all_calls_of_a_fire_are_accepted_or_none() {
    let world = world(BOTH).await;
    world.queue.is_full.store(true, Ordering::SeqCst);
    let fired = world.post(FIRE, "").await;
    assert_eq!((fired.error().0, fired.header("retry-after")), (503, "1"));
    assert!(world.records().is_empty() && world.queue.calls().is_empty());
    world.queue.is_full.store(false, Ordering::SeqCst);
    assert_eq!(world.post(FIRE, "").await.status, 202);
    assert_eq!(world.queue.calls().len(), 2);
}

#[tokio::test]
async fn a_missing_trigger_is_404_one_of_others_403_and_a_payload_that_is_no_object_400() {
    let world = world(BOTH).await;
    let missing = world.post("_/triggers/none", "").await.error();
    assert_eq!(missing, (404, "The requested resource does not exist.".to_owned()));
    let foreign = world.post("other/triggers/t", "").await.error();
    let text = "The supplied authentication is not authorized to access 'other/t'.";
    assert_eq!(foreign, (403, text.to_owned()));
    assert_eq!(world.post(FIRE, "[1]").await.error().0, 400);
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(world.post(FIRE, &large).await.error().0, 413);
}

#[tokio::test]
async fn fires_have_a_limit_of_their_own_and_each_call_counts_on_that_of_calls() {
    let world = world(BOTH).await;
    let limits = NamespaceLimits {
        invocations_per_minute: 3,
        concurrent_invocations: 100,
        fires_per_minute: 2,
        ..NamespaceLimits::default()
    };
    world.knowledge.put_identity(identity("guest", limits));
    world.tell(Delta::IdentityRevoked(crate::world::uuid("guest").into()));
    assert_eq!(world.post(FIRE, "").await.status, 202);
    assert_eq!(world.post(FIRE, "").await.status, 202);
    let refused = "Too many requests in the last minute (count: 4, allowed: 3).";
    assert_eq!((&lines(&world)[1]["error"], &lines(&world)[1]["statusCode"]), (&json!(refused), &json!(1)));
    assert_eq!(world.queue.calls().len(), 3);
    let third = world.post(FIRE, "").await.error();
    assert_eq!(third, (429, "Too many requests in the last minute (count: 3, allowed: 2).".to_owned()));
}

#[tokio::test]
async fn a_rule_that_is_switched_off_calls_nothing_from_then_on() {
    let world = world(BOTH).await;
    world.post(FIRE, "").await;
    let off = trigger(&[("r1", "/_/a", RuleStatus::Inactive)]);
    world.knowledge.put_trigger(Trigger { revision: Revision(9), ..off });
    world.tell(Delta::EntityChanged(Collection::Triggers, full("guest/t"), Some(Revision(9))));
    assert_eq!(world.post(FIRE, "").await.status, 204);
}

#[tokio::test]
async fn what_a_rule_asks_for_wins_over_what_its_action_asks_for() {
    let world = world(&[]).await;
    let asks = |annotations: Value| serde_json::from_value(annotations).unwrap();
    let annotations = asks(json!([
        {"key": "async-attempts", "value": 2}, {"key": "async-priority", "value": 7},
    ]));
    world.knowledge.put_action(Action { annotations, ..action("a", 1, |_| {}) });
    let own = rule("r", "/_/a", &json!([{"key": "async-attempts", "value": 5}]));
    world.knowledge.put_trigger(trigger(&[]).link(&own, ACTIVE).unwrap());
    assert_eq!(world.post(FIRE, "").await.status, 202);
    let policy = world.queue.calls()[0].policy.clone();
    assert_eq!((policy.attempts_max, policy.priority), (5, 7));
}

#[tokio::test]
async fn a_trigger_is_fired_as_the_destination_of_a_call() {
    let world = world(&[("r", "/_/b", ACTIVE)]).await;
    world.ready("a", 1, 1);
    world.in_the_background();
    world.containers.answer(|request| done(request, Status::Success, r#"{"good":1}"#));
    let told = [("x-triplane-async-on-success", "trigger:/_/t")];
    let call = world.post_with("_/actions/a", "", &told).await.id();
    world.until(|| world.queue.calls().len() == 3).await;
    let calls = world.queue.calls();
    let (fire, of_rule) = (&calls[1], &calls[2]);
    assert_eq!((fire.target.to_string(), fire.cause), ("trigger:/guest/t".to_owned(), Some(call)));
    assert_eq!((of_rule.target.to_string(), of_rule.cause), ("/guest/b".to_owned(), Some(fire.id)));
    assert_eq!(arguments(of_rule)["response"]["result"], json!({"good": 1}));
    assert_eq!(arguments(of_rule)["from"], "trigger");
    world.until(|| world.queue.end_of(fire.id) == Some(Final::Done)).await;
    assert!(world.records().iter().any(|record| record["activationId"] == json!(fire.id)));
}

#[tokio::test]
async fn a_destination_whose_trigger_is_gone_is_a_dead_letter_that_says_so() {
    let world = world(&[]).await;
    world.ready("a", 1, 1);
    world.in_the_background();
    let told = [("x-triplane-async-on-success", "trigger:/_/none")];
    world.post_with("_/actions/a", "", &told).await;
    world.until(|| world.queue.calls().len() == 2).await;
    let fire = world.queue.calls()[1].id;
    world.until(|| world.queue.end_of(fire) == Some(Final::Dead)).await;
    let record = world.records().into_iter().find(|record| record["activationId"] == json!(fire)).unwrap();
    let text = "the trigger could not be found or may have been deleted";
    assert_eq!(record["response"]["result"]["error"], text);
}

#[tokio::test]
async fn a_parameter_that_is_marked_for_init_is_an_argument_like_the_others() {
    let world = world(&[]).await;
    let marked = serde_json::from_value(json!([{"key": "early", "value": 1, "init": true}])).unwrap();
    let trigger = Trigger { parameters: marked, ..trigger(&[("r", "/_/a", ACTIVE)]) };
    world.knowledge.put_trigger(trigger);
    assert_eq!(world.post(FIRE, "").await.status, 202);
    assert_eq!(arguments(&world.queue.calls()[0])["early"], 1);
}

#[tokio::test]
async fn the_record_of_a_fire_obeys_the_level_of_what_is_not_waited_for() {
    let failures = |settings: &mut Settings| settings.store_levels.non_blocking = StoreLevel::Failures;
    let world = world_with(BOTH, failures).await;
    assert_eq!(world.post(FIRE, "").await.status, 202);
    assert!(world.records().is_empty(), "it is a success");
    let fired = world.post_with(FIRE, "", &[("X-OW-Extra-Logging", "on")]).await;
    assert_eq!(world.records()[0]["activationId"], json!(fired.id()));
}

#[tokio::test]
async fn the_record_of_a_queued_fire_goes_when_the_fire_is_over_if_it_is_not_to_be_stored() {
    let failures = |settings: &mut Settings| settings.store_levels.non_blocking = StoreLevel::Failures;
    let world = world_with(&[("r", "/_/b", ACTIVE)], failures).await;
    world.in_the_background();
    let fire = alarm(&world, 1).await;
    world.until(|| world.queue.end_of(fire) == Some(Final::Done)).await;
    world.until(|| world.records().is_empty()).await;
}

/// An alarm fires the trigger; answers the id.
async fn alarm(world: &World, number: u128) -> ActivationId {
    let call = QueuedCall {
        id: ActivationId::from_bits(number),
        namespace: EntityName::namespace("guest").unwrap(),
        target: Destination::Trigger(full("guest/t")),
        payload: "{}".into(),
        transaction_id: TransactionId::new("alarm"),
        traceparent: None,
        accepted_ms: now_ms(),
        policy: Policy::default(),
        partition: None,
        idempotency: None,
        cause: None,
        hops: 0,
    };
    let id = call.id;
    let _ = ScriptedQueue(std::sync::Arc::clone(&world.queue)).accept(call).await.unwrap();
    world.router.queue_changed();
    id
}

/// The guest may do so much in a minute.
fn limit(world: &World, invocations_per_minute: u64, fires_per_minute: u64) {
    let limits = NamespaceLimits { invocations_per_minute, fires_per_minute, ..NamespaceLimits::default() };
    world.knowledge.put_identity(identity("guest", limits));
}

#[tokio::test]
async fn an_alarm_past_the_limit_of_fires_waits_for_another_minute() {
    let world = world(&[("r", "/_/b", ACTIVE)]).await;
    limit(&world, 100, 0);
    world.in_the_background();
    let fire = alarm(&world, 1).await;
    world.until(|| world.queue.released.load(Ordering::SeqCst) > 0).await;
    assert_eq!((world.queue.calls().len(), world.queue.end_of(fire)), (1, None));
}

#[tokio::test]
async fn what_an_alarm_calls_counts_on_the_limit_of_calls() {
    let world = world(BOTH).await;
    limit(&world, 1, 1);
    world.in_the_background();
    let fire = alarm(&world, 1).await;
    world.until(|| world.queue.end_of(fire) == Some(Final::Done)).await;
    let lines = lines(&world);
    assert_eq!(lines[0]["success"], true);
    assert_eq!(lines[1]["error"], "Too many requests in the last minute (count: 2, allowed: 1).");
}

#[tokio::test]
async fn a_queued_fire_with_too_much_payload_is_a_dead_letter_that_says_so() {
    let world = world(&[]).await;
    let large = "x".repeat(1_000_000);
    let large = serde_json::from_value(json!([{"key": "large", "value": large}])).unwrap();
    let names: Vec<_> = (0..68).map(|number| format!("r{number}")).collect();
    let rules: Vec<_> = names.iter().map(|name| (name.as_str(), "/_/a", ACTIVE)).collect();
    world.knowledge.put_trigger(Trigger { parameters: large, ..trigger(&rules) });
    world.in_the_background();
    let fire = alarm(&world, 1).await;
    world.until(|| world.queue.end_of(fire) == Some(Final::Dead)).await;
    assert_eq!(world.records()[0]["response"]["result"]["error"], TOO_LARGE);
    assert_eq!(world.queue.calls().len(), 1, "none of its calls is stored");
}
