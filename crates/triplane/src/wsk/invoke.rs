//! `triplane action invoke`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::failure::{Failure, While};
use super::name::{Collection, Name};
use super::shell::{Shell, print, print_json, text};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Record,
    Result,
}

/// What became of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Called {
    /// It was taken, and was not waited for.
    Taken { id: String },
    /// It was waited for in vain; it goes on.
    Late { id: String },
    /// It ended: its record, or its result.
    Ended { body: Value },
    /// It ended in an error of the action's.
    Failed { status: StatusCode, body: Value },
}

/// Invokes an action and shows what came of it.
pub(crate) async fn run(name: &Name, payload: &Value, wait: Wait, shell: &Shell) -> Result<(), Failure> {
    let called = call(name, payload, wait, shell).await;
    let called = called.during(|| format!("invoke action '{}'", name.short()))?;
    show(name, &called, wait, shell.json);
    match called {
        Called::Taken { .. } | Called::Ended { .. } => Ok(()),
        Called::Late { .. } => Err(Failure::NotFinished),
        Called::Failed { status, .. } => Err(Failure::Activation { status }),
    }
}

/// Invokes an action.
pub(crate) async fn call(name: &Name, payload: &Value, wait: Wait, shell: &Shell) -> Result<Called, Failure> {
    let (blocking, result) = (wait != Wait::No, wait == Wait::Result);
    let path = format!("{}?blocking={blocking}&result={result}", name.path(Collection::Actions));
    let (status, body) = shell.api.answer(Method::POST, &path, Some(payload)).await?;
    read(status, body, wait)
}

/// A 502 is the action's error only if its body is a record or a result; the platform's own errors have a code
/// (openwhisk-api.md 10.1).
fn read(status: StatusCode, body: Value, wait: Wait) -> Result<Called, Failure> {
    let id = || text(&body, "activationId").to_owned();
    let has_ended = body.get("code").is_none()
        && match wait {
            Wait::No => false,
            Wait::Record => body["response"].get("status").is_some(),
            Wait::Result => body.get("error").is_some(),
        };
    match status {
        StatusCode::ACCEPTED if wait == Wait::No => Ok(Called::Taken { id: id() }),
        StatusCode::ACCEPTED => Ok(Called::Late { id: id() }),
        _ if status.is_success() => Ok(Called::Ended { body }),
        _ if status.is_server_error() && has_ended => Ok(Called::Failed { status, body }),
        _ => Err(Failure::refused(status, &body)),
    }
}

/// What failed is shown on stderr, as `wsk` does.
fn show(name: &Name, called: &Called, wait: Wait, is_json: bool) {
    let name = name.full();
    match called {
        Called::Taken { id } | Called::Late { id } if is_json => print_json(&json!({"activationId": id})),
        Called::Taken { id } => print(&format!("ok: invoked {name} with id {id}\n")),
        Called::Late { id } => {
            print(&format!("ok: invoked {name}, but the request has not yet finished, with id {id}\n"));
        }
        Called::Ended { body } => print(&ended(&name, body, wait, is_json)),
        Called::Failed { body, .. } => eprint!("{}", ended(&name, body, wait, is_json)),
    }
}

fn ended(name: &str, body: &Value, wait: Wait, is_json: bool) -> String {
    match body.get("activationId").and_then(Value::as_str) {
        Some(id) if wait == Wait::Record && !is_json => {
            format!("ok: invoked {name} with id {id}\n{body:#}\n")
        }
        // A result, which for an array is all that there is.
        _ => format!("{body:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(status: u16, body: Value, wait: Wait) -> Result<Called, Failure> {
        read(StatusCode::from_u16(status).unwrap(), body, wait)
    }

    #[test]
    fn a_202_is_a_success_only_for_who_does_not_wait() {
        let body = || json!({"activationId": "1"});
        let id = || "1".to_owned();
        assert_eq!(called(202, body(), Wait::No).unwrap(), Called::Taken { id: id() });
        assert_eq!(called(202, body(), Wait::Record).unwrap(), Called::Late { id: id() });
        assert_eq!(called(202, body(), Wait::Result).unwrap(), Called::Late { id: id() });
    }

    #[test]
    fn an_error_of_the_action_is_no_refusal() {
        let result = json!({"error": "mine"});
        let failed = Called::Failed { status: StatusCode::BAD_GATEWAY, body: result.clone() };
        assert_eq!(called(502, result, Wait::Result).unwrap(), failed);
        let record =
            json!({"activationId": "1", "response": {"status": "application error", "success": false}});
        assert!(matches!(called(502, record, Wait::Record), Ok(Called::Failed { .. })));
    }

    #[test]
    fn an_error_with_a_code_is_a_refusal() {
        let body = json!({"error": "no", "code": "t"});
        for wait in [Wait::No, Wait::Record, Wait::Result] {
            assert!(matches!(called(502, body.clone(), wait), Err(Failure::Refused { .. })), "{wait:?}");
            assert!(matches!(called(404, body.clone(), wait), Err(Failure::Refused { .. })), "{wait:?}");
        }
        assert!(called(502, json!({"error": "mine"}), Wait::No).is_err());
    }

    #[test]
    fn a_result_that_is_an_array_is_shown_bare() {
        assert_eq!(ended("/_/a", &json!([]), Wait::Record, false), "[]\n");
        let record = json!({"activationId": "1"});
        assert!(ended("/_/a", &record, Wait::Record, false).starts_with("ok: invoked /_/a with id 1\n{"));
        assert!(ended("/_/a", &record, Wait::Record, true).starts_with('{'));
    }
}
