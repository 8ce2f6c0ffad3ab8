//! `triplane action`, but for invocations.

use serde_json::{Value, json};

use super::cli::{ActionCommand, ActionOptions, Shown, Web};
use super::failure::{Failure, While};
use super::invoke::{self, Wait};
use super::name::{Collection, Name, actions_of};
use super::shell::{Shell, full_name, keyed, print, text};
use super::{code, summary};
use crate::client::percent_encode;
use crate::table::table;

const ACTIONS: Collection = Collection::Actions;
/// The largest number that every language has exactly.
const SECRET_MAX: u64 = (1 << 53) - 1;

/// Carries out one command.
pub(crate) async fn run(command: ActionCommand, shell: &Shell) -> Result<(), Failure> {
    let named = |name: &str| Name::parse(name, shell.api.namespace());
    match command {
        ActionCommand::Create(options) => put(&options, false, shell).await,
        ActionCommand::Update(options) => put(&options, true, shell).await,
        ActionCommand::Invoke { name, blocking, result, parameters } => {
            let wait = match (blocking, result) {
                (_, true) => Wait::Result,
                (true, false) => Wait::Record,
                (false, false) => Wait::No,
            };
            let payload = Value::Object(parameters.0.object().await?);
            invoke::run(&named(&name)?, &payload, wait, shell).await
        }
        ActionCommand::Get { shown: Shown { name, field, summary }, url, save, save_as } => {
            let name = named(&name)?;
            let saves = save || save_as.is_some();
            let action = shell.api.get(&format!("{}?code={saves}", name.path(ACTIONS))).await;
            let action = action.during(|| format!("get action '{}'", name.short()))?;
            if saves {
                let path = code::save(&action, &name.entity, save_as.as_deref()).await?;
                let path = path.display().to_string();
                shell.done(&format!("saved action code to {path}"), &json!({"path": path}));
                return Ok(());
            }
            show(&name, &action, field.as_deref(), url, summary, shell)
        }
        ActionCommand::Delete { name } => {
            let name = named(&name)?;
            let deleted = shell.api.delete(&name.path(ACTIONS)).await;
            let deleted = deleted.during(|| format!("delete action '{}'", name.short()))?;
            shell.done(&format!("deleted action {}", name.short()), &deleted);
            Ok(())
        }
        ActionCommand::List { of, page } => {
            let path = actions_of(of.as_deref(), shell.api.namespace())?;
            let actions = shell.page(&path, &page).await.during(|| "list actions".to_owned())?;
            shell.list(&actions, list);
            Ok(())
        }
    }
}

/// A line for each action.
pub(crate) fn list(actions: &[Value]) -> String {
    let row = |action: &Value| {
        let kind = keyed(&action["annotations"], "exec").and_then(Value::as_str).unwrap_or("unknown");
        let web = keyed(&action["annotations"], "web-export") == Some(&json!(true));
        let web = if web { "web" } else { "" };
        [
            full_name(action),
            visibility(action),
            kind.to_owned(),
            text(action, "version").to_owned(),
            web.to_owned(),
        ]
    };
    table(["actions", "visibility", "kind", "version", "web"], actions.iter().map(row))
}

/// Whether everybody may use it.
pub(crate) fn visibility(entity: &Value) -> String {
    if entity["publish"] == true { "shared" } else { "private" }.to_owned()
}

fn show(
    name: &Name,
    action: &Value,
    field: Option<&str>,
    url: bool,
    summarize: bool,
    shell: &Shell,
) -> Result<(), Failure> {
    let what = format!("action {}", name.short());
    if url {
        let url = address(action, &shell.api.host(), shell.api.base());
        match shell.json {
            true => shell.done("", &json!({"url": url})),
            false => print(&format!("ok: got {what}\n{url}\n")),
        }
        return Ok(());
    }
    if summarize && !shell.json {
        print(&summary::summary("action", action));
        return Ok(());
    }
    shell.entity(&what, action, field)
}

/// Where an action is called: as a web action, or else through the API.
fn address(action: &Value, host: &str, base: &str) -> String {
    let (namespace, package) = match text(action, "namespace").split_once('/') {
        Some((namespace, package)) => (namespace, Some(package)),
        None => (text(action, "namespace"), None),
    };
    let name = percent_encode(text(action, "name"));
    let namespace = percent_encode(namespace);
    let package = package.map(percent_encode);
    match keyed(&action["annotations"], "web-export") == Some(&json!(true)) {
        true => format!("{host}{base}/web/{namespace}/{}/{name}", package.as_deref().unwrap_or("default")),
        false => {
            let package = package.map(|package| format!("{package}/")).unwrap_or_default();
            format!("{host}{base}/namespaces/{namespace}/actions/{package}{name}")
        }
    }
}

