//! The operations on asynchronous calls, over a queue in a file.

use serde_json::{Value, json};
use triplane_core::asynchronous::{Destination, Failure, Final, Lease, Owner, Pick, Policy};
use triplane_model::{ActivationId, EntityName, TransactionId};
use triplane_store::calls::{End, NewCall};

use crate::platform::{Answer, GUEST, Platform};

const CALLS: &str = "/api/v1/namespaces/_/async";
const ADMIN: &str = "/admin/async";
const LEASE: Lease = Lease { owner: Owner(1), until_ms: u64::MAX >> 1 };

fn id(number: u128) -> ActivationId {
    ActivationId::from_bits(number)
}

fn new_call(number: u128, namespace: &str, settings: &[(&str, &str)]) -> NewCall {
    NewCall {
        id: id(number),
        namespace: EntityName::namespace(namespace).unwrap(),
        target: Destination::parse(&format!("/{namespace}/hello")).unwrap(),
        payload: br#"{"n":1}"#.to_vec(),
        transaction_id: TransactionId::new("tid"),
        traceparent: None,
        accepted_ms: 1_000 + u64::try_from(number).unwrap(),
        policy: Policy::default().with(settings.iter().copied()).unwrap(),
        partition: None,
        idempotency: None,
        cause: None,
        hops: 0,
    }
}

impl Platform {
    async fn accept(&self, number: u128, namespace: &str, settings: &[(&str, &str)]) {
        self.stores.calls.accept(new_call(number, namespace, settings)).await.unwrap();
    }

    /// A call that was sent and given up.
    async fn dead_letter(&self, number: u128, namespace: &str) {
        let target = Destination::parse(&format!("/{namespace}/failed")).unwrap();
        let call = NewCall { target, ..new_call(number, namespace, &[]) };
        let pick = Pick { namespace: call.namespace.clone(), action: call.target.clone(), calls: 1 };
        self.stores.calls.accept(call).await.unwrap();
        let held = self.stores.calls.lease(LEASE, 10_000, vec![pick]).await.unwrap().remove(0);
        self.stores.calls.running(held.hold, held.call.id).await.unwrap();
        let failure = Some(Failure::Lost);
        let end = End { state: Final::Dead, failure, ended_ms: 20_000, destinations: Vec::new() };
        self.stores.calls.finish(held.hold, held.call.id, end).await.unwrap();
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    answer.as_array().unwrap().iter().map(|call| call["activationId"].as_str().unwrap()).collect()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, text));
}

#[tokio::test]
async fn a_call_is_shown_with_everything_that_is_known_of_it() {
    let platform = Platform::start().await;
    let settings = [("async-attempts", "3"), ("async-delay", "500"), ("async-priority", "9")];
    platform.accept(1, "guest", &settings).await;
    let shown = platform.get(&format!("{CALLS}/{}", id(1))).await.ok();
    assert_eq!(
        shown,
        json!({
            "activationId": id(1), "namespace": "guest", "action": "/guest/hello", "state": "accepted",
            "cancelRequested": false, "attempts": 0, "attemptsMax": 3, "acceptedAt": 1_001, "dueAt": 1_501,
            "expiresAt": 86_401_001, "priority": 9, "partition": null, "lastFailure": null, "cause": null,
            "redriveOf": null, "redrivenAs": null, "endedAt": null, "bytes": 7, "payload": {"n": 1},
        })
    );
    let mut listed = platform.get(CALLS).await.ok();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    listed[0]["payload"] = json!({"n": 1});
    assert_eq!(listed[0], shown, "a list has no payloads");
}

