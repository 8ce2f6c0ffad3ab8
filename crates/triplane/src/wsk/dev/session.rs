//! An action that somebody works on: loaded, reloaded, invoked, and its logs.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::{DevOptions, syntax};
use crate::well_known;
use crate::wsk::action::web_annotations;
use crate::wsk::activation::{failure, lines};
use crate::wsk::cli::{CodeOptions, Web};
use crate::wsk::code;
use crate::wsk::failure::{Failure, While};
use crate::wsk::invoke::{self, Called, Wait};
use crate::wsk::name::{Collection, Name};
use crate::wsk::pairs::Pairs;
use crate::wsk::poll::{Follower, now_ms};
use crate::wsk::shell::{Shell, keyed, print, text};

/// The annotation of what a session has made, which another session may replace.
const MARK: &str = "triplane-dev";
/// How many calls of a session may wait for their answers.
const CALLS_MAX: usize = 16;

/// See the module.
pub(crate) struct Session {
    shell: Arc<Shell>,
    /// Whether the platform is of this process.
    is_own: bool,
    name: Name,
    file: PathBuf,
    code: CodeOptions,
    web: Option<Web>,
    parameters: Pairs,
    /// The action as the platform has it, once a version of the file was good.
    loaded: Option<Value>,
    /// Whether it goes with the session.
    is_ours: bool,
    follower: Follower,
    is_deaf: bool,
    calls: JoinSet<Result<Called, Failure>>,
}

impl Session {
    /// Creates the action. With `--watch` a bad file may be mended later.
    pub(crate) async fn open(options: &DevOptions, shell: Shell, is_own: bool) -> Result<Self, Failure> {
        let stem = options.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = options.name.clone().or(stem).unwrap_or_default();
        let name = Name::parse(&name, shell.api.namespace())?;
        let follower = Follower::new(Some(&name.short()), now_ms())?;
        let mut session = Self {
            shell: Arc::new(shell),
            is_own,
            name,
            file: options.file.clone(),
            code: options.code(),
            web: options.web,
            parameters: options.parameters.0.clone(),
            loaded: None,
            is_ours: true,
            follower,
            is_deaf: false,
            calls: JoinSet::new(),
        };
        session.claim(options.overwrite).await?;
        match session.load().await {
            Err(failure) if options.watch => eprintln!("error: {failure}\nwaiting for a better version"),
            other => other?,
        }
        Ok(session)
    }

    /// Looks whether the name may be used: what is there must be of an earlier session, or may be replaced.
    async fn claim(&mut self, may_overwrite: bool) -> Result<(), Failure> {
        let existing = self.shell.api.get(&format!("{}?code=false", self.path())).await;
        let existing = match existing {
            Err(failure) if failure.is_not_found() => return Ok(()),
            other => other.during(|| format!("look for action '{}'", self.name.short()))?,
        };
        self.is_ours = keyed(&existing["annotations"], MARK).is_some();
        match self.is_ours || may_overwrite {
            true => Ok(()),
            false => Err(Failure::Usage(format!(
                "action '{}' is there already: take another name with --name, or replace it with --overwrite",
                self.name.short()
            ))),
        }
    }

    fn path(&self) -> String {
        self.name.path(Collection::Actions)
    }

    /// Makes the file the action's code. When that cannot be, the action stays as it is.
    async fn load(&mut self) -> Result<(), Failure> {
        let bytes = code::read(&self.file).await?;
        let bad = |why: &str| Failure::Usage(format!("{} is not loaded: {why}", self.file.display()));
        if bytes.trim_ascii().is_empty() {
            return Err(bad("it is empty"));
        }
        let exec = code::of_bytes(&self.code, &self.file, &bytes)?;
        // The languages of this machine say nothing about those of another one.
        if self.shell.api.is_here()
            && let Some(mistake) = syntax::mistake(text(&exec, "kind"), &bytes).await
        {
            return Err(bad(&mistake));
        }
        let body = self.body(&exec);
        let loaded = self.shell.api.put(&format!("{}?overwrite=true", self.path()), &body).await;
        self.loaded = Some(loaded.during(|| format!("load {}", self.file.display()))?);
        Ok(())
    }

    fn body(&self, exec: &Value) -> Value {
        let mut annotations = self.web.map(web_annotations).unwrap_or_default();
        if self.is_ours {
            annotations.push(json!({"key": MARK, "value": true}));
        }
        json!({"namespace": "_", "name": self.name.entity, "exec": exec, "annotations": annotations})
    }

