//! `triplane admin`: on a running platform by its admin API, on a stopped one by answering the same requests over its data
//! directory. What is printed, and the exit code, are those of `wskadmin` (openwhisk-api.md 12.2).

pub(crate) mod cli;
mod dump;
mod import;
mod operator;
mod pool;

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use triplane_management::subjects::{self, Holder, User, Whois};
use triplane_model::LimitsDocument;
use triplane_store::DirLock;

use self::cli::{AdminCommand, CreateOptions, DataDir, LimitsCommand, UserCommand};
use self::operator::Operator;
use crate::client::{Refused, percent_encode};

/// An argument was not accepted.
const BAD_ARGUMENT: u8 = 2;
/// What was asked for is not there, or is not possible now.
const FAILED: u8 = 1;

/// Carries out one command and prints what it says.
pub(crate) async fn run(command: AdminCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        AdminCommand::User(command) => user(command).await,
        AdminCommand::Limits(command) => limits(command).await,
        AdminCommand::Pool { data, lines, json } => pool::show(&data, lines, json).await,
        AdminCommand::Node(command) => pool::node(command).await,
        AdminCommand::Policy { data, options } => pool::policy(&data, options).await,
        AdminCommand::Import(options) => import::run(options).await,
        AdminCommand::Backup { data, target, with_key } => {
            triplane_store::backup(&data.path(), &target, with_key).await?;
            println!("backup written to {}", target.display());
            Ok(0)
        }
        AdminCommand::Restore { data, source } => restore(&data, &source).await.map(|()| 0),
    };
    done.or_else(refusal).map(ExitCode::from)
}

/// What the platform refused is said as it says it; whatever else went wrong is an error of ours.
fn refusal(error: anyhow::Error) -> anyhow::Result<u8> {
    let refused = error.downcast::<Refused>()?;
    eprintln!("{refused}");
    Ok(if refused.status == 400 { BAD_ARGUMENT } else { FAILED })
}

async fn restore(data: &DataDir, source: &std::path::Path) -> anyhow::Result<()> {
    let dir = data.path();
    let _lock = DirLock::acquire(&dir)?;
    let restored = triplane_store::restore(source, &dir).await?;
    println!("{} restored from {}", dir.display(), source.display());
    if restored.calls_dropped > 0 {
        println!("{} queued calls have a record already and are not run again", restored.calls_dropped);
    }
    if !restored.key {
        let key = dir.join("keys").join("seal.key");
        println!("the backup has no key file: put the original one at {} before the start", key.display());
    }
    Ok(())
}

async fn user(command: UserCommand) -> anyhow::Result<u8> {
    match command {
        UserCommand::Create { data, new } => create(&data, new).await?,
        UserCommand::Delete { data, subject, namespace } => {
            let query = namespace.map(|name| format!("?namespace={}", percent_encode(&name)));
            let path = format!("{}{}", of_user(&subject), query.unwrap_or_default());
            say(&ask(&data, Method::DELETE, &path, None).await?);
        }
        UserCommand::Get { data, subject, namespace, all } => {
            let user: User =
                serde_json::from_value(ask(&data, Method::GET, &of_user(&subject), None).await?)?;
            println!("{}", keys(&user, namespace.as_deref(), all)?);
        }
        UserCommand::Whois { data, authkey } => {
            let body = json!({ "auth": authkey });
            let found = ask(&data, Method::POST, "/admin/v1/whois", Some(body)).await?;
            let Whois { subject, namespace } = serde_json::from_value(found)?;
            println!("subject: {subject}\nnamespace: {namespace}");
        }
        UserCommand::List { data, namespace, pick, all, key } => {
            let path = format!("/admin/v1/namespaces/{}/users", percent_encode(&namespace));
            let holders: Vec<Holder> = serde_json::from_value(ask(&data, Method::GET, &path, None).await?)?;
            let shown = if all { holders.len() } else { pick as usize };
            for Holder { subject, auth } in holders.into_iter().take(shown) {
                println!("{}", if key { auth } else { format!("{auth}\t{subject}") });
            }
        }
        UserCommand::Block { data, subjects } => return block(&data, &subjects, "block").await,
        UserCommand::Unblock { data, subjects } => return block(&data, &subjects, "unblock").await,
    }
    Ok(0)
}

