//! Triggers and rules (openwhisk-api.md 5.2, 5.3), but for fires, which are the router's.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::platform::{Answer, Platform, names};

const TRIGGERS: &str = "/api/v1/namespaces/_/triggers";
const RULES: &str = "/api/v1/namespaces/_/rules";

/// `guest` has triggers `t` and `t2` and an action `a`.
async fn platform() -> Platform {
    let platform = Platform::start().await;
    for name in ["t", "t2"] {
        put_trigger(&platform, name, json!({})).await.ok();
    }
    platform.create("a", "x").await;
    platform
}

async fn put_trigger(platform: &Platform, name: &str, body: Value) -> Answer {
    platform.guest("PUT", &format!("{TRIGGERS}/{name}"), Some(body)).await
}

async fn put_rule(platform: &Platform, name: &str, trigger: &str, action: &str) -> Answer {
    let body = json!({"name": name, "status": "", "trigger": trigger, "action": action});
    platform.guest("PUT", &format!("{RULES}/{name}"), Some(body)).await
}

async fn set(platform: &Platform, rule: &str, status: &str) -> Answer {
    let body = json!({"name": "", "status": status, "trigger": null, "action": null});
    platform.guest("POST", &format!("{RULES}/{rule}"), Some(body)).await
}

async fn status(platform: &Platform, rule: &str) -> Value {
    platform.get(&format!("{RULES}/{rule}")).await.ok()["status"].clone()
}

async fn rules_of(platform: &Platform, trigger: &str) -> Value {
    platform.get(&format!("{TRIGGERS}/{trigger}")).await.ok()["rules"].clone()
}