    /// Says what runs where and how it is called.
    pub(crate) fn introduce(&self) {
        let (host, name) = (self.shell.api.host(), self.name.short());
        let url = format!("{host}{}{}", self.shell.api.base(), self.path());
        let json = "-H 'Content-Type: application/json' -d '{}'";
        let how = match self.is_own {
            true => {
                format!("curl -u {} -X POST '{url}?blocking=true&result=true' {json}", well_known::GUEST)
            }
            false => format!("triplane action invoke {name} --result"),
        };
        let web = self.web.filter(|web| *web != Web::No).map(|_| self.web_address(&host)).unwrap_or_default();
        print(&format!(
            "{name} runs on {host}; call it by\n  {how}\n{web}\
             Enter invokes it with the given parameters, a JSON object invokes it with that, ctrl-c ends.\n"
        ));
    }

    fn web_address(&self, host: &str) -> String {
        let namespace = self.loaded.as_ref().map_or("_", |action| text(action, "namespace"));
        let namespace = namespace.split('/').next().unwrap_or_default();
        let package = self.name.package.as_deref().unwrap_or("default");
        format!("  {host}{}/web/{namespace}/{package}/{}\n", self.shell.api.base(), self.name.entity)
    }

    /// The file was saved.
    pub(crate) async fn reload(&mut self) {
        match self.load().await {
            Ok(()) => {
                let version = self.loaded.as_ref().map_or("", |action| text(action, "version"));
                print(&format!("reloaded {}, version {version}\n", self.name.short()));
            }
            Err(failure) if self.loaded.is_some() => {
                eprintln!("error: {failure}\nwhat was loaded before still runs");
            }
            Err(failure) => eprintln!("error: {failure}\nwaiting for a better version"),
        }
    }

    /// Calls the action with what a line says, or with the parameters. The answer is shown when it comes.
    pub(crate) async fn invoke(&mut self, line: &str) {
        if self.loaded.is_none() {
            return eprintln!("nothing is loaded yet");
        }
        if self.calls.len() >= CALLS_MAX {
            return eprintln!("{CALLS_MAX} calls wait for their answers: try again when some have come");
        }
        let payload = match payload(line, &self.parameters).await {
            Ok(payload) => Value::Object(payload),
            Err(failure) => return eprintln!("error: {failure}"),
        };
        let (name, shell) = (self.name.clone(), self.shell.clone());
        self.calls.spawn(async move { invoke::call(&name, &payload, Wait::Result, &shell).await });
    }

    /// Waits for the answer of a call and shows it. May be cancelled without loss.
    pub(crate) async fn answered(&mut self) {
        match self.calls.join_next().await {
            Some(Ok(Ok(called))) => print(&answer(&called)),
            Some(Ok(Err(failure))) => eprintln!("error: {failure}"),
            Some(Err(error)) => eprintln!("error: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Shows the logs of what has ended since the last time, whoever called it.
    pub(crate) async fn show_logs(&mut self) {
        match self.follower.news(&self.shell).await {
            Ok(activations) => {
                self.is_deaf = false;
                for activation in &activations {
                    print(&lines(&activation["logs"], false));
                    if let Some(failure) = failure(activation) {
                        print(&format!("{} failed: {failure}\n", text(activation, "activationId")));
                    }
                }
            }
            // Said once, and again after it has worked.
            Err(failure) if !self.is_deaf => {
                self.is_deaf = true;
                eprintln!("warning: cannot read the logs: {failure}");
            }
            Err(_) => {}
        }
    }

    /// Deletes the action, unless it was somebody's before.
    pub(crate) async fn close(mut self) {
        self.show_logs().await;
        if self.loaded.is_some() && self.is_ours {
            match self.shell.api.delete(&self.path()).await {
                Ok(_) => print(&format!("deleted {}\n", self.name.short())),
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => eprintln!("warning: {} is not deleted: {failure}", self.name.short()),
            }
        }
    }
}

/// The parameters, which are read again each time, or what was typed.
async fn payload(line: &str, parameters: &Pairs) -> Result<Map<String, Value>, Failure> {
    let line = line.trim();
    if line.is_empty() {
        return parameters.object().await;
    }
    serde_json::from_str(line)
        .map_err(|error| Failure::Usage(format!("what was typed is no JSON object: {error}")))
}

fn answer(called: &Called) -> String {
    match called {
        Called::Ended { body } | Called::Failed { body, .. } => format!("{body:#}\n"),
        Called::Taken { id } | Called::Late { id } => format!("it has not finished yet, its id is {id}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_a_payload_and_an_empty_one_means_the_parameters() {
        let none = Pairs::default();
        assert_eq!(payload("\n", &none).await.unwrap(), Map::new());
        assert_eq!(Value::Object(payload(" {\"a\": 1}\n", &none).await.unwrap()), json!({"a": 1}));
        assert!(payload("[1]", &none).await.is_err());
        assert!(payload("hello", &none).await.unwrap_err().to_string().contains("JSON object"));
    }
}
