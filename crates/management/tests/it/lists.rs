//! Lists of actions (openwhisk-api.md 1.9).

use serde_json::json;

use crate::platform::{Platform, names, node};

const LIST: &str = "/api/v1/namespaces/_/actions";

async fn with_actions(number: usize) -> Platform {
    let platform = Platform::start().await;
    for index in 0..number {
        platform.create(&format!("a{index}"), "x").await;
    }
    platform
}

#[tokio::test]
async fn a_list_item_is_a_summary_with_limits_and_exec_binary() {
    let platform = with_actions(0).await;
    let body = json!({
        "exec": {"kind": "nodejs:default", "code": "abcd", "main": "m"},
        "parameters": [{"key": "secret", "value": 1}],
        "annotations": [{"key": "a", "value": {"b": [1]}}],
    });
    let created = platform.guest("PUT", &format!("{LIST}/one"), Some(body)).await.ok();
    for path in [LIST, "/api/v1/namespaces/guest/actions/"] {
        assert_eq!(
            platform.get(path).await.ok(),
            json!([{
                "namespace": "guest", "name": "one", "version": "0.0.1", "publish": false,
                "annotations": created["annotations"], "updated": created["updated"],
                "limits": {"timeout": 60_000, "memory": 256, "logs": 10, "concurrency": 1},
                "exec": {"binary": true},
            }])
        );
    }
}

#[tokio::test]
async fn the_newest_comes_first_and_an_update_makes_an_action_new() {
    let platform = with_actions(3).await;
    assert_eq!(names(&platform.get(LIST).await.ok()), ["a2", "a1", "a0"]);
    platform.guest("PUT", &format!("{LIST}/a0?overwrite=true"), Some(node("y"))).await.ok();
    assert_eq!(names(&platform.get(LIST).await.ok())[0], "a0");
}

#[tokio::test]
async fn limit_and_skip_cut_the_list() {
    let platform = with_actions(5).await;
    for (query, expected) in [
        ("limit=2", &["a4", "a3"][..]),
        ("limit=2&skip=3", &["a1", "a0"]),
        ("skip=5", &[]),
        ("limit=0&skip=4", &["a0"]),
        ("", &["a4", "a3", "a2", "a1", "a0"]),
    ] {
        assert_eq!(names(&platform.get(&format!("{LIST}?{query}")).await.ok()), expected, "{query}");
    }
}

#[tokio::test]
async fn a_list_has_30_by_default_and_200_for_0() {
    let platform = with_actions(31).await;
    assert_eq!(platform.get(LIST).await.ok().as_array().unwrap().len(), 30);
    assert_eq!(platform.get(&format!("{LIST}?limit=0")).await.ok().as_array().unwrap().len(), 31);
    assert_eq!(platform.get(&format!("{LIST}?limit=200")).await.ok().as_array().unwrap().len(), 31);
}

#[tokio::test]
async fn count_is_the_total_minus_skip_and_ignores_limit() {
    let platform = with_actions(3).await;
    for (query, count) in
        [("count=true", 3), ("count=true&limit=1", 3), ("count=true&skip=2", 1), ("count=true&skip=9", 0)]
    {
        let answer = platform.get(&format!("{LIST}?{query}")).await.ok();
        assert_eq!(answer, json!({ "actions": count }), "{query}");
    }
    assert_eq!(platform.get(&format!("{LIST}?count=false")).await.ok().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn bad_query_values_are_400_with_openwhisks_texts() {
    let platform = with_actions(0).await;
    for (parameter, value, detail) in [
        ("limit", "201", "The value '201' is not in the range of 0 to 200 for actions."),
        ("limit", "-1", "The value '-1' is not in the range of 0 to 200 for actions."),
        ("limit", "x", "The value 'x' is not an integer for actions."),
        ("skip", "-1", "The value '-1' is not greater than or equal to 0 for actions."),
        ("skip", "x", "The value 'x' is not an integer for actions."),
        ("count", "x", "'x' is not a valid Boolean value"),
    ] {
        platform
            .get(&format!("{LIST}?{parameter}={value}"))
            .await
            .refused(400, &format!("The query parameter '{parameter}' was malformed:\n{detail}"));
    }
}

#[tokio::test]
async fn a_list_shows_only_the_own_namespace() {
    let platform = with_actions(1).await;
    assert_eq!(platform.other("GET", LIST, None).await.ok(), json!([]));
    assert_eq!(platform.other("GET", &format!("{LIST}?count=true"), None).await.ok(), json!({"actions": 0}));
}

#[tokio::test]
async fn many_lists_at_once_are_all_answered() {
    let platform = with_actions(2).await;
    let lists = futures_util::future::join_all((0..40).map(|_| platform.get(LIST))).await;
    for list in lists {
        assert_eq!(names(&list.ok()), ["a1", "a0"]);
    }
}
