//! `triplane trigger`. What a feed is told is in `feed`.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::action::visibility;
use super::cli::{Shown, TriggerCommand, TriggerOptions};
use super::failure::{Failure, While};
use super::feed::{self, Event};
use super::name::{Collection, Name, namespace, of_collection};
use super::shell::{Shell, full_name, keyed, print, text};
use super::summary;
use crate::table::table;

const TRIGGERS: Collection = Collection::Triggers;

/// Carries out one command.
pub(crate) async fn run(command: TriggerCommand, shell: &Shell) -> Result<(), Failure> {
    let named = |name: &str| Name::parse_plain(name, shell.api.namespace());
    match command {
        TriggerCommand::Create(options) => create(&named(&options.name)?, &options, shell).await,
        TriggerCommand::Update(options) => update(&named(&options.name)?, &options, shell).await,
        TriggerCommand::Fire { name, parameters } => {
            fire(&named(&name)?, &Value::Object(parameters.0.object().await?), shell).await
        }
        TriggerCommand::Get(Shown { name, field, summary }) => {
            get(&named(&name)?, field.as_deref(), summary, shell).await
        }
        TriggerCommand::Delete { name, force } => delete(&named(&name)?, force, shell).await,
        TriggerCommand::List { namespace: of, page } => {
            let path = of_collection(&namespace(of.as_deref(), shell.api.namespace())?, TRIGGERS);
            let triggers = shell.page(&path, &page).await.during(|| "list triggers".to_owned())?;
            shell.list(&triggers, list);
            Ok(())
        }
    }
}

/// A line for each trigger.
pub(crate) fn list(triggers: &[Value]) -> String {
    let row = |trigger: &Value| {
        let feed = keyed(&trigger["annotations"], "feed").and_then(Value::as_str).unwrap_or_default();
        [full_name(trigger), visibility(trigger), text(trigger, "version").to_owned(), feed.to_owned()]
    };
    table(["triggers", "visibility", "version", "feed"], triggers.iter().map(row))
}

/// What was given, for the trigger and for its feed. Without `-F` and `-T`, `-p` is for the feed where there is one.
struct Parameters {
    of_trigger: Option<Map<String, Value>>,
    of_feed: Map<String, Value>,
}

impl Parameters {
    async fn of(options: &TriggerOptions, has_feed: bool) -> Result<Self, Failure> {
        let [plain, feed, trigger] =
            [&options.parameters.0, &options.feed_parameters.0, &options.trigger_parameters.0];
        let is_split = !feed.is_empty() || !trigger.is_empty();
        if is_split && !plain.is_empty() {
            return Err(Failure::Usage(
                "--param goes neither with --feed-param nor with --trigger-param".to_owned(),
            ));
        }
        if !feed.is_empty() && !has_feed {
            return Err(Failure::Usage("--feed-param is for triggers with a feed".to_owned()));
        }
        let (of_feed, of_trigger) =
            if has_feed && !plain.is_empty() { (plain, trigger) } else { (feed, plain) };
        let of_trigger = if of_trigger.is_empty() { trigger } else { of_trigger };
        let given = !of_trigger.is_empty();
        let of_trigger = of_trigger.object().await?;
        Ok(Self { of_trigger: given.then_some(of_trigger), of_feed: of_feed.object().await? })
    }
}

async fn create(name: &Name, options: &TriggerOptions, shell: &Shell) -> Result<(), Failure> {
    let feed = options.feed.as_deref().map(|feed| Name::parse(feed, shell.api.namespace())).transpose()?;
    let parameters = Parameters::of(options, feed.is_some()).await?;
    let body = body(name, options, &parameters, feed.as_ref()).await?;
    let trigger = shell.api.put(&format!("{}?overwrite=false", name.path(TRIGGERS)), &body).await;
    let trigger = trigger.during(|| format!("create trigger '{}'", name.entity))?;
    if let Some(feed) = &feed
        && let Err(failure) = feed::tell(feed, Event::Create, name, &parameters.of_feed, shell).await
    {
        // A trigger that nothing fires is of no use.
        if let Err(error) = shell.api.delete(&name.path(TRIGGERS)).await {
            eprintln!("warning: trigger '{}' was created and cannot be deleted: {error}", name.entity);
        }
        return Err(failure).during(|| format!("create trigger '{}'", name.entity));
    }
    shell.done(&format!("created trigger {}", name.entity), &trigger);
    Ok(())
}

async fn body(
    name: &Name,
    options: &TriggerOptions,
    parameters: &Parameters,
    feed: Option<&Name>,
) -> Result<Value, Failure> {
    let mut body = json!({"namespace": "_", "name": name.entity});
    if let Some(parameters) = &parameters.of_trigger {
        let pairs = parameters.iter().map(|(key, value)| json!({"key": key, "value": value}));
        body["parameters"] = pairs.collect();
    }
    let mut annotations = options.annotations.0.array().await?;
    if let Some(feed) = feed {
        annotations.push(json!({"key": "feed", "value": feed.full()}));
    }
    if !annotations.is_empty() {
        body["annotations"] = Value::Array(annotations);
    }
    Ok(body)
}

