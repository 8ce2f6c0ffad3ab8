//! Parameters at rest: locked in the store and in the queue, opened for a run (openwhisk-api.md 1.6).

use serde_json::{Value, json};
use triplane_testkit::json::text;
use triplane_testkit::wait_until;

use crate::platform::{Guest, Platform, SOON};

const SECRET: &str = "a-secret-that-is-nowhere-else";
const KEYS: [(&str, &str); 2] = [
    ("TRIPLANE__PARAMETER_STORAGE__AES_128", "AAECAwQFBgcICQoLDA0ODw=="),
    ("TRIPLANE__PARAMETER_STORAGE__AES_256", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
];

async fn platform(cipher: &str) -> Platform {
    Platform::with_environment(&[KEYS[0], KEYS[1], ("TRIPLANE__PARAMETER_STORAGE__CURRENT", cipher)]).await
}

async fn create(guest: &Guest) -> Value {
    let code = "function main({ password, other }) { return { password, other, env: process.env.TOKEN } }";
    let body = json!({
        "exec": {"kind": "nodejs:20", "code": code},
        "parameters": [
            {"key": "password", "value": SECRET}, {"key": "other", "value": {"n": 1}},
            {"key": "TOKEN", "value": SECRET, "init": true},
        ],
    });
    guest.0.put("/api/v1/namespaces/_/actions/locked", &body).await.expect(200).json()
}

/// Whether a file of the data directory has the secret in the clear.
fn is_anywhere(platform: &Platform) -> bool {
    ["entities.db", "entities.db-wal", "queue.db", "queue.db-wal"].iter().any(|file| {
        let bytes = std::fs::read(platform.data.join(file)).unwrap_or_default();
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    })
}

#[tokio::test]
async fn an_action_runs_with_its_parameters_opened_and_a_payload_wins_over_them() {
    for cipher in ["aes-128", "aes-256"] {
        let platform = platform(cipher).await;
        let guest = platform.guest();
        let put = create(&guest).await;
        assert!(!put.to_string().contains(SECRET), "{put}");
        assert_eq!(
            guest.result("locked", json!({})).await,
            json!({"password": SECRET, "other": {"n": 1}, "env": SECRET})
        );
        let mine = guest.result("locked", json!({"password": "mine"})).await;
        assert_eq!(mine["password"], "mine");
        assert!(!is_anywhere(&platform));
    }
}

#[tokio::test]
async fn a_call_that_waits_in_the_queue_is_locked_too_and_runs_after_a_restart() {
    let platform = platform("aes-256").await;
    let guest = platform.guest();
    create(&guest).await;
    let headers = [("x-triplane-async-delay", "3000")];
    let fired = guest.fire_with("locked", json!({"other": 2}), &headers).await.expect(202).json();
    let id = text(&fired, "activationId").to_owned();
    assert!(!is_anywhere(&platform));
    let shown = guest.call(&id).await.expect(200).json();
    assert_eq!(shown["payload"], json!({"password": SECRET, "other": 2}), "its owner may see it");

    let platform = platform.kill_and_restart().await;

    let record = platform.guest().record(&id).await;
    assert_eq!(record["response"]["result"], json!({"password": SECRET, "other": 2, "env": SECRET}));
}

#[tokio::test]
async fn what_was_locked_with_another_cipher_still_opens_when_none_is_current() {
    let platform = platform("aes-128").await;
    create(&platform.guest()).await;
    let Platform { server, data } = platform;
    let mut settings = server.settings.clone();
    drop(server);
    settings.environment.retain(|(name, _)| !name.ends_with("CURRENT"));
    let server = settings.start().await;
    let guest = Guest(server.guest.clone());
    wait_until(SOON, "the action runs", async || {
        guest.invoke("locked", json!({})).await.status.as_u16() == 200
    })
    .await;
    assert_eq!(guest.result("locked", json!({})).await["password"], SECRET);
    drop(data);
}
