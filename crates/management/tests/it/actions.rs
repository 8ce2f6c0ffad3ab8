//! Actions: create, read, update, delete (openwhisk-api.md 1.5 to 1.7, 2).

use serde_json::{Value, json};

use triplane_management::Settings;
use triplane_model::image::ImageRules;

use crate::platform::{Answer, Platform, node, settings};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello";

async fn put(platform: &Platform, body: Value) -> Answer {
    platform.guest("PUT", HELLO, Some(body)).await
}

async fn update(platform: &Platform, body: Value) -> Answer {
    platform.guest("PUT", &format!("{HELLO}?overwrite=true"), Some(body)).await
}

#[tokio::test]
async fn a_created_action_is_answered_whole_and_read_back_the_same() {
    let platform = Platform::start().await;
    let body = json!({
        "namespace": "_", "name": "ignored", "unknown": true,
        "exec": {"kind": "nodejs:default", "code": "function main(){}"},
        "parameters": [{"key": "a", "value": 1}],
    });
    let mut created = put(&platform, body).await.ok();
    assert_eq!(platform.get(HELLO).await.ok(), created);
    let updated = created["updated"].take();
    assert!(updated.as_u64().unwrap() > 1_700_000_000_000, "{updated}");
    assert_eq!(
        created,
        json!({
            "annotations": [
                {"key": "provide-api-key", "value": false}, {"key": "exec", "value": "nodejs:20"},
            ],
            "exec": {"binary": false, "code": "function main(){}", "kind": "nodejs:20"},
            "limits": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60_000},
            "name": "hello", "namespace": "guest", "parameters": [{"key": "a", "value": 1}],
            "publish": false, "updated": null, "version": "0.0.1",
        })
    );
}

#[tokio::test]
async fn code_false_omits_the_code() {
    let platform = Platform::start().await;
    platform.create("hello", "the code").await;
    let without = platform.get(&format!("{HELLO}?code=false")).await.ok();
    assert_eq!(without["exec"], json!({"kind": "nodejs:20", "binary": false}));
    let with = platform.get(&format!("{HELLO}?code=true")).await.ok();
    assert_eq!(with["exec"]["code"], "the code");
    platform
        .get(&format!("{HELLO}?code=maybe"))
        .await
        .refused(400, "The query parameter 'code' was malformed:\n'maybe' is not a valid Boolean value");
}

#[tokio::test]
async fn code_is_read_back_exactly_as_it_was_put() {
    let platform = Platform::start().await;
    let large = "// ä \u{1F980} \"quoted\" \\ \r\n\t\u{0}".repeat(100_000);
    for code in ["", " abcd\n", "a\"b\\c\u{7f}\u{2028}", &large] {
        let written = update(&platform, node(code)).await.ok();
        assert!(written["exec"]["code"] == code);
        assert!(platform.get(HELLO).await.ok()["exec"]["code"] == code);
    }
}

#[tokio::test]
async fn binary_is_computed_and_main_is_kept() {
    let platform = Platform::start().await;
    let exec = |code: &str, binary: bool| json!({"exec": {"kind": "nodejs:20", "code": code, "binary": binary, "main": "m"}});
    let text = update(&platform, exec("function main(){}", true)).await.ok();
    assert_eq!((&text["exec"]["binary"], &text["exec"]["main"]), (&json!(false), &json!("m")));
    let zip = update(&platform, exec("UEsDBAo=", false)).await.ok();
    assert_eq!(zip["exec"]["binary"], true);
}

#[tokio::test]
async fn put_without_overwrite_on_an_existing_action_is_409() {
    let platform = Platform::start().await;
    platform.create("hello", "first").await;
    put(&platform, node("second")).await.refused(409, "resource already exists");
    let query = format!("{HELLO}?overwrite=false");
    platform.guest("PUT", &query, Some(node("second"))).await.refused(409, "resource already exists");
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["code"], "first");
}

#[tokio::test]
async fn an_update_keeps_what_the_body_does_not_name() {
    let platform = Platform::start().await;
    let body = json!({
        "exec": {"kind": "nodejs:20", "code": "kept", "main": "m"},
        "parameters": [{"key": "p", "value": {"deep": [1.5]}, "init": true}],
        "annotations": [{"key": "a", "value": 1}],
        "limits": {"memory": 128, "instances": 3},
        "publish": true,
    });
    let created = put(&platform, body).await.ok();
    let updated = update(&platform, json!({})).await.ok();
    for key in ["exec", "parameters", "annotations", "limits", "publish", "name", "namespace"] {
        assert_eq!(updated[key], created[key], "{key}");
    }
    assert_eq!(updated["version"], "0.0.2");
    assert!(updated["updated"].as_u64() >= created["updated"].as_u64());
}