async fn create(data: &DataDir, new: CreateOptions) -> anyhow::Result<()> {
    let CreateOptions { subject, auth, namespace, revoke, force, genonly, silent } = new;
    let auth = match genonly {
        true => subjects::draw_credential().expose(),
        false => {
            let body = json!({
                "subject": subject.trim(), "namespace": namespace, "auth": auth, "revoke": revoke, "force": force,
            });
            let operator = Operator::for_creation(&data.path()).await?;
            let answer = operator.ask(Method::POST, "/admin/v1/users", Some(body)).await;
            operator.close().await;
            answer?["auth"].as_str().context("the answer has no credential")?.to_owned()
        }
    };
    if !silent {
        println!("{auth}");
    }
    Ok(())
}

/// The keys of all namespaces with their names, or the one of a namespace, which is named like the subject by default.
fn keys(user: &User, namespace: Option<&str>, all: bool) -> Result<String, Refused> {
    if all {
        let lines = user.namespaces.iter().map(|known| format!("{}\t{}", known.name, known.auth));
        return Ok(lines.collect::<Vec<_>>().join("\n"));
    }
    let wanted = namespace.unwrap_or(&user.subject);
    let found = user.namespaces.iter().find(|known| known.name.as_str() == wanted);
    let missing = || Refused {
        status: 404,
        text: format!("Namespace '{wanted}' does not exist for '{}'", user.subject),
    };
    found.map(|known| known.auth.clone()).ok_or_else(missing)
}

/// Blocks or unblocks one after the other; the exit code is the number of those that it could not.
async fn block(data: &DataDir, subjects: &[String], word: &str) -> anyhow::Result<u8> {
    let operator = Operator::of(&data.path()).await?;
    let mut failed = 0_u8;
    for subject in subjects {
        let path = format!("{}/{word}", of_user(subject.trim()));
        match operator.ask(Method::POST, &path, None).await {
            Ok(answer) => say(&answer),
            Err(error) => {
                eprintln!("'{}': {:#}", subject.trim(), error);
                failed = failed.saturating_add(1);
            }
        }
    }
    operator.close().await;
    Ok(failed)
}

async fn limits(command: LimitsCommand) -> anyhow::Result<u8> {
    match command {
        LimitsCommand::Set { data, namespace, limits } => {
            let body = serde_json::to_value(limits.document())?;
            // Limits may be set before there is anybody to have them.
            let operator = Operator::for_creation(&data.path()).await?;
            let answer = operator.ask(Method::PATCH, &of_limits(&namespace), Some(body)).await;
            operator.close().await;
            say(&answer?);
        }
        LimitsCommand::Get { data, namespace } => {
            match ask(&data, Method::GET, &of_limits(&namespace), None).await {
                Ok(found) => print!("{}", lines(&serde_json::from_value(found)?)?),
                Err(error) if error.downcast_ref().is_some_and(|refused: &Refused| refused.status == 404) => {
                    println!("No limits found, default system limits apply");
                }
                Err(error) => return Err(error),
            }
        }
        LimitsCommand::Delete { data, namespace } => {
            say(&ask(&data, Method::DELETE, &of_limits(&namespace), None).await?);
        }
    }
    Ok(0)
}

/// One line for each limit: `name = value`.
fn lines(document: &LimitsDocument) -> anyhow::Result<String> {
    let Value::Object(fields) = serde_json::to_value(document)? else { return Ok(String::new()) };
    let shown = |value: &Value| match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(fields.iter().map(|(name, value)| format!("{name} = {}\n", shown(value))).collect())
}

async fn ask(data: &DataDir, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let operator = Operator::of(&data.path()).await?;
    let answer = operator.ask(method, path, body).await;
    operator.close().await;
    answer
}

fn of_user(subject: &str) -> String {
    format!("/admin/v1/users/{}", percent_encode(subject))
}

fn of_limits(namespace: &str) -> String {
    format!("/admin/v1/namespaces/{}/limits", percent_encode(namespace))
}

fn say(answer: &Value) {
    println!("{}", answer["message"].as_str().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_may_hold_any_character() {
        assert_eq!(of_user("a b/ü@x"), "/admin/v1/users/a%20b%2F%C3%BC%40x");
    }

    #[test]
    fn limits_are_printed_line_by_line() {
        let json = r#"{"invocationsPerMinute":5,"allowedKinds":["a","b"],"maxPayloadSize":"2 MB"}"#;
        let printed = lines(&serde_json::from_str(json).unwrap()).unwrap();
        let mut sorted: Vec<_> = printed.lines().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, ["allowedKinds = a, b", "invocationsPerMinute = 5", "maxPayloadSize = 2 MB"]);
    }
}
