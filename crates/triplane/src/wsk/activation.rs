//! `triplane activation`, but for following.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cli::{ActivationCommand, Which};
use super::failure::{Failure, While};
use super::name::{Name, OWN};
use super::poll;
use super::shell::{Shell, keyed, print, print_json, text};
use crate::client::percent_encode;
use crate::table::table;

/// Where the activations of the key are.
pub(crate) const ACTIVATIONS: &str = "/namespaces/_/activations";
/// What stands before the text in a line of logs: a time padded to 30 characters, a stream, a colon and spaces.
const LOG_PREFIX_CHARS: usize = 39;

/// Carries out one command.
pub(crate) async fn run(command: ActivationCommand, shell: &Shell) -> Result<(), Failure> {
    match command {
        ActivationCommand::List { name, full, skip, limit, since, upto } => {
            let query = query(name.as_deref(), (skip, limit), since, upto, full)?;
            let activations = shell.api.get(&format!("{ACTIVATIONS}?{query}")).await;
            let activations = activations.during(|| "list activations".to_owned())?;
            match full {
                true => print_json(&activations),
                false => shell.list(&activations, |activations| list(activations, &TimeZone::system())),
            }
            Ok(())
        }
        ActivationCommand::Get { which, field, summary } => get(&which, field, summary, shell).await,
        ActivationCommand::Logs { which, strip } => {
            let id = id(&which, shell).await?;
            let logs = shell.api.get(&format!("{ACTIVATIONS}/{id}/logs")).await;
            let logs = logs.during(|| format!("get the logs of activation '{id}'"))?;
            match shell.json {
                true => print_json(&logs),
                false => print(&lines(&logs["logs"], strip)),
            }
            Ok(())
        }
        ActivationCommand::Result { which } => {
            let id = id(&which, shell).await?;
            let result = shell.api.get(&format!("{ACTIVATIONS}/{id}/result")).await;
            let result = result.during(|| format!("get the result of activation '{id}'"))?;
            print_json(if shell.json { &result } else { &result["result"] });
            Ok(())
        }
        ActivationCommand::Poll { name, exit, since } => poll::run(name.as_deref(), exit, since, shell).await,
    }
}

fn query(
    name: Option<&str>,
    (skip, limit): (u64, u64),
    since: Option<u64>,
    upto: Option<u64>,
    docs: bool,
) -> Result<String, Failure> {
    let mut query = format!("limit={limit}&skip={skip}");
    if let Some(name) = name {
        query += &format!("&name={}", percent_encode(&filter(name)?));
    }
    for (key, value) in [("since", since), ("upto", upto)] {
        if let Some(value) = value {
            query += &format!("&{key}={value}");
        }
    }
    if docs {
        query += "&docs=true";
    }
    Ok(query)
}

/// What a list is filtered by: `[package/]name`.
pub(crate) fn filter(name: &str) -> Result<String, Failure> {
    Ok(Name::parse(name, OWN)?.short())
}

async fn get(which: &Which, field: Option<String>, summary: bool, shell: &Shell) -> Result<(), Failure> {
    // With --last the first name is the field.
    let field = if which.last { which.id.clone().or(field) } else { field };
    let id = id(which, shell).await?;
    let activation = shell.api.get(&format!("{ACTIVATIONS}/{id}")).await;
    let activation = activation.during(|| format!("get activation '{id}'"))?;
    if summary {
        shell.title(&format!("activation result for '{}'", text(&activation, "name")));
        print_json(&activation["response"]);
        return Ok(());
    }
    shell.entity(&format!("activation {id}"), &activation, field.as_deref())
}

/// The id that was given, or that of the newest activation.
async fn id(which: &Which, shell: &Shell) -> Result<String, Failure> {
    if !which.last {
        return Ok(percent_encode(which.id.as_deref().unwrap_or_default()));
    }
    let newest = shell.api.get(&format!("{ACTIVATIONS}?limit=1&skip=0")).await;
    let newest = newest.during(|| "find the last activation".to_owned())?;
    match newest[0]["activationId"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(Failure::Usage("there is no activation yet".to_owned())),
    }
}

