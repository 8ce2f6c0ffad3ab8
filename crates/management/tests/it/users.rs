//! The operator's users (openwhisk-api.md 1.4, 12.2).

use serde_json::{Value, json};
use triplane_store::Changed;

use crate::platform::{Answer, Call, GUEST, Platform, settings};

const USERS: &str = "/admin/v1/users";

async fn create(platform: &Platform, body: Value) -> Answer {
    platform.operator("POST", USERS, Some(body)).await
}

/// An error of the admin API, which has no transaction id of the test's in all of its calls.
#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, text));
}

async fn namespaces_of(platform: &Platform, auth: &str) -> Answer {
    platform.send(Call::new("GET", "/api/v1/namespaces").auth(auth)).await
}

#[tokio::test]
async fn a_created_user_gets_a_key_that_works_at_once() {
    let platform = Platform::start().await;
    let created = create(&platform, json!({"subject": "alice"})).await.ok();
    assert_eq!(created["subject"], "alice");
    let auth = created["auth"].as_str().unwrap();
    assert_eq!(namespaces_of(&platform, auth).await.ok(), json!(["alice"]));
    assert_eq!(
        platform.operator("GET", "/admin/v1/users/alice", None).await.ok(),
        json!({"subject": "alice", "blocked": false, "namespaces": [{"name": "alice", "auth": auth}]})
    );
}

#[tokio::test]
async fn a_key_and_a_namespace_may_be_given_and_a_subject_may_own_several() {
    let platform = Platform::start().await;
    let auth = |digit: char| format!("{}:{}", uuid(digit), digit.to_string().repeat(64));
    for (namespace, digit) in [("first", '1'), ("second", '2')] {
        let body = json!({"subject": "alice", "namespace": namespace, "auth": auth(digit)});
        assert_eq!(create(&platform, body).await.ok()["auth"], auth(digit));
        assert_eq!(namespaces_of(&platform, &auth(digit)).await.ok(), json!([namespace]));
    }
    let user = platform.operator("GET", "/admin/v1/users/alice", None).await.ok();
    assert_eq!(user["namespaces"].as_array().unwrap().len(), 2);
}

fn uuid(digit: char) -> String {
    "a1b2c3d4-71f6-4ed5-8c54-816aa4f8c50X".replace('X', &digit.to_string())
}

#[tokio::test]
async fn limits_of_a_user_may_be_given() {
    let platform = Platform::start().await;
    let limits = json!({"invocations_per_minute": 7, "concurrent_invocations": 8, "fires_per_minute": 9});
    let created = create(&platform, json!({"subject": "alice", "limits": limits})).await.ok();
    let call = Call::new("GET", "/api/v1/namespaces/_/limits").auth(created["auth"].as_str().unwrap());
    let shown = platform.send(call).await.ok();
    assert_eq!(
        (&shown["invocationsPerMinute"], &shown["concurrentInvocations"], &shown["firesPerMinute"]),
        (&json!(7), &json!(8), &json!(9))
    );
    assert_eq!(shown["maxActionInstances"], 8);
}

#[tokio::test]
async fn bad_users_are_refused_with_wskadmins_texts() {
    let platform = Platform::start().await;
    let key = "k".repeat(64);
    for (body, status, text) in [
        (json!({"subject": "four"}), 400, "Subject name must be at least 5 characters"),
        (json!({"subject": "guest"}), 409, "Namespace already exists"),
        (
            json!({"subject": "alice", "auth": format!("x:{key}")}),
            400,
            "authorization id is not a valid UUID",
        ),
        (
            json!({"subject": "alice", "auth": format!("{}:k", uuid('1'))}),
            400,
            "authorization key must be at least 64 characters long",
        ),
        (json!({"subject": "alice", "namespace": "$x"}), 400, "The namespace contains illegal characters."),
        (
            json!({"subject": "alice", "auth": GUEST}),
            409,
            "authorization id is in use by another subject or namespace",
        ),
    ] {
        refused(&create(&platform, body.clone()).await, status, text);
    }
    assert_eq!(create(&platform, json!({"subject": "alice", "unknown": 1})).await.status, 400);
    assert_eq!(create(&platform, json!([])).await.status, 400);
    refused(&platform.operator("GET", "/admin/v1/users/alice", None).await, 404, "Subject to get not found");
}

