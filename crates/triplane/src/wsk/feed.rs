//! The life of a trigger as its feed is told it (openwhisk-api.md 5.4).

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::failure::{Failure, While};
use super::name::{Collection, Name};
use super::shell::Shell;

/// What happens to a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Create,
    Read,
    Update,
    Delete,
}

impl Event {
    fn text(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Read => "READ",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// Invokes a feed's action, waits for it, and answers its result.
pub(crate) async fn tell(
    feed: &Name,
    event: Event,
    trigger: &Name,
    parameters: &Map<String, Value>,
    shell: &Shell,
) -> Result<Value, Failure> {
    let payload = payload(event, trigger, shell.api.auth()?, parameters);
    let path = format!("{}?blocking=true&result=false", feed.path(Collection::Actions));
    let answer = shell.api.answer(Method::POST, &path, Some(&payload)).await;
    let told = answer.and_then(|(status, record)| result(status, record));
    told.during(|| format!("tell feed '{}' ({})", feed.full(), event.text()))
}

/// The result in a record. The error of a feed is in there as well; the platform's own has a code.
fn result(status: StatusCode, mut record: Value) -> Result<Value, Failure> {
    if status.is_success() {
        return Ok(record["response"]["result"].take());
    }
    let said = record["response"]["result"].get("error").cloned();
    let body = said.map_or(record, |error| json!({"error": error}));
    Err(Failure::refused(status, &body))
}

fn payload(event: Event, trigger: &Name, auth: &str, parameters: &Map<String, Value>) -> Value {
    let mut payload = parameters.clone();
    payload.insert("lifecycleEvent".to_owned(), json!(event.text()));
    payload.insert("triggerName".to_owned(), json!(trigger.full()));
    payload.insert("authKey".to_owned(), json!(auth));
    Value::Object(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_told_the_event_the_trigger_the_key_and_its_parameters() {
        let trigger = Name::parse("t", "_").unwrap();
        let parameters = json!({"cron": "* * * * *", "authKey": "not mine"});
        let told = payload(Event::Create, &trigger, "a:b", parameters.as_object().unwrap());
        let expected = json!({
            "cron": "* * * * *", "lifecycleEvent": "CREATE", "triggerName": "/_/t", "authKey": "a:b",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn the_error_of_a_feed_is_said_as_it_says_it() {
        let record = json!({"response": {"success": false, "result": {"error": "no such date"}}});
        let failure = result(StatusCode::BAD_GATEWAY, record).unwrap_err();
        assert_eq!(failure.to_string(), "no such date (status 502)");
        let refused = json!({"error": "The requested resource does not exist.", "code": "t"});
        let failure = result(StatusCode::NOT_FOUND, refused).unwrap_err();
        assert_eq!(failure.to_string(), "The requested resource does not exist. (code t)");
    }
}
