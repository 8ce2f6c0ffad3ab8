//! The requests of `wsk`, command by command, as the real program sends them (section 10). They are in `wsk.txt`.

use serde_json::Value;

use super::{Guest, Reply, Scenario, scenario};

const COMMANDS: &str = include_str!("wsk.txt");
const AGENT: &str = "OpenWhisk-CLI/1.0 (2023-09-04T01:11:50.321+0000) linux amd64";
const SENTENCE: &str = "### 10.2 Commands → HTTP [W] (all under /api/v1; `_` = ns)";

/// A command and what it sends.
#[derive(Clone, Debug, Default)]
struct Command {
    line: &'static str,
    exchanges: Vec<Exchange>,
}

/// A request and what has to be answered.
#[derive(Clone, Debug, Default)]
struct Exchange {
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    expected: &'static str,
}

/// One scenario for each command; the commands before it in its session are given first.
pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for session in sessions() {
        for number in 0..session.len() {
            let commands = session[..=number].to_vec();
            let story = async move |me: Guest| {
                let mut last_id = String::new();
                for command in commands {
                    give(&me, &command, &mut last_id).await;
                }
            };
            scenarios.push(scenario("10.2", SENTENCE, session[number].line, story));
        }
    }
    scenarios
}

/// The sessions of the file.
fn sessions() -> Vec<Vec<Command>> {
    let mut sessions: Vec<Vec<Command>> = Vec::new();
    for line in COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            sessions.push(Vec::new());
            continue;
        }
        let session = sessions.last_mut().expect("a command is in a session");
        if let Some(line) = line.strip_prefix("$ ") {
            session.push(Command { line, exchanges: Vec::new() });
            continue;
        }
        let exchanges = &mut session.last_mut().expect("a request is of a command").exchanges;
        match line.split_once(' ') {
            Some(("=", expected)) => exchanges.last_mut().unwrap().expected = expected,
            _ if line.starts_with('{') => exchanges.last_mut().unwrap().body = Some(line),
            request => {
                let (method, path) = request.unwrap_or((line, ""));
                exchanges.push(Exchange { method, path, ..Exchange::default() });
            }
        }
    }
    sessions
}

/// Sends what a command sends, and looks at the answers.
async fn give(me: &Guest, command: &Command, last_id: &mut String) {
    for exchange in &command.exchanges {
        let path = format!("/api/v1/{}", exchange.path.replace("{id}", last_id));
        let call = me.call(exchange.method, path.trim_end_matches('/')).header("User-Agent", AGENT);
        let reply = match exchange.body {
            // the program ends its JSON with a line
            Some(body) => call.text("application/json", &format!("{body}\n")).await,
            None => call.await,
        };
        let reply = check(reply, exchange.expected);
        if let Some(id) = reply.header("x-openwhisk-activation-id") {
            id.clone_into(last_id);
        }
    }
}

/// Holds an answer against what has to be answered.
fn check(reply: Reply, expected: &str) -> Reply {
    let mut parts = expected.split(" ; ");
    let status = parts.next().unwrap().trim().parse().expect("an expectation begins with a status");
    let mut reply = reply.is(status);
    for part in parts {
        let (path, value) = part.split_once('=').expect("an expectation is path=value");
        reply = match path.trim() {
            "text" => reply.is_text(value),
            path => reply.has(path, serde_json::from_str::<Value>(value).expect("a value is JSON")),
        };
    }
    reply
}
