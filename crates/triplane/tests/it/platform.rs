//! A platform of its own for each test.

use std::time::Duration;

use serde_json::{Value, json};
use triplane_testkit::{Answer, Client, Server, ServerSettings, TempDir, wait_for};

/// How long a state may take to come about on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A running platform in a directory that goes with it.
pub(crate) struct Platform {
    pub(crate) server: Server,
    pub(crate) data: TempDir,
}

impl Platform {
    /// A platform with default settings.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A platform with further arguments.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        Self::set_up(|mut settings| {
            settings.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            settings
        })
        .await
    }

    /// A platform with further environment.
    pub(crate) async fn with_environment(environment: &[(&str, &str)]) -> Self {
        Self::set_up(|mut settings| {
            let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            settings.environment.extend(environment);
            settings
        })
        .await
    }

    /// A platform with every language that the host has.
    pub(crate) async fn with_all_languages() -> Self {
        Self::set_up(ServerSettings::with_all_languages).await
    }

    /// A platform with changed settings.
    pub(crate) async fn set_up(change: impl FnOnce(ServerSettings) -> ServerSettings) -> Self {
        let data = TempDir::new("platform");
        let settings = change(ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path()));
        Self { server: settings.start().await, data }
    }

    /// Kills the server with SIGKILL and starts it again on the same data.
    pub(crate) async fn kill_and_restart(self) -> Self {
        Self { server: self.server.restart().await, data: self.data }
    }

    /// The spawner, which is the only child of the server. A child belongs to the thread that started it.
    pub(crate) fn spawner(&self) -> Option<u32> {
        let threads = format!("/proc/{}/task", self.server.process.pid());
        std::fs::read_dir(threads).unwrap().flatten().find_map(|thread| {
            let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        })
    }

    /// The asynchronous calls by state, and the drift, as an operator sees them.
    pub(crate) fn summary(&self) -> Value {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_triplane"))
            .args(["async", "list", "--summary", "--json"])
            .env("TRIPLANE_DATA", self.data.path())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The guest.
    pub(crate) fn guest(&self) -> Guest {
        Guest(self.server.guest.clone())
    }
}

/// What the guest does, as short sentences.
#[derive(Clone)]
pub(crate) struct Guest(pub(crate) Client);

impl Guest {
    /// Creates an action from JavaScript.
    pub(crate) async fn create(&self, name: &str, code: &str) {
        self.create_with(name, code, json!({})).await;
    }

    /// Creates an action with limits.
    pub(crate) async fn create_with(&self, name: &str, code: &str, limits: Value) {
        let body = json!({"exec": {"kind": "nodejs:default", "code": code}, "limits": limits});
        let _ = self.0.put(&format!("/api/v1/namespaces/_/actions/{name}"), &body).await.expect(200);
    }

    /// Invokes an action, blocking, and answers whatever comes.
    pub(crate) async fn invoke(&self, name: &str, payload: Value) -> Answer {
        self.0.post(&format!("/api/v1/namespaces/_/actions/{name}?blocking=true"), &payload).await
    }

    /// Invokes an action, blocking, and answers its result.
    pub(crate) async fn result(&self, name: &str, payload: Value) -> Value {
        let path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true&result=true");
        self.0.post(&path, &payload).await.expect(200).json()
    }

    /// Invokes an action without waiting, and answers the id of the activation.
    pub(crate) async fn fire(&self, name: &str, payload: Value) -> String {
        let answer = self.0.post(&format!("/api/v1/namespaces/_/actions/{name}"), &payload).await.expect(202);
        answer.json()["activationId"].as_str().unwrap().to_owned()
    }

    /// Invokes an action without waiting, with headers, and answers whatever comes.
    pub(crate) async fn fire_with(
        &self,
        name: &str,
        payload: Value,
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let json = [("content-type", "application/json")];
        let pairs = json.iter().chain(headers).map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        let path = format!("/api/v1/namespaces/_/actions/{name}");
        self.0.send(http::Method::POST, &path, pairs.collect(), payload.to_string()).await.unwrap()
    }

    /// Creates or replaces an action that asks for something by annotations.
    pub(crate) async fn create_annotated(&self, name: &str, code: &str, annotations: Value) -> Answer {
        let pairs = annotations.as_object().unwrap().iter();
        let annotations: Vec<_> = pairs.map(|(key, value)| json!({"key": key, "value": value})).collect();
        let body = json!({"exec": {"kind": "nodejs:default", "code": code}, "annotations": annotations});
        self.0.put(&format!("/api/v1/namespaces/_/actions/{name}?overwrite=true"), &body).await
    }

    /// An asynchronous call, as its owner sees it.
    pub(crate) async fn call(&self, id: &str) -> Answer {
        self.0.get(&format!("/api/v1/namespaces/_/async/{id}")).await
    }

    /// Waits until an asynchronous call is in a state, and answers it.
    pub(crate) async fn call_in(&self, id: &str, state: &str) -> Value {
        wait_for(SOON, &format!("the call is {state}"), async || {
            let answer = self.call(id).await;
            (answer.status == 200).then(|| answer.json()).filter(|call| call["state"] == state)
        })
        .await
    }

    /// Waits until an activation has a record.
    pub(crate) async fn record(&self, id: &str) -> Value {
        let path = format!("/api/v1/namespaces/_/activations/{id}");
        wait_for(SOON, "the activation has a record", async || {
            let answer = self.0.get(&path).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    }
}

/// Whether the run of a blocking call was cold: only then was there an init.
pub(crate) fn was_cold(record: &Value) -> bool {
    triplane_testkit::json::keyed(&record["annotations"], "initTime").is_some()
}

/// The process of an action that set its own title, as the host sees it.
pub(crate) async fn process_titled(title: &str) -> u32 {
    wait_for(SOON, "the action's process is there", async || {
        std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let cmdline = std::fs::read(entry.path().join("cmdline")).ok()?;
            cmdline.starts_with(title.as_bytes()).then_some(pid)
        })
    })
    .await
}