#[tokio::test]
async fn an_update_replaces_parameters_and_merges_annotations_and_limits() {
    let platform = Platform::start().await;
    let body = json!({
        "exec": {"kind": "nodejs:20", "code": "x"},
        "parameters": [{"key": "old", "value": 1}],
        "annotations": [{"key": "a", "value": 1}, {"key": "b", "value": 2}, {"key": "c", "value": 3}],
        "limits": {"memory": 128, "timeout": 100},
    });
    put(&platform, body).await.ok();
    let body = json!({
        "parameters": [{"key": "new", "value": 2}],
        "annotations": [{"key": "b", "value": 20}, {"key": "exec", "value": "mine"}],
        "delAnnotations": ["a", "missing"],
        "limits": {"timeout": 200},
    });
    let updated = update(&platform, body).await.ok();
    assert_eq!(updated["parameters"], json!([{"key": "new", "value": 2}]));
    assert_eq!(updated["limits"], json!({"memory": 128, "timeout": 200, "logs": 10, "concurrency": 1}));
    let annotations = updated["annotations"].as_array().unwrap();
    let expected =
        [("b", json!(20)), ("c", json!(3)), ("exec", json!("nodejs:20")), ("provide-api-key", json!(false))];
    assert_eq!(annotations.len(), expected.len(), "{annotations:?}");
    for (key, value) in expected {
        assert!(annotations.contains(&json!({"key": key, "value": value})), "{key}: {annotations:?}");
    }
}

#[tokio::test]
async fn provide_api_key_is_added_on_create_only() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let updated = update(&platform, json!({"delAnnotations": ["provide-api-key"]})).await.ok();
    assert_eq!(updated["annotations"], json!([{"key": "exec", "value": "nodejs:20"}]));
    let own = json!({
        "exec": {"kind": "nodejs:20", "code": "x"},
        "annotations": [{"key": "provide-api-key", "value": true}],
    });
    let created = platform.guest("PUT", "/api/v1/namespaces/_/actions/keyed", Some(own)).await.ok();
    assert!(
        created["annotations"]
            .as_array()
            .unwrap()
            .contains(&json!({"key": "provide-api-key", "value": true}))
    );
}

#[tokio::test]
async fn versions_count_up_unless_the_put_gives_one() {
    let platform = Platform::start().await;
    assert_eq!(platform.create("hello", "x").await["version"], "0.0.1");
    assert_eq!(update(&platform, node("y")).await.ok()["version"], "0.0.2");
    assert_eq!(update(&platform, json!({"version": "1.2.3"})).await.ok()["version"], "1.2.3");
    assert_eq!(update(&platform, json!({})).await.ok()["version"], "1.2.4");
    for version in ["0.0.0", "-1.0.0", "x"] {
        assert_eq!(update(&platform, json!({ "version": version })).await.status, 400, "{version}");
    }
    assert_eq!(platform.get(HELLO).await.ok()["version"], "1.2.4");
}

#[tokio::test]
async fn create_without_exec_is_400_and_update_without_exec_is_not() {
    let platform = Platform::start().await;
    put(&platform, json!({})).await.refused(400, "exec undefined");
    update(&platform, json!({"parameters": []})).await.refused(400, "exec undefined");
    platform.get(HELLO).await.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn delete_answers_the_deleted_entity() {
    let platform = Platform::start().await;
    let created = platform.create("hello", "x").await;
    assert_eq!(platform.guest("DELETE", HELLO, None).await.ok(), created);
    for method in ["GET", "DELETE"] {
        let answer = platform.guest(method, HELLO, None).await;
        answer.refused(404, "The requested resource does not exist.");
    }
    assert_eq!(platform.create("hello", "again").await["version"], "0.0.1");
}

#[tokio::test]
async fn a_slash_after_a_name_means_the_list_of_a_package() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let slashed = format!("{HELLO}/");
    let conformance = "Resource by this name exists but is not in this collection.";
    platform.get(&slashed).await.refused(409, conformance);
    assert_eq!(platform.guest("DELETE", &slashed, None).await.status, 405);
    platform.get(HELLO).await.ok();
}

#[tokio::test]
async fn unsupported_kinds_are_400_and_name_those_that_are_valid() {
    let platform = Platform::start().await;
    for kind in ["cobol:1", "cobol:default"] {
        let body = json!({"exec": {"kind": kind, "code": "x", "image": "i", "components": ["/_/a"]}});
        put(&platform, body).await.malformed(&format!(
            "The specified runtime '{kind}' is not supported by this platform. Valid values are: 'java:8', 'nodejs:20', 'nodejs:6', 'sequence', 'blackbox'."
        ));
    }
}