#[tokio::test]
async fn a_blocked_subject_is_401_until_it_is_unblocked() {
    let platform = Platform::start().await;
    let uuid = GUEST.split(':').next().unwrap();
    let answer = platform.operator("POST", "/admin/v1/users/guest/block", None).await.ok();
    assert_eq!(answer, json!({"message": "'guest' blocked successfully"}));
    assert_eq!(platform.router.applied().last().unwrap().subject, Changed::Identity(uuid.into()));
    namespaces_of(&platform, GUEST).await.refused(401, "The supplied authentication is invalid");
    assert_eq!(platform.operator("GET", "/admin/v1/users/guest", None).await.ok()["blocked"], true);
    let more = create(&platform, json!({"subject": "guest", "namespace": "more"})).await;
    refused(&more, 409, "The subject you want to edit is blocked");
    let answer = platform.operator("POST", "/admin/v1/users/guest/unblock", None).await.ok();
    assert_eq!(answer, json!({"message": "'guest' unblocked successfully"}));
    namespaces_of(&platform, GUEST).await.ok();
}

#[tokio::test]
async fn a_deleted_users_key_is_401_and_its_entities_stay() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let answer = platform.operator("DELETE", "/admin/v1/users/guest", None).await.ok();
    assert_eq!(answer, json!({"message": "Subject deleted"}));
    assert!(matches!(platform.router.applied().last().unwrap().subject, Changed::Identity(_)));
    namespaces_of(&platform, GUEST).await.refused(401, "The supplied authentication is invalid");
    let created = create(&platform, json!({"subject": "guest"})).await.ok();
    let path = "/api/v1/namespaces/_/actions/hello";
    let call = Call::new("GET", path).auth(created["auth"].as_str().unwrap());
    assert_eq!(platform.send(call).await.ok()["exec"]["code"], "x");
}

#[tokio::test]
async fn users_that_are_not_there_are_404() {
    let platform = Platform::start().await;
    for (method, path, wish) in [
        ("GET", "/admin/v1/users/nobody", "get"),
        ("DELETE", "/admin/v1/users/nobody", "delete"),
        ("POST", "/admin/v1/users/nobody/block", "block"),
        ("POST", "/admin/v1/users/nobody/unblock", "unblock"),
    ] {
        let answer = platform.operator(method, path, None).await;
        refused(&answer, 404, &format!("Subject to {wish} not found"));
    }
}

#[tokio::test]
async fn the_admin_api_takes_only_the_operators_token() {
    let platform = Platform::start().await;
    for header in [None, Some("Bearer wrong"), Some("Bearer"), Some("Basic dG9rZW4=")] {
        let mut call = Call::new("GET", "/admin/v1/users/guest");
        if let Some(header) = header {
            call = call.header("authorization", header);
        }
        let answer = Answer::read(platform.management.admin(call.request()).await).await;
        assert_eq!(answer.status, 401, "{header:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(!answer.text.contains("auth\":"), "{}", answer.text);
    }
    let mut without = settings();
    without.admin_token = None;
    let platform = Platform::start_with(without).await;
    assert_eq!(platform.operator("GET", "/admin/v1/users/guest", None).await.status, 401);
}

#[tokio::test]
async fn the_admin_api_has_its_own_routes_and_methods() {
    let platform = Platform::start().await;
    assert_eq!(platform.operator("GET", "/api/v1/namespaces", None).await.status, 404);
    assert_eq!(platform.operator("GET", "/admin/v1/nothing", None).await.status, 404);
    assert_eq!(platform.operator("GET", USERS, None).await.status, 405);
    assert_eq!(platform.operator("PUT", "/admin/v1/users/guest", None).await.headers["allow"], "GET, DELETE");
    let text = Call::new("POST", USERS)
        .header("authorization", "Bearer the-token-of-the-operator")
        .header("content-type", "text/plain")
        .body(triplane_net::full("{}"));
    assert_eq!(Answer::read(platform.management.admin(text.request()).await).await.status, 415);
}

