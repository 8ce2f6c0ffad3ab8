//! Triggers that fire by the clock, and the packages of `whisk.system`, as clients use them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use triplane_testkit::json::{at, text};
use triplane_testkit::{wait_for, wait_until};

use crate::platform::{Guest, Platform, SOON};

const API: &str = "/api/v1/namespaces/_";
const KEY: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const SYSTEM: &str =
    "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// A trigger with a rule that calls an action which answers its parameters.
async fn trigger_with_rule(guest: &Guest) {
    guest.create("heard", "function main(p) { return p }").await;
    let trigger = json!({"annotations": [{"key": "feed", "value": "/whisk.system/alarms/alarm"}]});
    let _ = guest.0.put(&format!("{API}/triggers/tick"), &trigger).await.expect(200);
    let rule = json!({"trigger": "/_/tick", "action": "/_/heard"});
    let _ = guest.0.put(&format!("{API}/rules/hear"), &rule).await.expect(200);
}

/// Calls a feed as the clients do; answers its result.
async fn feed(guest: &Guest, name: &str, event: &str, mut parameters: Value) -> Value {
    parameters["lifecycleEvent"] = json!(event);
    parameters["triggerName"] = json!("/_/tick");
    parameters["authKey"] = json!(KEY);
    let path = format!("/api/v1/namespaces/whisk.system/actions/alarms/{name}?blocking=true&result=true");
    guest.0.post(&path, &parameters).await.json()
}

async fn activations(guest: &Guest, name: &str) -> Vec<Value> {
    let path = format!("{API}/activations?docs=true&limit=200&name={name}");
    let Value::Array(found) = guest.0.get(&path).await.expect(200).json() else { panic!("no list") };
    found
}

/// Waits until the action was called so often.
async fn heard(guest: &Guest, times: usize) {
    let what = format!("the action was called {times} times");
    wait_until(SOON, &what, async || activations(guest, "heard").await.len() >= times).await;
}

/// The due time of a fire, which is in its id.
fn due_second(activation: &Value) -> u64 {
    let ms = u64::from_str_radix(&text(activation, "activationId")[..12], 16).unwrap();
    assert_eq!(ms % 1000, 0, "a pattern of seconds is due on the second");
    ms / 1000
}

#[tokio::test]
async fn an_alarm_of_every_second_fires_each_due_time_once_through_kills() {
    let mut platform = Platform::start().await;
    trigger_with_rule(&platform.guest()).await;
    let every_second = json!({"cron": "* * * * * *", "trigger_payload": {"from": "the clock"}});
    assert_eq!(feed(&platform.guest(), "alarm", "CREATE", every_second).await, json!({"status": "success"}));
    for times in [2, 4, 6] {
        heard(&platform.guest(), times).await;
        platform = platform.kill_and_restart().await;
    }
    let guest = platform.guest();
    heard(&guest, 8).await;
    assert_eq!(feed(&guest, "alarm", "PAUSE", json!({})).await, json!({"status": "success"}));

    let fires: Vec<u64> = activations(&guest, "tick").await.iter().map(due_second).collect();
    let seconds: BTreeSet<u64> = fires.iter().copied().collect();
    assert_eq!(fires.len(), seconds.len(), "no due time fired twice: {fires:?}");
    let (first, last) = (seconds.first().unwrap(), seconds.last().unwrap());
    assert_eq!(last - first + 1, seconds.len() as u64, "none between was left out: {fires:?}");
    let calls = activations(&guest, "heard").await;
    assert_eq!(at(&calls[0], "response.result"), &json!({"from": "the clock"}));
}

