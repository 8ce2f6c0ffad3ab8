//! `triplane rule`.

use http::Method;
use serde_json::{Value, json};

use super::action::visibility;
use super::cli::{RuleCommand, RuleOptions, Shown};
use super::failure::{Failure, While};
use super::name::{Collection, Name, namespace, of_collection};
use super::shell::{Shell, full_name, print, text};
use super::summary;
use crate::client::percent_encode;
use crate::table::table;

const RULES: Collection = Collection::Rules;

/// Carries out one command.
pub(crate) async fn run(command: RuleCommand, shell: &Shell) -> Result<(), Failure> {
    let named = |name: &str| Name::parse_plain(name, shell.api.namespace());
    match command {
        RuleCommand::Create(options) => put(&options, false, shell).await,
        RuleCommand::Update(options) => put(&options, true, shell).await,
        RuleCommand::Enable { name } => set(&named(&name)?, "active", ("enable", "enabled"), shell).await,
        RuleCommand::Disable { name } => {
            set(&named(&name)?, "inactive", ("disable", "disabled"), shell).await
        }
        RuleCommand::Status { name } => {
            let name = named(&name)?;
            let rule = shell.api.get(&name.path(RULES)).await;
            let rule = rule.during(|| format!("get status of rule '{}'", name.entity))?;
            let status = text(&rule, "status");
            shell.done(&format!("rule {} is {status}", name.entity), &json!({"status": status}));
            Ok(())
        }
        RuleCommand::Get(Shown { name, field, summary }) => {
            let name = named(&name)?;
            let rule = shell.api.get(&name.path(RULES)).await;
            let rule = rule.during(|| format!("get rule '{}'", name.entity))?;
            if summary && !shell.json {
                print(&summary::summary("rule", &rule));
                return Ok(());
            }
            shell.entity(&format!("rule {}", name.entity), &rule, field.as_deref())
        }
        RuleCommand::Delete { name, disable } => {
            let name = named(&name)?;
            if disable {
                post(&name, "inactive", shell).await.during(|| format!("disable rule '{}'", name.entity))?;
            }
            let deleted = shell.api.delete(&name.path(RULES)).await;
            let deleted = deleted.during(|| format!("delete rule '{}'", name.entity))?;
            shell.done(&format!("deleted rule {}", name.entity), &deleted);
            Ok(())
        }
        RuleCommand::List { namespace: of, page } => {
            let of = namespace(of.as_deref(), shell.api.namespace())?;
            let mut rules = shell.page(&of_collection(&of, RULES), &page).await;
            if let Ok(Value::Array(rules)) = &mut rules {
                add_status(rules, &of, shell).await?;
            }
            shell.list(&rules.during(|| "list rules".to_owned())?, list);
            Ok(())
        }
    }
}

/// Lists of rules have no status, so each rule is asked for (openwhisk-api.md 1.9). One that is gone meanwhile has none.
pub(crate) async fn add_status(rules: &mut [Value], namespace: &str, shell: &Shell) -> Result<(), Failure> {
    for rule in rules.iter_mut() {
        let name = percent_encode(text(rule, "name"));
        match shell.api.get(&format!("{}/{name}", of_collection(namespace, RULES))).await {
            Ok(mut whole) => rule["status"] = whole["status"].take(),
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// A line for each rule.
pub(crate) fn list(rules: &[Value]) -> String {
    let end = |end: &Value| format!("/{}/{}", text(end, "path"), text(end, "name"));
    let row = |rule: &Value| {
        let status = text(rule, "status").to_owned();
        [full_name(rule), visibility(rule), status, end(&rule["trigger"]), end(&rule["action"])]
    };
    table(["rules", "visibility", "status", "trigger", "action"], rules.iter().map(row))
}

async fn put(options: &RuleOptions, updates: bool, shell: &Shell) -> Result<(), Failure> {
    let (verb, done) = if updates { ("update", "updated") } else { ("create", "created") };
    let own = shell.api.namespace();
    let name = Name::parse_plain(&options.name, own)?;
    let (trigger, action) = (Name::parse_plain(&options.trigger, own)?, Name::parse(&options.action, own)?);
    let mut body = json!({"name": name.entity, "trigger": trigger.full(), "action": action.full()});
    if !options.annotations.0.is_empty() {
        body["annotations"] = Value::Array(options.annotations.0.array().await?);
    }
    let rule = shell.api.put(&format!("{}?overwrite={updates}", name.path(RULES)), &body).await;
    let rule = rule.during(|| format!("{verb} rule '{}'", name.entity))?;
    shell.done(&format!("{done} rule {}", name.entity), &rule);
    Ok(())
}

async fn set(name: &Name, status: &str, (verb, done): (&str, &str), shell: &Shell) -> Result<(), Failure> {
    post(name, status, shell).await.during(|| format!("{verb} rule '{}'", name.entity))?;
    shell.done(&format!("{done} rule {}", name.entity), &json!({"status": status}));
    Ok(())
}

async fn post(name: &Name, status: &str, shell: &Shell) -> Result<(), Failure> {
    let body = json!({"status": status});
    shell.api.ask(Method::POST, &name.path(RULES), Some(&body)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_joined() {
        let rule = json!({
            "namespace": "guest", "name": "r", "publish": false, "status": "active",
            "trigger": {"path": "guest", "name": "t"}, "action": {"path": "guest/pkg", "name": "a"},
        });
        let expected = "\
            rules     visibility  status  trigger   action\n\
            /guest/r  private     active  /guest/t  /guest/pkg/a\n";
        assert_eq!(list(&[rule]), expected);
    }
}