#[tokio::test]
async fn an_answer_of_the_admin_api_has_the_id_of_its_request() {
    let platform = Platform::start().await;
    for given in [Some("mine"), Some("sid_reserved"), None] {
        let mut request = http::Request::get("/admin/v1/nothing");
        if let Some(given) = given {
            request = request.header("x-request-id", given);
        }
        let answer = platform.management.admin(request.body(triplane_net::empty()).unwrap()).await;
        let answer = Answer::read(answer).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(answer.json()["code"], id);
        assert!(if given == Some("mine") { id == "mine" } else { id.len() == 32 }, "{given:?} {id}");
    }
}

#[tokio::test]
async fn users_survive_a_restart_and_so_does_a_block() {
    let platform = Platform::start().await;
    let created = create(&platform, json!({"subject": "alice"})).await.ok();
    let auth = created["auth"].as_str().unwrap();
    platform.operator("POST", "/admin/v1/users/guest/block", None).await.ok();
    let platform = platform.restart().await;
    assert_eq!(namespaces_of(&platform, auth).await.ok(), json!(["alice"]));
    assert_eq!(namespaces_of(&platform, GUEST).await.status, 401);
}

#[tokio::test]
async fn a_revoked_key_is_replaced_and_its_uuid_stays_unless_both_are_forced() {
    let platform = Platform::start().await;
    let first = create(&platform, json!({"subject": "alice"})).await.ok();
    refused(&create(&platform, json!({"subject": "alice"})).await, 409, "Namespace already exists");
    let second = create(&platform, json!({"subject": "alice", "revoke": true})).await.ok();
    let uuid_of = |created: &Value| created["auth"].as_str().unwrap()[..36].to_owned();
    assert_eq!(uuid_of(&first), uuid_of(&second));
    assert_eq!(namespaces_of(&platform, first["auth"].as_str().unwrap()).await.status, 401);
    assert_eq!(namespaces_of(&platform, second["auth"].as_str().unwrap()).await.ok(), json!(["alice"]));
    let third = create(&platform, json!({"subject": "alice", "force": true})).await.ok();
    assert_ne!(uuid_of(&second), uuid_of(&third));
    assert_eq!(namespaces_of(&platform, third["auth"].as_str().unwrap()).await.ok(), json!(["alice"]));
}

#[tokio::test]
async fn a_credential_tells_its_subject_and_a_namespace_its_holders() {
    let platform = Platform::start().await;
    let whois =
        async |auth: &str| platform.operator("POST", "/admin/v1/whois", Some(json!({"auth": auth}))).await;
    assert_eq!(whois(GUEST).await.ok(), json!({"subject": "guest", "namespace": "guest"}));
    refused(&whois("nobody").await, 404, "Subject id is not recognized");
    let holders =
        async |ns: &str| platform.operator("GET", &format!("/admin/v1/namespaces/{ns}/users"), None).await;
    assert_eq!(holders("guest").await.ok(), json!([{"subject": "guest", "auth": GUEST}]));
    refused(&holders("nobody").await, 404, "no identities found for namespace 'nobody'");
}

#[tokio::test]
async fn one_namespace_of_a_user_can_be_deleted() {
    let platform = Platform::start().await;
    let kept = create(&platform, json!({"subject": "alice"})).await.ok();
    let gone = create(&platform, json!({"subject": "alice", "namespace": "second"})).await.ok();
    let delete = async || platform.operator("DELETE", "/admin/v1/users/alice?namespace=second", None).await;
    assert_eq!(delete().await.ok()["message"], "Namespace deleted");
    assert_eq!(namespaces_of(&platform, gone["auth"].as_str().unwrap()).await.status, 401);
    assert_eq!(namespaces_of(&platform, kept["auth"].as_str().unwrap()).await.ok(), json!(["alice"]));
    refused(&delete().await, 404, "Namespace 'second' does not exist for 'alice'");
}
