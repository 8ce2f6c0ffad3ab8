//! `triplane async`: a client of the operations API of asynchronous calls (`docs/async.md`).

use anyhow::Context;
use http::Method;
use serde_json::Value;

use crate::cli::{AsyncCommand, AsyncFilter, AsyncOptions, Whose};
use crate::client::{Client, percent_encode};
use crate::contact::Contact;
use crate::table;

/// Carries out one command and prints what it says.
pub(crate) async fn run(options: AsyncOptions) -> anyhow::Result<()> {
    let AsyncOptions { command, whose, json } = options;
    let (client, place) = find(&whose)?;
    let request = request(&command);
    let answer = client.ask(request.method.clone(), &place.path(&request), None).await?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&answer)?),
        false => print!("{}", text(&command, &answer)),
    }
    Ok(())
}

/// Where the API is.
struct Place {
    base: &'static str,
    namespace: Option<String>,
}

/// What is asked for: a path below the API, and a query.
struct Request {
    method: Method,
    below: String,
    query: Vec<(&'static str, String)>,
}

impl Place {
    fn path(&self, request: &Request) -> String {
        let namespace = self.namespace.iter().map(|name| ("namespace", name.clone()));
        let pairs = request.query.iter().cloned().chain(namespace);
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", percent_encode(&value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{}{}{mark}{}", self.base, request.below, pairs.join("&"))
    }
}

fn find(whose: &Whose) -> anyhow::Result<(Client, Place)> {
    if let Some(auth) = &whose.auth {
        let place = Place { base: "/api/v1/namespaces/_/async", namespace: None };
        return Ok((Client::of_owner(&whose.api_host, auth)?, place));
    }
    let dir = whose.data_dir.clone().unwrap_or_else(crate::config::default_data_dir);
    let contact = Contact::read(&dir).context(
        "name the data directory of the platform that runs here with --data-dir, or a credential with --auth",
    )?;
    let place = Place { base: "/admin/async", namespace: whose.namespace.clone() };
    Ok((Client::of_operator(&contact), place))
}

fn request(command: &AsyncCommand) -> Request {
    let of = |method: Method, below: String, query| Request { method, below, query };
    let one = |id: &str, rest: &str| format!("/{}{rest}", percent_encode(id));
    match command {
        AsyncCommand::List { summary: true, .. } => of(Method::GET, "/summary".to_owned(), Vec::new()),
        AsyncCommand::List { filter, limit, skip, .. } => {
            let page = [("limit", *limit), ("skip", *skip)];
            of(Method::GET, String::new(), filter.pairs().chain(numbers(&page)).collect())
        }
        AsyncCommand::Show { id } => of(Method::GET, one(id, ""), Vec::new()),
        AsyncCommand::Cancel { id } => of(Method::DELETE, one(id, ""), Vec::new()),
        AsyncCommand::Retry { id } => of(Method::POST, one(id, "/retry"), Vec::new()),
        AsyncCommand::Redrive { id: Some(id), .. } => of(Method::POST, one(id, "/redrive"), Vec::new()),
        AsyncCommand::Redrive { action, limit, .. } => {
            let action = action.iter().map(|action| ("action", action.clone()));
            let query = action.chain(numbers(&[("limit", *limit)])).collect();
            of(Method::POST, "/redrive".to_owned(), query)
        }
        AsyncCommand::Purge { filter, before } => {
            let before = numbers(&[("before", *before)]);
            of(Method::DELETE, String::new(), filter.pairs().chain(before).collect())
        }
        AsyncCommand::CallbackKey => of(Method::GET, "/callback-key".to_owned(), Vec::new()),
    }
}

impl AsyncFilter {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> {
        let texts = [("state", &self.state), ("action", &self.action)];
        let texts = texts.map(|(key, value)| value.clone().map(|value| (key, value)));
        texts.into_iter().flatten().chain(numbers(&[("since", self.since), ("upto", self.upto)]))
    }
}