#[tokio::test]
async fn a_trigger_is_created_read_changed_and_deleted() {
    let platform = Platform::start().await;
    let body = json!({"parameters": [{"key": "a", "value": 1}], "limits": {}});
    let created = put_trigger(&platform, "t", body).await.ok();
    assert_eq!(
        created,
        json!({
            "namespace": "guest", "name": "t", "version": "0.0.1", "publish": false, "annotations": [],
            "parameters": [{"key": "a", "value": 1}], "limits": {}, "updated": created["updated"],
        })
    );
    put_trigger(&platform, "t", json!({})).await.refused(409, "resource already exists");
    let updated = put_trigger(&platform, "t?overwrite=true", json!({"annotations": []})).await.ok();
    assert_eq!((&updated["version"], &updated["parameters"]), (&json!("0.0.2"), &created["parameters"]));
    let path = format!("{TRIGGERS}/t");
    assert_eq!(platform.get(&path).await.ok(), updated);
    assert_eq!(platform.guest("DELETE", &path, None).await.ok(), updated);
    platform.get(&path).await.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn a_feed_must_be_a_path() {
    let platform = Platform::start().await;
    let body = |feed: Value| json!({"annotations": [{"key": "feed", "value": feed}]});
    put_trigger(&platform, "t", body(json!(1))).await.refused(400, "Feed name is not valid");
    put_trigger(&platform, "t", body(json!("/whisk.system/alarms/alarm"))).await.ok();
}

#[tokio::test]
async fn triggers_are_listed_without_parameters_and_rules_without_status() {
    let platform = platform().await;
    put_rule(&platform, "r", "/_/t", "/_/a").await.ok();
    let triggers = platform.get(TRIGGERS).await.ok();
    assert_eq!(names(&triggers), ["t2", "t"]);
    assert!(triggers[1].get("parameters").is_none() && triggers[1].get("rules").is_none());
    let rules = platform.get(RULES).await.ok();
    assert_eq!(rules[0]["trigger"], json!({"path": "guest", "name": "t"}));
    assert!(rules[0].get("status").is_none());
    for (path, collection) in [(TRIGGERS, "triggers"), (RULES, "rules")] {
        let count = platform.get(&format!("{path}?count=true")).await.ok();
        assert_eq!(count[collection], if collection == "rules" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn triggers_and_rules_of_others_are_403() {
    let platform = platform().await;
    for (method, path) in [
        ("GET", "triggers/t"),
        ("DELETE", "triggers/t"),
        ("PUT", "triggers/new"),
        ("GET", "rules/r"),
        ("PUT", "rules/r"),
        ("POST", "rules/r"),
    ] {
        let body = (method != "GET").then(|| json!({}));
        let answer = platform.other(method, &format!("/api/v1/namespaces/guest/{path}"), body).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn a_new_rule_is_active_and_its_trigger_knows_it() {
    let platform = platform().await;
    let created = put_rule(&platform, "r", "/_/t", "guest/a").await.ok();
    assert_eq!(
        created,
        json!({
            "namespace": "guest", "name": "r", "version": "0.0.1", "publish": false, "annotations": [],
            "trigger": {"path": "guest", "name": "t"}, "action": {"path": "guest", "name": "a"},
            "status": "active", "updated": created["updated"],
        })
    );
    assert_eq!(platform.get(&format!("{RULES}/r")).await.ok(), created);
    let link = json!({"guest/r": {"action": {"path": "guest", "name": "a"}, "status": "active"}});
    assert_eq!(rules_of(&platform, "t").await, link);
    let trigger = platform.get(&format!("{TRIGGERS}/t")).await.ok();
    assert_eq!(trigger["version"], "0.0.1", "a rule does not count its trigger's version up");
}

#[tokio::test]
async fn a_rule_needs_a_trigger_and_an_action_that_exist() {
    let platform = platform().await;
    let refused = platform.guest("PUT", &format!("{RULES}/r"), Some(json!({}))).await;
    refused.refused(400, "rule requires a valid trigger and a valid action");
    let missing = put_rule(&platform, "r", "/_/none", "/_/a").await;
    missing.refused(400, "trigger /guest/none does not exist");
    let missing = put_rule(&platform, "r", "/_/t", "/_/none").await;
    missing.refused(400, "action /guest/none does not exist");
    let missing = put_rule(&platform, "r", "/_/t", "/_/pkg/none").await;
    missing.refused(400, "action /guest/pkg/none does not exist");
    put_rule(&platform, "r", "t", "/_/a").await.malformed(
        "requirement failed: The fully qualified name of the entity must contain at least the namespace and the \
         name of the entity.",
    );
    assert_eq!(platform.get(RULES).await.ok(), json!([]));
}

#[tokio::test]
async fn a_rule_may_not_use_what_its_owner_may_not() {
    let platform = platform().await;
    let body = json!({"trigger": "/guest/t", "action": "/guest/a"});
    let refused = platform.other("PUT", &format!("{RULES}/r"), Some(body)).await;
    refused.refused(403, "The supplied authentication is not authorized to access 'guest/a, guest/t'.");
}

#[tokio::test]
async fn a_rule_may_call_actions_of_public_packages_also_through_a_binding() {
    let platform = platform().await;
    let packages = "/api/v1/namespaces/_/packages";
    platform.guest("PUT", &format!("{packages}/p"), Some(json!({"publish": true}))).await.ok();
    platform.create("p/a", "x").await;
    let binding = json!({"binding": {"namespace": "guest", "name": "p"}});
    platform.other("PUT", &format!("{packages}/b"), Some(binding)).await.ok();
    platform.other("PUT", &format!("{TRIGGERS}/t"), Some(json!({}))).await.ok();
    for (rule, action, path) in [("r1", "/guest/p/a", "guest/p"), ("r2", "/_/b/a", "other/b")] {
        let body = json!({"trigger": "/_/t", "action": action});
        let created = platform.other("PUT", &format!("{RULES}/{rule}"), Some(body)).await.ok();
        assert_eq!(created["action"], json!({"path": path, "name": "a"}));
    }
}

#[tokio::test]
async fn a_rule_is_switched_off_and_on_and_a_repetition_changes_nothing() {
    let platform = platform().await;
    put_rule(&platform, "r", "/_/t", "/_/a").await.ok();
    for wanted in ["active", "inactive", "inactive", "active"] {
        let answer = set(&platform, "r", wanted).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "OK"));
        assert_eq!(status(&platform, "r").await, wanted);
    }
    set(&platform, "r", "asleep")
        .await
        .malformed("requirement failed: 'asleep' is not a recognized rule state");
    set(&platform, "none", "active").await.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn an_update_keeps_the_status_and_a_move_takes_the_rule_to_the_other_trigger() {
    let platform = platform().await;
    put_rule(&platform, "r", "/_/t", "/_/a").await.ok();
    set(&platform, "r", "inactive").await;
    let body = json!({"annotations": [{"key": "b", "value": 1}]});
    let updated = platform.guest("PUT", &format!("{RULES}/r?overwrite=true"), Some(body)).await.ok();
    assert_eq!((&updated["status"], &updated["version"]), (&json!("inactive"), &json!("0.0.2")));
    let moved = put_rule(&platform, "r?overwrite=true", "/_/t2", "/_/a").await.ok();
    assert_eq!((&moved["status"], &moved["trigger"]["name"]), (&json!("inactive"), &json!("t2")));
    assert_eq!(rules_of(&platform, "t").await, json!({}));
    assert_eq!(rules_of(&platform, "t2").await["guest/r"]["status"], "inactive");
    put_rule(&platform, "r", "/_/t", "/_/a").await.refused(409, "resource already exists");
}

#[tokio::test]
async fn a_rule_whose_trigger_is_gone_reads_as_inactive_and_cannot_be_activated() {
    let platform = platform().await;
    put_rule(&platform, "r", "/_/t", "/_/a").await.ok();
    platform.guest("DELETE", &format!("{TRIGGERS}/t"), None).await.ok();
    assert_eq!(status(&platform, "r").await, "inactive");
    let refused = set(&platform, "r", "active").await;
    refused.refused(404, "Only rules with existing triggers can be activated");
    put_trigger(&platform, "t", json!({})).await.ok();
    assert_eq!(status(&platform, "r").await, "inactive", "the new trigger does not know it");
    set(&platform, "r", "active").await;
    assert_eq!(rules_of(&platform, "t").await["guest/r"]["status"], "active");
}

#[tokio::test]
async fn an_active_rule_is_deleted_and_its_trigger_forgets_it() {
    let platform = platform().await;
    put_rule(&platform, "r", "/_/t", "/_/a").await.ok();
    let deleted = platform.guest("DELETE", &format!("{RULES}/r"), None).await.ok();
    assert_eq!(deleted["status"], "inactive");
    assert_eq!(rules_of(&platform, "t").await, json!({}));
    platform.get(&format!("{RULES}/r")).await.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn rules_of_one_trigger_that_are_made_at_the_same_time_are_all_known_to_it() {
    let platform = platform().await;
    let named: Vec<_> = (0..12).map(|number| format!("r{number}")).collect();
    for answer in join_all(named.iter().map(|name| put_rule(&platform, name, "/_/t", "/_/a"))).await {
        answer.ok();
    }
    assert_eq!(rules_of(&platform, "t").await.as_object().unwrap().len(), 12);
}

#[tokio::test]
async fn what_a_rule_asks_of_asynchronous_calls_is_checked_when_it_is_written() {
    let platform = platform().await;
    let body = json!({
        "trigger": "/_/t", "action": "/_/a", "annotations": [{"key": "async-attempts", "value": "many"}],
    });
    assert_eq!(platform.guest("PUT", &format!("{RULES}/r"), Some(body)).await.status, 400);
}