#[tokio::test]
async fn lists_are_filtered_paged_and_oldest_first() {
    let platform = Platform::start().await;
    for number in 1..=3 {
        platform.accept(number, "guest", &[]).await;
    }
    platform.dead_letter(4, "guest").await;
    let list = async |query: &str| platform.get(&format!("{CALLS}{query}")).await.ok();
    let all: Vec<String> = (1..=4).map(|number| id(number).to_string()).collect();
    assert_eq!(ids(&list("").await), all);
    assert_eq!(ids(&list("?limit=2&skip=1").await), all[1..3]);
    assert_eq!(ids(&list("?state=dead").await), all[3..]);
    assert_eq!(ids(&list("?since=1002&upto=1003").await), all[1..3]);
    assert_eq!(ids(&list("?action=hello").await), all[..3]);
    assert_eq!(ids(&list("?action=/guest/other").await), [] as [&str; 0]);
    let text = "The query parameter 'state' was malformed:\n'gone' is not one of accepted, leased, running, retry, done, dead, cancelled, expired";
    refused(&platform.get(&format!("{CALLS}?state=gone")).await, 400, text);
}

#[tokio::test]
async fn a_cancellation_is_asked_for_and_passed_on_to_who_runs_it() {
    let platform = Platform::start().await;
    platform.accept(1, "guest", &[]).await;
    let path = format!("{CALLS}/{}", id(1));
    let answer = platform.guest("DELETE", &path, None).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"activationId": id(1)})));
    assert_eq!(*platform.router.stopped.lock().unwrap(), [id(1)]);
    assert_eq!(platform.get(&path).await.ok()["cancelRequested"], true);
    let missing = platform.guest("DELETE", &format!("{CALLS}/{}", id(9)), None).await;
    refused(&missing, 404, "The requested resource does not exist.");
}

#[tokio::test]
async fn what_is_over_cannot_be_cancelled_or_retried() {
    let platform = Platform::start().await;
    platform.dead_letter(1, "guest").await;
    let path = format!("{CALLS}/{}", id(1));
    let text = "the call is dead, only a call that waits or runs can be cancelled";
    refused(&platform.guest("DELETE", &path, None).await, 409, text);
    let text = "the call is dead, only a call that waits for its time can be retried";
    refused(&platform.guest("POST", &format!("{path}/retry"), None).await, 409, text);
}

#[tokio::test]
async fn a_dead_letter_is_redriven_once() {
    let platform = Platform::start().await;
    platform.dead_letter(1, "guest").await;
    platform.accept(2, "guest", &[]).await;
    let path = format!("{CALLS}/{}/redrive", id(1));
    let answer = platform.guest("POST", &path, None).await;
    assert_eq!(answer.status, 202);
    let new = answer.json()["activationId"].as_str().unwrap().to_owned();
    let call = platform.get(&format!("{CALLS}/{new}")).await.ok();
    assert_eq!((&call["state"], &call["redriveOf"]), (&json!("accepted"), &json!(id(1))));
    let text = format!("the dead letter was redriven already, as {new}");
    refused(&platform.guest("POST", &path, None).await, 409, &text);
    let text = "the call is accepted, only a call that is dead can be redriven";
    refused(&platform.guest("POST", &format!("{CALLS}/{}/redrive", id(2)), None).await, 409, text);
}

#[tokio::test]
async fn the_oldest_dead_letters_are_redriven_together() {
    let platform = Platform::start().await;
    for number in 1..=3 {
        platform.dead_letter(number, "guest").await;
    }
    let redrive = async |query: &str| platform.guest("POST", &format!("{CALLS}/redrive{query}"), None).await;
    assert_eq!(redrive("?limit=2").await.ok(), json!({"redriven": 2, "more": true}));
    assert_eq!(redrive("").await.ok(), json!({"redriven": 1, "more": false}));
    assert_eq!(redrive("").await.ok(), json!({"redriven": 0, "more": false}));
    let text = "The query parameter 'limit' was malformed:\nThe value '1001' is not in the range of 1 to 1000 for async.";
    refused(&redrive("?limit=1001").await, 400, text);
}