#[tokio::test]
async fn a_feed_is_read_changed_paused_continued_and_deleted() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    trigger_with_rule(&guest).await;
    let yearly = json!({"cron": "0 0 1 1 *", "timezone": "Asia/Tokyo"});
    assert_eq!(feed(&guest, "alarm", "CREATE", yearly.clone()).await, json!({"status": "success"}));
    let again = feed(&guest, "alarm", "CREATE", yearly).await;
    assert_eq!(again, json!({"error": "resource already exists"}));

    let read = feed(&guest, "alarm", "READ", json!({})).await;
    assert_eq!(at(&read, "config.cron"), &json!("0 0 1 1 *"));
    assert_eq!(at(&read, "config.name"), &json!("tick"));
    assert_eq!(at(&read, "status.active"), &json!(true));

    let wrong = feed(&guest, "alarm", "UPDATE", json!({"cron": "never"})).await;
    assert_eq!(wrong, json!({"error": "cron pattern 'never' is not valid"}));
    feed(&guest, "alarm", "PAUSE", json!({})).await;
    let read = feed(&guest, "alarm", "READ", json!({})).await;
    assert_eq!(at(&read, "status.active"), &json!(false));
    feed(&guest, "alarm", "UNPAUSE", json!({})).await;
    feed(&guest, "alarm", "UPDATE", json!({"cron": "* * * * * *"})).await;
    heard(&guest, 1).await;

    assert_eq!(feed(&guest, "alarm", "DELETE", json!({})).await, json!({"status": "success"}));
    let gone = feed(&guest, "alarm", "READ", json!({})).await;
    assert_eq!(gone, json!({"error": "The requested resource does not exist."}));
}

