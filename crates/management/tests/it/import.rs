//! Documents of OpenWhisk's databases, taken in one at a time (openwhisk-api.md 12.1).

use serde_json::{Value, json};

use crate::platform::{Call, GUEST, Platform};

const AUTH: &str =
    "a1b2c3d4-71f6-4ed5-8c54-816aa4f8c501:1111111111111111111111111111111111111111111111111111111111111111";

async fn import(platform: &Platform, document: Value) -> Value {
    platform.operator("POST", "/admin/v1/import", Some(document)).await.ok()
}

async fn over(platform: &Platform, document: Value) -> Value {
    platform.operator("POST", "/admin/v1/import?overwrite=true", Some(document)).await.ok()
}

fn subject(key: char) -> Value {
    let (uuid, _) = AUTH.split_once(':').unwrap();
    let namespace = json!({"name": "alice", "uuid": uuid, "key": key.to_string().repeat(64)});
    json!({"_id": "alice", "_rev": "1-a", "subject": "alice", "namespaces": [namespace]})
}

fn action(version: &str, code: &str) -> Value {
    json!({
        "_id": "alice/hello", "_rev": "2-b", "entityType": "action", "namespace": "alice", "name": "hello",
        "version": version, "publish": false, "updated": 1_700_000_000_000_u64,
        "annotations": [{"key": "exec", "value": "nodejs:20"}], "parameters": [{"key": "a", "value": 1.5}],
        "limits": {"timeout": 1000, "memory": 128, "logs": 1},
        "exec": {"kind": "nodejs:20", "binary": false, "code": code},
    })
}

#[tokio::test]
async fn a_subject_its_limits_and_its_action_are_there_as_they_were() {
    let platform = Platform::start().await;
    let documents = [
        subject('1'),
        json!({"_id": "alice/limits", "_rev": "1-c", "invocationsPerMinute": 7}),
        action("0.0.3", "function main() {}"),
    ];
    for (document, kind) in documents.iter().zip(["subject", "limits", "action"]) {
        let taken = import(&platform, document.clone()).await;
        assert_eq!((&taken["kind"], &taken["outcome"]), (&json!(kind), &json!("taken")));
        let again = import(&platform, document.clone()).await;
        assert_eq!(again["outcome"], "there", "{again}");
    }
    let get = async |path: &str| platform.send(Call::new("GET", path).auth(AUTH)).await.ok();
    assert_eq!(get("/api/v1/namespaces/_/limits").await["invocationsPerMinute"], 7);
    let action = get("/api/v1/namespaces/_/actions/hello").await;
    assert_eq!((&action["version"], &action["updated"]), (&json!("0.0.3"), &json!(1_700_000_000_000_u64)));
    assert_eq!(action["exec"]["code"], "function main() {}");
    assert_eq!(action["parameters"], json!([{"key": "a", "value": 1.5}]));
    assert_eq!(action["limits"], json!({"timeout": 1000, "memory": 128, "logs": 1, "concurrency": 1}));
}

#[tokio::test]
async fn an_action_of_a_kind_that_does_not_run_here_is_taken_with_a_note() {
    let platform = Platform::start().await;
    import(&platform, subject('1')).await;
    let mut old = action("0.0.1", "function main() {}");
    old["exec"]["kind"] = json!("swift:3.1");
    let taken = import(&platform, old).await;
    assert_eq!(taken["outcome"], "taken");
    let note = "its kind swift:3.1 does not run here: calls fail until it is updated to one that does";
    assert_eq!(taken["note"], note);
    let known = import(&platform, subject('1')).await;
    assert!(known.get("note").is_none(), "{known}");
}

#[tokio::test]
async fn what_differs_is_replaced_only_when_told_to() {
    let platform = Platform::start().await;
    for (before, after) in [
        (subject('1'), subject('2')),
        (
            json!({"_id": "alice/limits", "firesPerMinute": 1}),
            json!({"_id": "alice/limits", "firesPerMinute": 2}),
        ),
        (action("0.0.1", "one"), action("0.0.2", "two")),
    ] {
        import(&platform, before).await;
        let refused = import(&platform, after.clone()).await;
        assert_eq!(refused["outcome"], "refused");
        assert_eq!(refused["reason"], "it is here already, and differs; --overwrite replaces it");
        assert_eq!(over(&platform, after.clone()).await["outcome"], "taken");
        assert_eq!(import(&platform, after).await["outcome"], "there");
    }
}