#[tokio::test]
async fn only_what_is_over_is_purged() {
    let platform = Platform::start().await;
    platform.accept(1, "guest", &[]).await;
    platform.dead_letter(2, "guest").await;
    let purge = async |query: &str| platform.guest("DELETE", &format!("{CALLS}{query}"), None).await;
    let text = "The query parameter 'state' was malformed:\nonly calls that are over can be purged: done, dead, cancelled or expired ones";
    refused(&purge("?state=retry").await, 400, text);
    assert_eq!(purge("?before=19999").await.ok(), json!({"purged": 0, "more": false}));
    assert_eq!(purge("").await.ok(), json!({"purged": 1, "more": false}));
    assert_eq!(ids(&platform.get(CALLS).await.ok()), [id(1).to_string()]);
}

#[tokio::test]
async fn an_owner_has_the_own_calls_and_the_operator_all() {
    let platform = Platform::start().await;
    platform.accept(1, "guest", &[]).await;
    platform.accept(2, "other", &[]).await;
    assert_eq!(ids(&platform.get(CALLS).await.ok()), [id(1).to_string()]);
    for path in [format!("{CALLS}/{}", id(2)), format!("{CALLS}/{}/retry", id(2))] {
        let method = if path.ends_with("retry") { "POST" } else { "DELETE" };
        assert_eq!(platform.guest(method, &path, None).await.status, 404, "{path}");
    }
    let foreign = platform.get("/api/v1/namespaces/other/async").await;
    assert_eq!(foreign.status, 403);
    let all = platform.operator("GET", ADMIN, None).await.ok();
    assert_eq!(ids(&all), [id(1).to_string(), id(2).to_string()]);
    let of_other = platform.operator("GET", &format!("{ADMIN}?namespace=other"), None).await.ok();
    assert_eq!(ids(&of_other), [id(2).to_string()]);
    let _ = platform.operator("DELETE", &format!("{ADMIN}/{}", id(2)), None).await;
    assert_eq!(*platform.router.stopped.lock().unwrap(), [id(2)]);
}

#[tokio::test]
async fn a_summary_counts_and_what_all_did_is_the_operators() {
    let platform = Platform::start().await;
    platform.accept(1, "guest", &[]).await;
    platform.dead_letter(2, "other").await;
    let own = platform.get(&format!("{CALLS}/summary")).await.ok();
    assert_eq!((&own["states"]["accepted"], &own["states"]["dead"]), (&json!(1), &json!(0)));
    assert_eq!((&own["bytes"], own.get("ever")), (&json!(7), None));
    let all = platform.operator("GET", &format!("{ADMIN}/summary"), None).await.ok();
    assert_eq!((&all["states"]["accepted"], &all["states"]["dead"]), (&json!(1), &json!(1)));
    assert_eq!((&all["drift"], &all["ever"]["accepted"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn the_key_of_callbacks_is_the_namespaces_own_and_no_part_of_its_credential() {
    let platform = Platform::start().await;
    let key = |answer: Answer| answer.ok()["key"].as_str().unwrap().to_owned();
    let guest = key(platform.get(&format!("{CALLS}/callback-key")).await);
    assert!(guest.starts_with("whsec_") && !GUEST.contains(&guest[6..]));
    assert_ne!(guest, key(platform.other("GET", &format!("{CALLS}/callback-key"), None).await));
    let operators = platform.operator("GET", &format!("{ADMIN}/callback-key?namespace=guest"), None).await;
    assert_eq!(guest, key(operators));
    let text = "The query parameter 'namespace' was malformed:\nit must name a namespace";
    refused(&platform.operator("GET", &format!("{ADMIN}/callback-key"), None).await, 400, text);
}

#[tokio::test]
async fn annotations_that_are_no_policy_are_refused() {
    let platform = Platform::start().await;
    let put = async |value: Value| {
        let mut body = crate::platform::node("x");
        body["annotations"] = json!([{"key": "async-retry-on", "value": value}]);
        platform.guest("PUT", "/api/v1/namespaces/_/actions/a?overwrite=true", Some(body)).await
    };
    let text = "async-retry-on names oops, it may name application-error, developer-error, timeout, internal-error, lost, all or none";
    refused(&put(json!("oops")).await, 400, text);
    let _ = put(json!("timeout,lost")).await.ok();
    refused(&put(json!("oops")).await, 400, text);
}