async fn put(options: &ActionOptions, updates: bool, shell: &Shell) -> Result<(), Failure> {
    let (verb, done) = if updates { ("update", "updated") } else { ("create", "created") };
    let name = Name::parse(&options.name, shell.api.namespace())?;
    let body = body(options, &name, updates, shell).await?;
    let path = format!("{}?overwrite={updates}", name.path(ACTIONS));
    let action = shell.api.put(&path, &body).await;
    let action = action.during(|| format!("{verb} action '{}'", name.short()))?;
    shell.done(&format!("{done} action {}", name.short()), &action);
    Ok(())
}

/// What is sent: only what was given, because an update keeps the rest.
async fn body(options: &ActionOptions, name: &Name, updates: bool, shell: &Shell) -> Result<Value, Failure> {
    let mut body = json!({"namespace": "_", "name": name.entity});
    if options.code.copy {
        copy(&mut body, options, shell).await?;
    } else if let Some(exec) =
        code::exec(&options.code, options.artifact.as_deref(), shell.api.namespace()).await?
    {
        body["exec"] = exec;
    } else if !updates {
        return Err(Failure::Usage(
            "an action needs its code: a file, --docker IMAGE, --sequence a,b or --copy ACTION".to_owned(),
        ));
    }
    let limits = [
        ("timeout", options.timeout),
        ("memory", options.memory),
        ("logs", options.logsize),
        ("concurrency", options.concurrency),
    ];
    for (key, limit) in limits {
        if let Some(limit) = limit {
            body["limits"][key] = json!(limit);
        }
    }
    overlay(&mut body, "parameters", options.parameters.0.array().await?);
    let existing = match (updates, &options.web_secure) {
        (true, Some(_)) => existing(name, shell).await?,
        _ => Value::Null,
    };
    let web = web(options.web, options.web_secure.as_deref(), &existing["annotations"])?;
    let annotations = [web.set, options.annotations.0.array().await?].concat();
    overlay(&mut body, "annotations", annotations);
    let removed = [web.removed, options.del_annotation.clone()].concat();
    if !removed.is_empty() {
        body["delAnnotations"] = json!(removed);
    }
    Ok(body)
}

/// The action as it is, or nothing.
async fn existing(name: &Name, shell: &Shell) -> Result<Value, Failure> {
    match shell.api.get(&format!("{}?code=false", name.path(ACTIONS))).await {
        Err(failure) if failure.is_not_found() => Ok(Value::Null),
        other => other.during(|| format!("get action '{}'", name.short())),
    }
}

/// Takes over what another action has.
async fn copy(body: &mut Value, options: &ActionOptions, shell: &Shell) -> Result<(), Failure> {
    let Some(artifact) = &options.artifact else {
        return Err(Failure::Usage("--copy needs the name of an action".to_owned()));
    };
    let name = Name::parse(artifact, shell.api.namespace())?;
    let other = shell.api.get(&format!("{}?code=true", name.path(ACTIONS))).await;
    let mut other = other.during(|| format!("copy action '{}'", name.short()))?;
    for field in ["exec", "parameters", "annotations", "limits"] {
        body[field] = other[field].take();
    }
    Ok(())
}

/// Adds pairs to those that are there already, and wins over them.
fn overlay(body: &mut Value, field: &str, pairs: Vec<Value>) {
    if pairs.is_empty() {
        return;
    }
    let kept = body[field].as_array().into_iter().flatten();
    let kept = kept.filter(|kept| pairs.iter().all(|pair| pair["key"] != kept["key"]));
    body[field] = kept.cloned().collect::<Vec<_>>().into_iter().chain(pairs).collect();
}

/// What flags about the web do to annotations.
#[derive(Debug, Default, PartialEq)]
struct WebChange {
    set: Vec<Value>,
    removed: Vec<String>,
}

/// The annotations that make an action reachable without a key, or not.
pub(crate) fn web_annotations(web: Web) -> Vec<Value> {
    let (exported, raw) = (web != Web::No, web == Web::Raw);
    let flags = [("web-export", exported), ("raw-http", raw), ("final", exported)];
    flags.map(|(key, value)| json!({"key": key, "value": value})).into()
}