async fn update(name: &Name, options: &TriggerOptions, shell: &Shell) -> Result<(), Failure> {
    let existing = match shell.api.get(&name.path(TRIGGERS)).await {
        Err(failure) if failure.is_not_found() => return create(name, options, shell).await,
        other => other.during(|| format!("update trigger '{}'", name.entity))?,
    };
    let feed = feed_of(&existing, shell)?;
    if options.feed.is_some() {
        let what = "the feed of a trigger cannot be changed: delete the trigger and create it again";
        return Err(Failure::Usage(what.to_owned()));
    }
    let parameters = Parameters::of(options, feed.is_some()).await?;
    let changes_trigger =
        feed.is_none() || parameters.of_trigger.is_some() || !options.annotations.0.is_empty();
    let mut trigger = existing;
    if changes_trigger {
        // Annotations are replaced by what is given, and the feed is one of them.
        let feed = feed.as_ref().filter(|_| !options.annotations.0.is_empty());
        let body = body(name, options, &parameters, feed).await?;
        let updated = shell.api.put(&format!("{}?overwrite=true", name.path(TRIGGERS)), &body).await;
        trigger = updated.during(|| format!("update trigger '{}'", name.entity))?;
    }
    if let Some(feed) = &feed {
        let told = feed::tell(feed, Event::Update, name, &parameters.of_feed, shell).await;
        told.during(|| format!("update trigger '{}'", name.entity))?;
    }
    shell.done(&format!("updated trigger {}", name.entity), &trigger);
    Ok(())
}

/// The feed that fires a trigger.
fn feed_of(trigger: &Value, shell: &Shell) -> Result<Option<Name>, Failure> {
    let feed = keyed(&trigger["annotations"], "feed").and_then(Value::as_str).filter(|feed| !feed.is_empty());
    feed.map(|feed| Name::parse(feed, shell.api.namespace())).transpose()
}

async fn fire(name: &Name, payload: &Value, shell: &Shell) -> Result<(), Failure> {
    let fired = shell.api.ask(Method::POST, &name.path(TRIGGERS), Some(payload)).await;
    let fired = fired.during(|| format!("fire trigger '{}'", name.entity))?;
    let text = match fired.status {
        StatusCode::NO_CONTENT => {
            format!("triggered {}, which has no active rule: nothing was invoked", name.full())
        }
        _ => format!("triggered {} with id {}", name.full(), text(&fired.body, "activationId")),
    };
    shell.done(&text, &fired.body);
    Ok(())
}

async fn get(name: &Name, field: Option<&str>, summarize: bool, shell: &Shell) -> Result<(), Failure> {
    let doing = || format!("get trigger '{}'", name.entity);
    let trigger = shell.api.get(&name.path(TRIGGERS)).await.during(doing)?;
    if summarize && !shell.json {
        print(&summary::summary("trigger", &trigger));
        return Ok(());
    }
    shell.entity(&format!("trigger {}", name.entity), &trigger, field)?;
    match feed_of(&trigger, shell)? {
        Some(feed) if field.is_none() && !shell.json => {
            let said = feed::tell(&feed, Event::Read, name, &Map::new(), shell).await.during(doing)?;
            shell.entity(&format!("what feed {} says of it", feed.full()), &said, None)
        }
        _ => Ok(()),
    }
}

async fn delete(name: &Name, force: bool, shell: &Shell) -> Result<(), Failure> {
    let doing = || format!("delete trigger '{}'", name.entity);
    let trigger = shell.api.get(&name.path(TRIGGERS)).await.during(doing)?;
    if let Some(feed) = feed_of(&trigger, shell)? {
        match feed::tell(&feed, Event::Delete, name, &Map::new(), shell).await {
            Err(failure) if force => eprintln!("warning: {failure}"),
            Err(failure) => {
                eprintln!("hint: --force deletes the trigger even if its feed cannot be told");
                return Err(failure).during(doing);
            }
            Ok(_) => {}
        }
    }
    let deleted = shell.api.delete(&name.path(TRIGGERS)).await.during(doing)?;
    shell.done(&format!("deleted trigger {}", name.entity), &deleted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: TriggerOptions,
    }

    async fn split(line: &[&str], has_feed: bool) -> Result<(Value, Value), Failure> {
        let line = Line::try_parse_from([&["test", "t"], line].concat()).unwrap();
        let parameters = Parameters::of(&line.options, has_feed).await?;
        Ok((json!(parameters.of_trigger), json!(parameters.of_feed)))
    }

    #[tokio::test]
    async fn parameters_are_for_the_feed_where_there_is_one() {
        let plain = ["-p", "a", "1"];
        assert_eq!(split(&plain, false).await.unwrap(), (json!({"a": 1}), json!({})));
        assert_eq!(split(&plain, true).await.unwrap(), (Value::Null, json!({"a": 1})));
        let both = ["-F", "a", "1", "-T", "b", "2"];
        assert_eq!(split(&both, true).await.unwrap(), (json!({"b": 2}), json!({"a": 1})));
        assert_eq!(split(&["-T", "b", "2"], false).await.unwrap(), (json!({"b": 2}), json!({})));
    }

    #[tokio::test]
    async fn what_could_mean_either_is_refused() {
        assert!(split(&["-p", "a", "1", "-T", "b", "2"], true).await.is_err());
        assert!(split(&["-F", "a", "1"], false).await.is_err());
    }
}
