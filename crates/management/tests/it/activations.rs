//! Activations: list, read, result, logs (openwhisk-api.md 3.1, 7).

use std::time::Duration;

use serde_json::{Value, json};
use triplane_model::activation::{ActivationEntry, Response};
use triplane_model::{ActivationId, ActivationRecord, EntityName, Parameters, Status, Version};

use crate::platform::{Platform, names};

const LIST: &str = "/api/v1/namespaces/_/activations";
const START: u64 = 1_700_000_000_000;

fn id(number: u128) -> ActivationId {
    ActivationId::from_bits(number)
}

/// The record of a successful run of `action` of `guest` that started `number` ms after [`START`].
fn record(number: u128, action: &str) -> ActivationRecord {
    let start = START + u64::try_from(number).unwrap();
    let mut annotations = Parameters::default();
    annotations.set_text("path", &format!("guest/{action}"));
    annotations.set_text("kind", "nodejs:20");
    ActivationRecord {
        namespace: EntityName::namespace("guest").unwrap(),
        name: EntityName::entity(action.rsplit('/').next().unwrap()).unwrap(),
        version: Version::FIRST,
        subject: "guest".to_owned(),
        activation_id: id(number),
        cause: None,
        start,
        end: Some(start + 45),
        duration: Some(40),
        response: Response::new(Status::Success, serde_json::from_str(r#"{"a":1.50}"#).unwrap()),
        logs: Vec::new(),
        annotations,
        publish: false,
    }
}

fn entry(record: &ActivationRecord, logs: &[&str]) -> ActivationEntry {
    ActivationEntry {
        id: record.activation_id,
        namespace: record.namespace.clone(),
        name: record.filter_name(),
        start_ms: record.start,
        record: serde_json::to_string(record).unwrap(),
        logs: serde_json::to_string(logs).unwrap(),
    }
}

/// A platform with the activations 1..=number of the action `hello`.
async fn with_activations(number: u128) -> Platform {
    let platform = Platform::start().await;
    let entries = (1..=number).map(|number| entry(&record(number, "hello"), &[])).collect();
    platform.management.ingest(entries).await.unwrap();
    platform
}

fn ids(list: &Value) -> Vec<u128> {
    let id = |item: &Value| item["activationId"].as_str().unwrap().parse::<ActivationId>().unwrap().bits();
    list.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn a_list_item_is_a_summary_with_a_status_code() {
    let platform = with_activations(1).await;
    for path in [LIST, "/api/v1/namespaces/guest/activations/"] {
        assert_eq!(
            platform.get(path).await.ok(),
            json!([{
                "namespace": "guest", "name": "hello", "version": "0.0.1", "publish": false,
                "annotations": [{"key": "path", "value": "guest/hello"}, {"key": "kind", "value": "nodejs:20"}],
                "activationId": id(1), "start": START + 1, "end": START + 46, "duration": 40, "statusCode": 0,
            }])
        );
    }
}

#[tokio::test]
async fn a_summary_of_what_has_not_ended_has_no_end_duration_or_status_code() {
    let platform = Platform::start().await;
    let fired = ActivationRecord { end: None, duration: None, cause: Some(id(7)), ..record(1, "t") };
    platform.management.ingest(vec![entry(&fired, &[])]).await.unwrap();
    let item = platform.get(LIST).await.ok()[0].take();
    for key in ["end", "duration", "statusCode"] {
        assert!(item.get(key).is_none(), "{item}");
    }
    assert_eq!(item["cause"], json!(id(7)));
}

#[tokio::test]
async fn a_record_is_read_with_its_logs() {
    let platform = Platform::start().await;
    let lines =
        ["2024-01-01T00:00:00.123456789Z stdout: hi \"there\"", "2024-01-01T00:00:00.123456790Z stderr: ä"];
    platform.management.ingest(vec![entry(&record(1, "hello"), &lines)]).await.unwrap();
    for tail in ["", "/"] {
        let answer = platform.get(&format!("{LIST}/{}{tail}", id(1))).await;
        assert!(answer.text.contains(r#""result":{"a":1.50}"#), "the result keeps its text: {}", answer.text);
        assert_eq!(
            answer.ok(),
            json!({
                "namespace": "guest", "name": "hello", "version": "0.0.1", "subject": "guest",
                "activationId": id(1), "start": START + 1, "end": START + 46, "duration": 40,
                "response": {"status": "success", "success": true, "result": {"a": 1.5}, "size": 10},
                "logs": lines,
                "annotations": [{"key": "path", "value": "guest/hello"}, {"key": "kind", "value": "nodejs:20"}],
                "publish": false,
            })
        );
    }
    assert_eq!(platform.get(&format!("{LIST}/{}/logs", id(1))).await.ok(), json!({ "logs": lines }));
    assert_eq!(
        platform.get(&format!("{LIST}/{}/result", id(1))).await.ok(),
        json!({"result": {"a": 1.5}, "success": true, "status": "success", "size": 10})
    );
}

#[tokio::test]
async fn bad_ids_are_400_and_missing_ones_404() {
    let platform = Platform::start().await;
    for tail in ["", "/", "/logs", "/result"] {
        let get = |id: &str| format!("{LIST}/{id}{tail}");
        platform.get(&get("short")).await.refused(400, "Activation id length is 5 but must be 32.");
        for bad in ["G".repeat(32), "A".repeat(32)] {
            platform.get(&get(&bad)).await.refused(400, "The activation id is not valid.");
        }
        platform.get(&get(&"0".repeat(32))).await.refused(404, "The requested resource does not exist.");
    }
}

#[tokio::test]
async fn the_newest_start_comes_first_whatever_the_order_of_arrival() {
    let platform = Platform::start().await;
    for number in [2, 3, 1] {
        platform.management.ingest(vec![entry(&record(number, "hello"), &[])]).await.unwrap();
    }
    assert_eq!(ids(&platform.get(LIST).await.ok()), [3, 2, 1]);
}

#[tokio::test]
async fn limit_skip_and_count_work_as_in_other_lists() {
    let platform = with_activations(35).await;
    let list = async |query: &str| platform.get(&format!("{LIST}?{query}")).await;
    assert_eq!(ids(&list("").await.ok()).len(), 30);
    assert_eq!(ids(&list("limit=0").await.ok()).len(), 35);
    assert_eq!(ids(&list("limit=2&skip=1").await.ok()), [34, 33]);
    assert_eq!(list("count=true").await.ok(), json!({"activations": 35}));
    assert_eq!(list("count=true&skip=30&limit=1").await.ok(), json!({"activations": 5}));
    for (query, parameter, text) in [
        ("limit=201", "limit", "The value '201' is not in the range of 0 to 200 for activations."),
        ("skip=-1", "skip", "The value '-1' is not greater than or equal to 0 for activations."),
        ("since=now", "since", "Parameter is not a valid value for epoch seconds: now"),
        ("upto=1.5", "upto", "Parameter is not a valid value for epoch seconds: 1.5"),
        ("name=a/b/c", "name", "Parameter may be a 'simple' name or 'package-name/simple' name: a/b/c"),
    ] {
        let text = format!("The query parameter '{parameter}' was malformed:\n{text}");
        list(query).await.refused(400, &text);
    }
}

#[tokio::test]
async fn since_and_upto_are_inclusive_milliseconds_of_the_start() {
    let platform = with_activations(5).await;
    for (query, expected) in [
        (format!("since={}", START + 4), &[5, 4][..]),
        (format!("upto={}", START + 2), &[2, 1]),
        (format!("since={}&upto={}", START + 2, START + 4), &[4, 3, 2]),
        (format!("since={}", START + 6), &[]),
        ("upto=-1".to_owned(), &[]),
        ("since=-1".to_owned(), &[5, 4, 3, 2, 1]),
    ] {
        assert_eq!(ids(&platform.get(&format!("{LIST}?{query}")).await.ok()), expected, "{query}");
    }
    let query = format!("{LIST}?count=true&since={}&upto={}", START + 2, START + 4);
    assert_eq!(platform.get(&query).await.ok(), json!({"activations": 3}));
}

#[tokio::test]
async fn the_name_filter_matches_the_action_with_its_package() {
    let platform = Platform::start().await;
    let entries = [(1, "hello"), (2, "pkg/hello"), (3, "bye"), (4, "hello")]
        .map(|(number, action)| entry(&record(number, action), &[]));
    platform.management.ingest(entries.to_vec()).await.unwrap();
    for (name, expected) in [
        ("hello", &[4, 1][..]),
        ("pkg/hello", &[2]),
        ("pkg%2Fhello", &[2]),
        ("none", &[]),
        ("", &[4, 3, 2, 1]),
    ] {
        let list = platform.get(&format!("{LIST}?name={name}")).await.ok();
        assert_eq!(ids(&list), expected, "{name}");
    }
    assert_eq!(platform.get(&format!("{LIST}?name=hello&count=true")).await.ok(), json!({"activations": 2}));
    assert_eq!(ids(&platform.get(&format!("{LIST}?name=hello&limit=1&docs=true")).await.ok()), [4]);
}

#[tokio::test]
async fn docs_are_full_records_and_not_permitted_with_count() {
    let platform = Platform::start().await;
    let entries = (1..=2).map(|number| entry(&record(number, "hello"), &["a line"])).collect();
    platform.management.ingest(entries).await.unwrap();
    let list = platform.get(&format!("{LIST}?docs=true")).await.ok();
    for (item, number) in list.as_array().unwrap().iter().zip([2, 1]) {
        assert_eq!(*item, platform.get(&format!("{LIST}/{}", id(number))).await.ok());
        assert_eq!(item["logs"], json!(["a line"]));
    }
    platform
        .get(&format!("{LIST}?docs=true&count=true"))
        .await
        .refused(400, "The parameter 'docs' is not permitted with 'count'.");
    assert_eq!(platform.other("GET", &format!("{LIST}?docs=true"), None).await.ok(), json!([]));
}

#[tokio::test]
async fn a_long_list_is_whole_and_in_order() {
    let platform = with_activations(210).await;
    for (query, expected) in [
        ("limit=0", (11..=210).rev().collect::<Vec<u128>>()),
        ("limit=50", (161..=210).rev().collect()),
        ("limit=120&skip=100", (1..=110).rev().collect()),
    ] {
        assert_eq!(ids(&platform.get(&format!("{LIST}?{query}")).await.ok()), expected, "{query}");
    }
}

#[tokio::test]
async fn a_long_list_of_docs_is_whole_and_in_order() {
    let platform = with_activations(50).await;
    for (query, expected) in [
        ("limit=0", (1..=50).rev().collect::<Vec<u128>>()),
        ("limit=8", (43..=50).rev().collect()),
        ("limit=16&skip=3", (32..=47).rev().collect()),
        ("limit=200&skip=48", vec![2, 1]),
        ("skip=50", vec![]),
    ] {
        let list = platform.get(&format!("{LIST}?docs=true&{query}")).await.ok();
        assert_eq!(ids(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn a_record_that_arrives_while_a_list_of_docs_is_sent_doubles_nothing() {
    use http_body_util::BodyExt;

    let platform = with_activations(20).await;
    let call = crate::platform::Call::new("GET", &format!("{LIST}?docs=true&limit=0"));
    let response = platform.management.handle(call.auth(crate::platform::GUEST).request()).await;
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    platform.management.ingest(vec![entry(&record(99, "hello"), &[])]).await.unwrap();
    let rest = body.collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&[first, rest].concat()).unwrap();
    assert_eq!(ids(&list), (1..=20).rev().collect::<Vec<u128>>());
}

#[tokio::test]
async fn a_client_reads_its_own_calls() {
    let platform = Platform::start().await;
    let mut number = 0;
    for path in [
        LIST.to_owned(),
        format!("{LIST}?count=true"),
        format!("{LIST}?docs=true"),
        format!("{LIST}/{}", id(4)),
    ] {
        number += 1;
        let spooled = entry(&record(number, "hello"), &[]);
        platform.spool.waiting.lock().unwrap().push(spooled);
        let answer = platform.get(&path).await;
        assert!(
            answer.text.contains(&id(number).to_string()) || answer.text == "{\"activations\":2}",
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn records_taken_in_twice_are_there_once() {
    let platform = with_activations(3).await;
    let entries = (1..=3).map(|number| entry(&record(number, "hello"), &["changed"])).collect();
    platform.management.ingest(entries).await.unwrap();
    assert_eq!(platform.get(&format!("{LIST}?count=true")).await.ok(), json!({"activations": 3}));
    assert_eq!(platform.get(&format!("{LIST}/{}/logs", id(1))).await.ok(), json!({"logs": []}));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_500() {
    let platform = Platform::start().await;
    let mut broken = entry(&record(1, "hello"), &[]);
    broken.record = "{\"namespace\":".to_owned();
    platform.management.ingest(vec![broken]).await.unwrap();
    for path in ["", "?docs=true", &format!("/{}", id(1)), &format!("/{}/result", id(1))] {
        let answer = platform.get(&format!("{LIST}{path}")).await;
        answer.refused(500, "Resource is corrupted and cannot be read.");
    }
}

#[tokio::test]
async fn activations_of_others_are_not_seen() {
    let platform = with_activations(1).await;
    assert_eq!(names(&platform.get(LIST).await.ok()), ["hello"]);
    assert_eq!(platform.other("GET", LIST, None).await.ok(), json!([]));
    let own = platform.other("GET", &format!("{LIST}/{}", id(1)), None).await;
    own.refused(404, "The requested resource does not exist.");
}

/// The number of now in [`record`]s.
fn number_of_now() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() - u128::from(START)
}

/// Runs the retention until only these are left, and then until it ends.
async fn retain(platform: &Platform, left: &[u128]) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let management = platform.management.clone();
    let task = tokio::spawn(async move { management.retention(async { drop(stopped.await) }).await });
    let removed = async {
        while ids(&platform.get(LIST).await.ok()) != left {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), removed).await.expect("the others are removed");
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("retention ends").unwrap();
}

#[tokio::test]
async fn retention_removes_what_is_too_old_and_ends_when_told() {
    let platform = Platform::start().await;
    let young = number_of_now();
    let entries = [1, young].map(|number| entry(&record(number, "hello"), &[]));
    platform.management.ingest(entries.to_vec()).await.unwrap();
    retain(&platform, &[young]).await;
}

#[tokio::test]
async fn retention_removes_the_oldest_of_a_namespace_beyond_its_bytes() {
    let mut settings = crate::platform::settings();
    settings.retention.namespace_bytes_max = 100_000;
    let platform = Platform::start_with(settings).await;
    let now = number_of_now();
    let line = "x".repeat(60_000);
    let entries = (0..5).map(|age| entry(&record(now - age, "hello"), &[&line])).collect();
    platform.management.ingest(entries).await.unwrap();
    retain(&platform, &[now]).await;
}