#[tokio::test]
async fn a_blocked_subject_stays_blocked() {
    let platform = Platform::start().await;
    let mut blocked = subject('1');
    blocked["blocked"] = json!(true);
    assert_eq!(import(&platform, blocked).await["outcome"], "taken");
    let answer = platform.send(Call::new("GET", "/api/v1/namespaces").auth(AUTH)).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn what_is_not_taken_has_a_reason() {
    let platform = Platform::start().await;
    let mut foreign = subject('1');
    foreign["namespaces"][0]["uuid"] = json!(GUEST.split(':').next());
    let mut keyless = subject('1');
    keyless["namespaces"][0]["key"] = json!("short");
    let limited = |limits: Value| {
        let mut limited = action("0.0.1", "x");
        limited["limits"] = limits;
        limited
    };
    for (document, outcome, part) in [
        (limited(json!({"memory": 2048})), "refused", "its limits: memory size 2048 MB exceeds"),
        (limited(json!({"concurrency": 0})), "refused", "its limits: concurrency 0 below"),
        (limited(json!({"timeout": "x"})), "refused", "its limits: time limit must be whole number"),
        (json!({"_id": "_design/subjects.v2.0.0", "views": {}}), "skipped", ""),
        (json!({"_id": "x"}), "refused", "neither a subject, nor limits, nor an entity"),
        (json!({"_id": "a/b", "entityType": "activation"}), "refused", "documents of type activation"),
        (json!({"_id": "a/limits", "fires": 1}), "refused", "unknown field `fires`"),
        (json!({"_id": "abcde", "subject": "abcde", "namespaces": []}), "refused", "it has no namespaces"),
        (foreign, "refused", "is in use by another subject or namespace"),
        (keyless, "refused", "no UUID with a key of 64 characters"),
    ] {
        let said = import(&platform, document).await;
        assert_eq!(said["outcome"], outcome, "{said}");
        assert!(said["reason"].as_str().unwrap_or_default().contains(part), "{said}");
    }
}

#[tokio::test]
async fn packages_triggers_and_rules_are_there_with_their_actions() {
    let platform = Platform::start().await;
    import(&platform, subject('1')).await;
    let mut packaged = action("0.0.1", "function main() {}");
    packaged["_id"] = json!("alice/tools/hello");
    packaged["namespace"] = json!("alice/tools");
    assert_eq!(import(&platform, packaged.clone()).await["reason"], "its package alice/tools is not here");
    let head = |kind: &str, name: &str| {
        json!({
            "_id": format!("alice/{name}"), "entityType": kind, "namespace": "alice", "name": name,
            "version": "0.0.2", "publish": true, "annotations": [], "parameters": [{"key": "p", "value": 2}],
            "updated": 1_700_000_000_001_u64,
        })
    };
    let with = |mut document: Value, more: Value| {
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        document
    };
    let action = json!({"path": "alice/tools", "name": "hello"});
    let documents = [
        with(head("package", "tools"), json!({"binding": {}})),
        packaged,
        with(
            head("trigger", "ring"),
            json!({"limits": {}, "rules": {"alice/answer": {"action": action, "status": "active"}}}),
        ),
        with(head("rule", "answer"), json!({"trigger": {"path": "alice", "name": "ring"}, "action": action})),
        with(head("package", "bound"), json!({"binding": {"namespace": "alice", "name": "tools"}})),
    ];
    for document in documents {
        assert_eq!(import(&platform, document.clone()).await["outcome"], "taken", "{document}");
        assert_eq!(import(&platform, document).await["outcome"], "there");
    }
    let get = async |path: &str| {
        platform.send(Call::new("GET", &format!("/api/v1/namespaces/_/{path}")).auth(AUTH)).await.ok()
    };
    let through = get("actions/bound/hello").await;
    assert_eq!(through["exec"]["code"], "function main() {}");
    assert!(through["parameters"].as_array().unwrap().contains(&json!({"key": "p", "value": 2})));
    let rule = get("rules/answer").await;
    assert_eq!((&rule["status"], &rule["action"]), (&json!("active"), &action));
    assert_eq!(get("triggers/ring").await["version"], "0.0.2");
}