fn web(web: Option<Web>, secure: Option<&str>, existing: &Value) -> Result<WebChange, Failure> {
    let pair = |key: &str, value: Value| json!({"key": key, "value": value});
    let mut change = WebChange::default();
    if let Some(web) = web {
        change.set = web_annotations(web);
    }
    let Some(secure) = secure else { return Ok(change) };
    let is_web =
        web.map_or_else(|| keyed(existing, "web-export") == Some(&json!(true)), |web| web != Web::No);
    if !is_web {
        return Err(Failure::Usage("--web-secure is for web actions: say --web true as well".to_owned()));
    }
    let key = "require-whisk-auth";
    match secure {
        "true" => change.set.push(pair(key, json!(rand::random_range(1..=SECRET_MAX)))),
        "false" => {
            change.set.push(pair(key, json!(false)));
            change.removed.extend(keyed(existing, key).map(|_| key.to_owned()));
        }
        secret => change.set.push(pair(key, json!(secret))),
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(change: &WebChange) -> Vec<(String, Value)> {
        change.set.iter().map(|pair| (text(pair, "key").to_owned(), pair["value"].clone())).collect()
    }

    #[test]
    fn a_web_action_has_three_annotations() {
        for (mode, export, raw, fixed) in
            [(Web::Yes, true, false, true), (Web::Raw, true, true, true), (Web::No, false, false, false)]
        {
            let expected = [("web-export", export), ("raw-http", raw), ("final", fixed)]
                .map(|(key, value)| (key.to_owned(), json!(value)));
            assert_eq!(annotations(&web(Some(mode), None, &Value::Null).unwrap()), expected);
        }
        assert_eq!(web(None, None, &Value::Null).unwrap(), WebChange::default());
    }

    #[test]
    fn a_web_action_may_ask_for_a_secret() {
        let existing =
            json!([{"key": "web-export", "value": true}, {"key": "require-whisk-auth", "value": "old"}]);
        let secured = |secure| web(None, Some(secure), &existing).unwrap();
        assert_eq!(annotations(&secured("mine")), [("require-whisk-auth".to_owned(), json!("mine"))]);
        let made = annotations(&secured("true"))[0].1.as_u64().unwrap();
        assert!((1..=SECRET_MAX).contains(&made), "{made}");
        let open = secured("false");
        assert_eq!(annotations(&open), [("require-whisk-auth".to_owned(), json!(false))]);
        assert_eq!(open.removed, ["require-whisk-auth"]);
    }

    #[test]
    fn a_secret_is_for_web_actions_only() {
        assert!(web(None, Some("true"), &Value::Null).is_err());
        assert!(web(Some(Web::No), Some("true"), &Value::Null).is_err());
        assert!(web(Some(Web::Yes), Some("true"), &Value::Null).is_ok());
    }

    #[test]
    fn the_address_of_a_web_action_is_open_and_others_are_in_the_api() {
        let action = |namespace: &str, exported: bool| {
            let annotations = json!([{"key": "web-export", "value": exported}]);
            let action = json!({"namespace": namespace, "name": "hello", "annotations": annotations});
            address(&action, "https://h", "/api/v1")
        };
        assert_eq!(action("guest", true), "https://h/api/v1/web/guest/default/hello");
        assert_eq!(action("guest/pkg", true), "https://h/api/v1/web/guest/pkg/hello");
        assert_eq!(action("guest/pkg", false), "https://h/api/v1/namespaces/guest/actions/pkg/hello");
    }

    #[test]
    fn a_list_has_kinds_and_versions() {
        let action = json!({
            "namespace": "guest", "name": "hello", "version": "0.0.3", "publish": false,
            "annotations": [{"key": "exec", "value": "nodejs:20"}, {"key": "web-export", "value": true}],
        });
        let expected = "\
            actions       visibility  kind       version  web\n\
            /guest/hello  private     nodejs:20  0.0.3    web\n";
        assert_eq!(list(&[action]), expected);
    }

    #[test]
    fn what_is_given_wins_over_what_is_copied() {
        let mut body = json!({"annotations": [{"key": "a", "value": 1}, {"key": "b", "value": 1}]});
        overlay(&mut body, "annotations", vec![json!({"key": "b", "value": 2})]);
        let expected = json!([{"key": "a", "value": 1}, {"key": "b", "value": 2}]);
        assert_eq!(body["annotations"], expected);
    }
}