/// A line for each activation, newest first.
fn list(activations: &[Value], zone: &TimeZone) -> String {
    let row = |activation: &Value| {
        let annotations = &activation["annotations"];
        let kind = keyed(annotations, "kind").and_then(Value::as_str).unwrap_or("unknown");
        let cold = keyed(annotations, "initTime").is_some();
        let name = format!(
            "{}/{}:{}",
            text(activation, "namespace"),
            text(activation, "name"),
            text(activation, "version")
        );
        [
            time(activation["start"].as_i64().unwrap_or_default(), zone),
            text(activation, "activationId").to_owned(),
            kind.to_owned(),
            if cold { "cold" } else { "warm" }.to_owned(),
            activation["duration"].as_u64().map(duration).unwrap_or_default(),
            status(activation).to_owned(),
            name,
        ]
    };
    let head = ["datetime", "activation id", "kind", "start", "duration", "status", "entity"];
    table(head, activations.iter().map(row))
}

/// What became of an activation; those that do not end, as triggers', have succeeded.
fn status(activation: &Value) -> &'static str {
    match activation["statusCode"].as_u64() {
        None | Some(0) => "success",
        Some(1) => "application error",
        Some(2) => "developer error",
        Some(_) => "internal error",
    }
}

/// A time as clocks show it here.
fn time(ms: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone.clone());
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{:03}s", ms / 1_000, ms % 1_000),
        _ => format!("{}m{}.{:03}s", ms / 60_000, ms / 1_000 % 60, ms % 1_000),
    }
}

/// Logs as lines, as they are or without what stands before their text.
pub(crate) fn lines(logs: &Value, strip: bool) -> String {
    let logs = logs.as_array().into_iter().flatten().filter_map(Value::as_str);
    logs.map(|line| format!("{}\n", if strip { stripped(line) } else { line })).collect()
}

fn stripped(line: &str) -> &str {
    let has_prefix = line.get(31..LOG_PREFIX_CHARS).is_some_and(|prefix| {
        let prefix = prefix.trim_end();
        prefix == "stdout:" || prefix == "stderr:"
    });
    if has_prefix { &line[LOG_PREFIX_CHARS..] } else { line }
}

/// The record of a failure as a text, if it is one.
pub(crate) fn failure(activation: &Value) -> Option<String> {
    let response = &activation["response"];
    (response["success"] == false)
        .then(|| format!("{}: {}", text(response, "status"), json!(response["result"]["error"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_when_what_ran_and_how_it_ended() {
        let activation = json!({
            "start": 1_700_000_000_000_i64, "activationId": "0123456789abcdef0123456789abcdef", "duration": 1045,
            "namespace": "guest", "name": "hello", "version": "0.0.1", "statusCode": 1,
            "annotations": [{"key": "kind", "value": "nodejs:20"}, {"key": "initTime", "value": 40}],
        });
        let listed = list(&[activation], &TimeZone::UTC);
        let expected = "2023-11-14 22:13:20  0123456789abcdef0123456789abcdef  nodejs:20  cold   1.045s    \
            application error  guest/hello:0.0.1";
        assert_eq!(listed.lines().nth(1), Some(expected), "{listed}");
    }

    #[test]
    fn a_trigger_has_no_end() {
        let activation = json!({
            "start": 0, "activationId": "1", "namespace": "guest", "name": "t", "version": "0.0.1", "annotations": [],
        });
        let listed = list(&[activation], &TimeZone::UTC);
        assert!(listed.contains("unknown") && listed.contains("success"), "{listed}");
    }

    #[test]
    fn durations_are_short() {
        for (ms, text) in [(0, "0ms"), (999, "999ms"), (1_000, "1.000s"), (61_005, "1m1.005s")] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn logs_can_be_stripped() {
        let logs = json!([
            "2024-01-01T00:00:00.123456789Z stdout: hi there",
            "2024-01-01T00:00:00.12Z        stderr: oh",
            "what has no time",
        ]);
        assert_eq!(lines(&logs, true), "hi there\noh\nwhat has no time\n");
        assert!(lines(&logs, false).starts_with("2024-01-01T00:00:00.123456789Z stdout: hi there\n"));
    }

    #[test]
    fn a_query_filters_by_name_and_time() {
        let query = query(Some("/_/pkg/a b"), (5, 10), Some(1), Some(2), true).unwrap();
        assert_eq!(query, "limit=10&skip=5&name=pkg%2Fa%20b&since=1&upto=2&docs=true");
    }
}