#[tokio::test]
async fn an_alarm_that_fires_once_takes_its_trigger_and_rules_with_it() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    trigger_with_rule(&guest).await;
    let soon = jiff::Timestamp::now() + Duration::from_secs(1);
    let once = json!({"date": soon.as_millisecond(), "deleteAfterFire": "rules"});
    assert_eq!(feed(&guest, "once", "CREATE", once).await, json!({"status": "success"}));
    heard(&guest, 1).await;
    wait_for(SOON, "trigger and rule are gone", async || {
        let trigger = guest.0.get(&format!("{API}/triggers/tick")).await;
        let rule = guest.0.get(&format!("{API}/rules/hear")).await;
        (trigger.status == 404 && rule.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_alarm_whose_fires_find_no_room_does_not_hold_up_those_of_others() {
    let platform = Platform::with_environment(&[("TRIPLANE__QUEUE__NAMESPACE_CALLS_MAX", "2")]).await;
    let (full, other) = (platform.guest(), Guest(platform.server.guest.with_credential(Some(SYSTEM))));
    let every_second = json!({"feed": "alarm", "cron": "* * * * * *"});
    for guest in [&full, &other] {
        trigger_with_rule(guest).await;
    }
    for _ in 0..2 {
        let later = [("x-triplane-async-delay", "3600000")];
        let _ = full.fire_with("heard", json!({}), &later).await.expect(202);
    }
    let _ = full.0.put(&format!("{API}/alarms/tick"), &every_second).await.expect(200);
    let _ = other.0.put(&format!("{API}/alarms/tick"), &every_second).await.expect(200);
    heard(&other, 2).await;
    assert!(activations(&full, "heard").await.is_empty());
}

#[tokio::test]
async fn an_alarm_that_is_due_while_its_owner_is_blocked_is_paused_and_does_not_fire_later() {
    let Platform { mut server, data } = Platform::start().await;
    let guest = Guest(server.guest.clone());
    trigger_with_rule(&guest).await;
    let date = jiff::Timestamp::now() + Duration::from_secs(5);
    let once = json!({"feed": "once", "date": date.as_millisecond()});
    let _ = guest.0.put(&format!("{API}/alarms/tick"), &once).await.expect(200);
    server.process.kill();
    subject(data.path(), "block");
    wait_until(SOON, "the alarm is due", async || jiff::Timestamp::now() > date).await;

    let server = server.settings.start().await;
    let (log, guest) = (|| server.process.output(), Guest(server.guest.clone()));
    wait_until(SOON, "the alarm is paused", async || log().contains("an alarm is paused")).await;
    subject(data.path(), "unblock");
    let paused = guest.0.get(&format!("{API}/alarms/tick")).await.expect(200).json();
    assert_eq!(at(&paused, "status.active"), &json!(false));
    assert_eq!(text(&paused, "status.reason"), "the owner of the namespace is blocked or gone");

    let goes_on = json!({"active": true});
    let refused = guest.0.post(&format!("{API}/alarms/tick"), &goes_on).await.expect(400).json();
    let says = "the alarm is not due any more; give it another date, or other bounds, and it goes on";
    assert_eq!(text(&refused, "error"), says);
    let soon = jiff::Timestamp::now() + Duration::from_secs(1);
    let another = json!({"date": soon.as_millisecond()});
    let _ = guest.0.post(&format!("{API}/alarms/tick"), &another).await.expect(200);
    heard(&guest, 1).await;
    assert_eq!(activations(&guest, "tick").await.len(), 1, "what passed in between did not fire");
}

/// What an operator does about the guest.
fn subject(data: &std::path::Path, verb: &str) {
    let mut triplane = std::process::Command::new(env!("CARGO_BIN_EXE_triplane"));
    let told = triplane.args(["admin", "user", verb, "guest"]).env("TRIPLANE_DATA", data).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

#[tokio::test]
async fn the_packages_of_the_system_are_there_once_the_host_has_the_language_of_their_actions() {
    let mut platform = Platform::with_environment(&[("TRIPLANE__NODE__NODEJS", "/nonexistent")]).await;
    let echo = "/api/v1/namespaces/whisk.system/actions/utils/echo?code=false";
    let _ = platform.guest().0.get(echo).await.expect(404);
    platform.server.settings.environment.retain(|(name, _)| name != "TRIPLANE__NODE__NODEJS");
    let platform = platform.kill_and_restart().await;
    let _ = platform.guest().0.get(echo).await.expect(200);
}

#[tokio::test]
async fn the_packages_of_the_system_are_there_and_their_actions_run() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let listed = guest.0.get("/api/v1/namespaces/whisk.system/packages").await.expect(200).json();
    let names: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|package| text(package, "name")).collect();
    assert_eq!(names, BTreeSet::from(["alarms", "samples", "utils"]));
    for (action, given, answered) in [
        ("utils/echo", json!({"a": [1]}), json!({"a": [1]})),
        ("utils/cat", json!({"lines": [4, 2]}), json!({"lines": [4, 2], "payload": "4\n2\n"})),
        ("utils/smash", json!({"$fieldName": "p", "a": 1}), json!({"p": {"a": 1}})),
        (
            "utils/split",
            json!({"payload": "a,b", "separator": ","}),
            json!({"lines": ["a", "b"], "payload": "a,b"}),
        ),
        (
            "utils/split",
            json!({"payload": "a1b", "separator": "/[0-9]/"}),
            json!({"lines": ["a", "b"], "payload": "a1b"}),
        ),
        ("utils/sort", json!({"lines": [10, 9]}), json!({"lines": [9, 10], "length": 2})),
        ("utils/head", json!({"lines": [4, 2, 3], "num": 2}), json!({"lines": [4, 2], "num": 2})),
        ("utils/namespace", json!({}), json!({"namespace": "guest"})),
        (
            "samples/greeting",
            json!({"name": "Ada", "place": "London"}),
            json!({"payload": "Hello, Ada from London!"}),
        ),
        ("samples/helloWorld", json!({}), json!({})),
        ("samples/wordCount", json!({"payload": "five fuzzy felines"}), json!({"count": 3})),
    ] {
        let path = format!("/api/v1/namespaces/whisk.system/actions/{action}?blocking=true&result=true");
        assert_eq!(guest.0.post(&path, &given).await.expect(200).json(), answered, "{action}");
    }
}