fn numbers(pairs: &[(&'static str, Option<u64>)]) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let given = pairs.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?.to_string())));
    given.collect::<Vec<_>>().into_iter()
}

fn text(command: &AsyncCommand, answer: &Value) -> String {
    match command {
        AsyncCommand::List { summary: false, .. } => calls_table(answer),
        AsyncCommand::List { .. } => summary(answer),
        AsyncCommand::Show { .. } => format!("{answer:#}\n"),
        AsyncCommand::Cancel { id } => format!("cancellation of {id} was asked for\n"),
        AsyncCommand::Retry { id } => format!("{id} is due now\n"),
        AsyncCommand::Redrive { id: Some(id), .. } => {
            format!("{id} is redriven as {}\n", answer["activationId"].as_str().unwrap_or_default())
        }
        AsyncCommand::Redrive { .. } => {
            format!("{} dead letters are redriven{}\n", answer["redriven"], more(answer))
        }
        AsyncCommand::Purge { .. } => format!("{} calls are purged{}\n", answer["purged"], more(answer)),
        AsyncCommand::CallbackKey => format!("{}\n", answer["key"].as_str().unwrap_or_default()),
    }
}

fn more(answer: &Value) -> &'static str {
    if answer["more"] == true { ", there are more" } else { "" }
}

/// One line for each call.
fn calls_table(calls: &Value) -> String {
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let time = |value: &Value| value.as_i64().and_then(rfc_3339).unwrap_or_else(|| cell(value));
    let row = |call: &Value| {
        let attempts = format!("{}/{}", call["attempts"], call["attemptsMax"]);
        let cells = ["activationId", "state", "action"].map(|key| cell(&call[key]));
        let [id, state, action] = cells;
        [
            id,
            state,
            attempts,
            time(&call["acceptedAt"]),
            time(&call["dueAt"]),
            cell(&call["lastFailure"]),
            action,
        ]
    };
    let head = ["id", "state", "attempts", "accepted", "due", "failure", "action"];
    table::table(head, calls.as_array().into_iter().flatten().map(row))
}

/// A time of epoch milliseconds for people, in UTC.
fn rfc_3339(epoch_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).ok()?;
    Some(format!("{time:.3}"))
}

fn summary(answer: &Value) -> String {
    let states = answer["states"].as_object().into_iter().flatten();
    let mut lines: Vec<String> = states.map(|(state, rows)| format!("{state:10} {rows}")).collect();
    for (name, key) in [("oldest ms", "oldestAgeMs"), ("bytes", "bytes"), ("drift", "drift")] {
        if let Some(value) = answer.get(key).filter(|value| !value.is_null()) {
            lines.push(format!("{name:10} {value}"));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_is_a_query_with_its_values_escaped() {
        let filter = AsyncFilter {
            state: Some("dead".to_owned()),
            action: Some("/guest/a b".to_owned()),
            since: Some(5),
            upto: None,
        };
        let request = request(&AsyncCommand::List { filter, limit: Some(7), skip: None, summary: false });
        let place = Place { base: "/admin/async", namespace: Some("guest".to_owned()) };
        let path = "/admin/async?state=dead&action=%2Fguest%2Fa%20b&since=5&limit=7&namespace=guest";
        assert_eq!(place.path(&request), path);
    }

    #[test]
    fn a_list_is_a_table() {
        let call = json!({
            "activationId": "0123", "state": "retry", "attempts": 1, "attemptsMax": 3, "acceptedAt": 1_790_000_000_005_i64,
            "dueAt": null, "lastFailure": "timeout", "action": "/guest/hello",
        });
        let expected = "\
            id    state  attempts  accepted                  due  failure  action\n\
            0123  retry  1/3       2026-09-21T14:13:20.005Z  -    timeout  /guest/hello\n";
        assert_eq!(calls_table(&json!([call])), expected);
    }

    #[test]
    fn counts_are_one_on_a_line() {
        let answer =
            json!({"states": {"accepted": 2, "dead": 1}, "oldestAgeMs": null, "bytes": 10, "drift": 0});
        assert_eq!(summary(&answer), "accepted   2\ndead       1\nbytes      10\ndrift      0\n");
    }
}
