//! Parameters at rest (openwhisk-api.md 1.6).

use serde_json::{Value, json};
use triplane_model::{Cipher, EntityName, FullName, ParameterKeys};

use crate::platform::{Platform, node, settings};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello?overwrite=true";

async fn platform(cipher: Cipher) -> Platform {
    let (aes128, aes256) = ("AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let mut settings = settings();
    settings.parameter_keys = ParameterKeys::new(Some(cipher), Some(aes128), Some(aes256)).unwrap();
    Platform::start_with(settings).await
}

fn with(parameters: Value) -> Option<Value> {
    let mut body = node("x");
    body["parameters"] = parameters;
    Some(body)
}

#[tokio::test]
async fn parameters_are_locked_on_put_answered_locked_and_opened_for_a_run() {
    for cipher in [Cipher::Aes128, Cipher::Aes256] {
        let platform = platform(cipher).await;
        let given =
            json!([{"key": "password", "value": {"a": "secret"}}, {"key": "env", "value": 1, "init": true}]);
        let put = platform.guest("PUT", HELLO, with(given.clone())).await.ok();
        for shown in [&put, &platform.get("/api/v1/namespaces/_/actions/hello").await.ok()] {
            assert!(!shown.to_string().contains("secret"), "{shown}");
            for parameter in shown["parameters"].as_array().unwrap() {
                assert_eq!(parameter["encryption"], cipher.name());
                assert!(parameter["value"].is_string());
            }
        }
        let part = |name| EntityName::entity(name).unwrap();
        let opened = platform.management.action(FullName::new(part("guest"), part("hello"))).await;
        let opened = serde_json::to_value(opened.unwrap().unwrap().action.parameters).unwrap();
        assert_eq!(opened, given);
    }
}

#[tokio::test]
async fn what_was_answered_can_be_put_again_and_an_update_of_other_fields_keeps_it() {
    let platform = platform(Cipher::Aes256).await;
    let put = platform.guest("PUT", HELLO, with(json!([{"key": "a", "value": 1}]))).await.ok();
    let again = platform.guest("PUT", HELLO, with(put["parameters"].clone())).await.ok();
    assert_eq!(again["parameters"], put["parameters"]);
    let kept = platform.guest("PUT", HELLO, Some(json!({"annotations": []}))).await.ok();
    assert_eq!(kept["parameters"], put["parameters"]);
}

#[tokio::test]
async fn a_value_that_is_said_to_be_locked_and_does_not_open_is_400() {
    let platform = platform(Cipher::Aes128).await;
    let forged = json!([{"key": "a", "value": "AAAA", "encryption": "aes-128"}]);
    let answer = platform.guest("PUT", HELLO, with(forged)).await;
    answer.malformed("'a' is encrypted and cannot be opened");
    let null = json!([{"key": "a", "value": 1, "encryption": null}]);
    platform.guest("PUT", HELLO, with(null)).await.ok();
}