#[tokio::test]
async fn images_of_users_are_taken_where_something_runs_them() {
    let platform = Platform::start_with(Settings { images: Some(ImageRules::default()), ..settings() }).await;
    let created = put(&platform, json!({"exec": {"kind": "blackbox", "image": "me/mine:1"}})).await.ok();
    assert_eq!(created["exec"], json!({"kind": "blackbox", "image": "me/mine:1", "binary": false}));
    assert_eq!(platform.get(HELLO).await.ok()["exec"], created["exec"]);
    let code = json!({"exec": {"kind": "blackbox", "image": "mine", "code": "x = 1", "main": "go"}});
    let updated = update(&platform, code).await.ok();
    let exec = json!({"kind": "blackbox", "image": "mine", "binary": false, "code": "x = 1", "main": "go"});
    assert_eq!(updated["exec"], exec);
    let malformed = [
        (json!({"kind": "blackbox", "image": "No Image"}), "could not parse image name"),
        (
            json!({"kind": "blackbox", "code": "x"}),
            "'image' must be a string defined in 'exec' for 'blackbox' actions",
        ),
    ];
    for (exec, text) in malformed {
        update(&platform, json!({ "exec": exec })).await.malformed(text);
    }
}

#[tokio::test]
async fn images_that_the_operator_does_not_allow_are_403() {
    let rules = ImageRules::new(&["known/one".to_owned()], &["me".to_owned()]).unwrap();
    let platform = Platform::start_with(Settings { images: Some(rules), ..settings() }).await;
    for image in ["me/mine:1", "known/one"] {
        let _ = update(&platform, json!({"exec": {"kind": "blackbox", "image": image}})).await.ok();
    }
    update(&platform, json!({"exec": {"kind": "blackbox", "image": "you/yours"}})).await.refused(
        403,
        "the image docker.io/you/yours is not allowed on this platform: use one from docker.io/me, or ask its \
         operator to allow more by docker.allowed",
    );
}

#[tokio::test]
async fn deprecated_kinds_can_be_read_and_deleted_but_not_updated() {
    let text = "The 'nodejs:6' runtime is no longer supported. You may read and delete but not update or invoke this action.";
    let platform = Platform::start().await;
    put(&platform, json!({"exec": {"kind": "nodejs:6", "code": "x"}})).await.refused(400, text);
    platform.store_with_kind("hello", "nodejs:6").await;
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["kind"], "nodejs:6");
    update(&platform, json!({"parameters": []})).await.refused(400, text);
    update(&platform, json!({"exec": {"kind": "nodejs:6", "code": "x"}})).await.refused(400, text);
    assert_eq!(update(&platform, node("moved")).await.ok()["exec"]["kind"], "nodejs:20");
    platform.store_with_kind("old", "nodejs:6").await;
    platform.guest("DELETE", "/api/v1/namespaces/_/actions/old", None).await.ok();
}

#[tokio::test]
async fn kinds_are_trimmed_and_lower_cased() {
    let platform = Platform::start().await;
    let created = put(&platform, json!({"exec": {"kind": " NodeJS:20 ", "code": "x"}})).await.ok();
    assert_eq!(created["exec"]["kind"], "nodejs:20");
}

#[tokio::test]
async fn missing_code_and_missing_main_are_400_with_openwhisks_texts() {
    let platform = Platform::start().await;
    put(&platform, json!({"exec": {"kind": "nodejs:default"}}))
        .await
        .malformed("'code' must be a string or attachment object defined in 'exec' for 'nodejs:20' actions");
    put(&platform, json!({"exec": {"kind": "java:8", "code": "x"}}))
        .await
        .malformed("'main' must be a string defined in 'exec' for 'java:8' actions");
    put(&platform, json!({"exec": {"kind": "java:default", "code": "x", "main": "Main"}})).await.ok();
}

#[tokio::test]
async fn parameters_need_values_and_of_equal_keys_the_last_wins() {
    let platform = Platform::start().await;
    let mut body = node("x");
    body["parameters"] = json!([{"key": "a"}]);
    let refused = put(&platform, body.clone()).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().starts_with("The request content was malformed:\nparameters malformed!"));
    body["parameters"] =
        json!([{"key": "a", "value": 1}, {"key": "b", "value": null}, {"key": "a", "value": 2}]);
    let parameters = put(&platform, body).await.ok()["parameters"].take();
    let mut parameters = parameters.as_array().unwrap().clone();
    parameters.sort_by_key(|parameter| parameter["key"].to_string());
    assert_eq!(parameters, [json!({"key": "a", "value": 2}), json!({"key": "b", "value": null})]);
}

#[tokio::test]
async fn actions_survive_a_restart_of_the_platform() {
    let platform = Platform::start().await;
    let created = platform.create("hello", "x").await;
    let platform = platform.restart().await;
    assert_eq!(platform.get(HELLO).await.ok(), created);
}

#[tokio::test]
async fn an_action_named_like_one_of_another_namespace_is_another_action() {
    let platform = Platform::start().await;
    platform.create("hello", "mine").await;
    platform.other("PUT", HELLO, Some(node("theirs"))).await.ok();
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["code"], "mine");
    platform.other("DELETE", HELLO, None).await.ok();
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["code"], "mine");
}
