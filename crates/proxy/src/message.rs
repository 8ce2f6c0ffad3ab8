//! What the launcher is told: the environment at init and the body of a run (openwhisk-api.md 11.2, 11.3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use triplane_core::pool::message::ContainerSpec;
use triplane_wire::framed::{FrameType, HEADER_BYTES, Header, Init};
use triplane_wire::run::RunRequest;

use crate::record::{push_escaped, push_quoted, put, quoted};
use crate::runtime::{CodeMount, HttpCode};

/// What is the same in all messages of a container.
#[derive(Debug)]
pub(crate) struct Messages {
    api_host: String,
    /// `/ns/[pkg/]name`.
    action_name: String,
    version: String,
    /// Whether calls get the owner's key: unless the annotation says no.
    key: bool,
    /// From `,"namespace":` to the value of `activation_id`.
    run_middle: String,
}

/// A frame to write: a start, the parameters as they came, and an end.
#[derive(Debug)]
pub(crate) struct RunFrame {
    pub(crate) head: [u8; HEADER_BYTES + VALUE.len()],
    pub(crate) parameters: bytes::Bytes,
    pub(crate) tail: String,
}

const VALUE: &[u8; 9] = br#"{"value":"#;

impl Messages {
    pub(crate) fn new(spec: &ContainerSpec, api_host: &str) -> Self {
        let action_name = format!("/{}", spec.action.name);
        let version = spec.action.version.to_string();
        let run_middle = format!(
            r#","namespace":{},"action_name":{},"action_version":"{version}","activation_id":""#,
            quoted(spec.key.namespace.as_str()),
            quoted(&action_name),
        );
        let key = spec.action.annotation_is_truthy("provide-api-key", true);
        Self { api_host: api_host.to_owned(), action_name, version, key, run_middle }
    }

    /// The payload of `INIT`.
    pub(crate) fn init(
        &self,
        spec: &ContainerSpec,
        code: &CodeMount,
        request: &RunRequest,
        deadline_ms: u64,
    ) -> Vec<u8> {
        let action = &spec.action;
        let mut env = self.environment(spec, request, deadline_ms);
        env.insert("__OW_API_HOST", Cow::from(&self.api_host));
        let init = Init {
            name: action.name.name.as_str(),
            main: action.exec.main.as_deref().unwrap_or("main"),
            path: &code.path,
            archive: code.archive,
            concurrency: u32::try_from(action.limits.concurrency).unwrap_or(u32::MAX),
            env,
        };
        serde_json::to_vec(&init).unwrap_or_default()
    }

    /// The body of `POST /init`. A container has the address of the platform from its start on.
    pub(crate) fn http_init(
        &self,
        spec: &ContainerSpec,
        code: &HttpCode,
        request: &RunRequest,
        deadline_ms: u64,
    ) -> Vec<u8> {
        let action = &spec.action;
        let value = HttpInit {
            name: action.name.name.as_str(),
            main: action.exec.main.as_deref().unwrap_or("main"),
            code: code.text.as_deref(),
            binary: code.binary,
            env: self.environment(spec, request, deadline_ms),
        };
        serde_json::to_vec(&HttpBody { value }).unwrap_or_default()
    }

    /// The environment of a process: what the parameters for init and the call say.
    fn environment<'a>(
        &'a self,
        spec: &'a ContainerSpec,
        request: &'a RunRequest,
        deadline_ms: u64,
    ) -> BTreeMap<&'a str, Cow<'a, str>> {
        let mut env = BTreeMap::new();
        for parameter in spec.action.parameters.iter().filter(|parameter| parameter.init) {
            env.insert(parameter.key.as_str(), env_text(parameter.value.get()));
        }
        env.insert("__OW_NAMESPACE", Cow::from(spec.key.namespace.as_str()));
        env.insert("__OW_ACTION_NAME", Cow::from(&self.action_name));
        env.insert("__OW_ACTION_VERSION", Cow::from(&self.version));
        env.insert("__OW_ACTIVATION_ID", Cow::from(request.activation_id.to_string()));
        env.insert("__OW_TRANSACTION_ID", Cow::from(request.transaction_id.as_str()));
        env.insert("__OW_DEADLINE", Cow::from(deadline_ms.to_string()));
        if self.key {
            env.insert("__OW_API_KEY", Cow::from(request.caller.credential.expose()));
        }
        env
    }

    /// The frame of a run. Nothing when it would be longer than a frame can be.
    pub(crate) fn run(&self, stream: u32, request: &RunRequest, deadline_ms: u64) -> Option<RunFrame> {
        let mut tail = String::with_capacity(self.run_middle.len() + 320);
        tail.push_str(&self.run_middle);
        put(&mut tail, format_args!(r#"{}","transaction_id":""#, request.activation_id));
        push_escaped(&mut tail, request.transaction_id.as_str());
        put(&mut tail, format_args!(r#"","deadline":"{deadline_ms}""#));
        if self.key {
            tail.push_str(r#","api_key":"#);
            push_quoted(&mut tail, &request.caller.credential.expose());
        }
        if let Some(traceparent) = &request.traceparent {
            tail.push_str(r#","traceparent":"#);
            push_quoted(&mut tail, traceparent);
        }
        tail.push('}');
        let parameters = match request.parameters.is_empty() {
            true => bytes::Bytes::from_static(b"{}"),
            false => request.parameters.clone(),
        };
        let payload_bytes = u32::try_from(VALUE.len() + parameters.len() + tail.len()).ok()?;
        payload_bytes.checked_add(5)?;
        let header = Header { kind: FrameType::Run, stream, payload_bytes }.encode();
        let mut head = [0; HEADER_BYTES + VALUE.len()];
        head[..HEADER_BYTES].copy_from_slice(&header);
        head[HEADER_BYTES..].copy_from_slice(VALUE);
        Some(RunFrame { head, parameters, tail })
    }
}

/// The body of `POST /init`.
#[derive(Serialize)]
struct HttpBody<T> {
    value: T,
}

/// What a runtime in a container is initialised with (openwhisk-api.md 11.2).
#[derive(Serialize)]
struct HttpInit<'a> {
    name: &'a str,
    main: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    binary: bool,
    env: BTreeMap<&'a str, Cow<'a, str>>,
}

/// A parameter as the value of an environment variable: null is empty, text is itself, the rest is compact JSON.
fn env_text(json: &str) -> Cow<'_, str> {
    match json.as_bytes().first() {
        Some(b'n') => Cow::from(""),
        Some(b'"') => Cow::from(serde_json::from_str::<String>(json).unwrap_or_default()),
        Some(b'{' | b'[') => Cow::from(compact(json)),
        _ => Cow::from(json),
    }
}

/// The same JSON without white space between its tokens.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    json.chars()
        .filter(|&character| {
            if in_text {
                in_text = character != '"' || escaped;
                escaped = character == '\\' && !escaped;
                return true;
            }
            in_text = character == '"';
            !matches!(character, ' ' | '\t' | '\n' | '\r')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_spec::{request, spec};
    use serde_json::{Value, json};
    use triplane_core::id::ContainerId;

    fn init(annotation: &str, parameters: &str) -> Value {
        let spec = spec(|action| {
            action.annotations = serde_json::from_str(annotation).unwrap();
            action.parameters = serde_json::from_str(parameters).unwrap();
        });
        let code = CodeMount { path: "/code/a.js".into(), archive: false, fault: None };
        let id = ContainerId { epoch: triplane_core::id::Epoch(1), number: 1 };
        let messages = Messages::new(&spec, "http://localhost:3233");
        serde_json::from_slice(&messages.init(&spec, &code, &request(id, 1, "{}"), 99)).unwrap()
    }

    fn run(parameters: &str, change: impl FnOnce(&mut RunRequest)) -> Value {
        let id = ContainerId { epoch: triplane_core::id::Epoch(1), number: 1 };
        let mut request = request(id, 1, parameters);
        change(&mut request);
        let frame = Messages::new(&spec(|_| {}), "h").run(7, &request, 99).unwrap();
        let mut bytes = frame.head.to_vec();
        bytes.extend_from_slice(&frame.parameters);
        bytes.extend_from_slice(frame.tail.as_bytes());
        let header = Header::decode(*bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((header.stream, header.payload_bytes as usize), (7, bytes.len() - HEADER_BYTES));
        serde_json::from_slice(&bytes[HEADER_BYTES..]).unwrap()
    }

    #[test]
    fn init_has_the_context_and_the_init_parameters_as_text() {
        let parameters = r#"[
            {"key":"T","value":"a\"b","init":true}, {"key":"N","value":1.50,"init":true},
            {"key":"B","value":true,"init":true}, {"key":"Z","value":null,"init":true},
            {"key":"O","value":{"b": 1, "a": [ "x y\" {" ]},"init":true}, {"key":"run","value":1}]"#;
        let message = init(r#"[{"key":"provide-api-key","value":false}]"#, parameters);
        assert_eq!((&message["main"], &message["path"]), (&json!("main"), &json!("/code/a.js")));
        assert_eq!(
            message["env"],
            json!({
                "T": "a\"b", "N": "1.50", "B": "true", "Z": "", "O": r#"{"b":1,"a":["x y\" {"]}"#,
                "__OW_API_HOST": "http://localhost:3233", "__OW_NAMESPACE": "guest",
                "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1",
                "__OW_ACTIVATION_ID": "00000000000000000000000000000001", "__OW_TRANSACTION_ID": "tid",
                "__OW_DEADLINE": "99",
            })
        );
    }

    #[test]
    fn the_key_is_given_when_the_annotation_is_true_or_absent() {
        for annotations in ["[]", r#"[{"key":"provide-api-key","value":true}]"#] {
            let key = init(annotations, "[]")["env"]["__OW_API_KEY"].clone();
            assert!(key.as_str().is_some_and(|key| key.contains(':')), "{annotations}: {key}");
        }
        assert_eq!(
            init(r#"[{"key":"provide-api-key","value":false}]"#, "[]")["env"].get("__OW_API_KEY"),
            None
        );
    }

    #[test]
    fn init_by_http_carries_the_code_unless_there_is_none() {
        let spec = spec(|action| action.exec.main = Some("go".into()));
        let id = ContainerId { epoch: triplane_core::id::Epoch(1), number: 1 };
        let (messages, request) = (Messages::new(&spec, "h"), request(id, 1, "{}"));
        let init = |code: HttpCode| -> Value {
            serde_json::from_slice(&messages.http_init(&spec, &code, &request, 99)).unwrap()
        };
        let value = &init(HttpCode { text: Some("UEs=".into()), binary: true, fault: None })["value"];
        assert_eq!((&value["name"], &value["main"]), (&json!("hello"), &json!("go")));
        assert_eq!((&value["code"], &value["binary"]), (&json!("UEs="), &json!(true)));
        assert_eq!(value["env"]["__OW_ACTION_NAME"], "/guest/hello");
        assert_eq!(value["env"].get("__OW_API_HOST"), None, "it is the container's own");
        assert_eq!(init(HttpCode::default())["value"].get("code"), None);
    }

    #[test]
    fn a_run_has_openwhisks_body_with_the_parameters_as_they_came() {
        let body = run(r#"{"a": 1}"#, |_| {});
        assert_eq!(
            body,
            json!({
                "value": {"a": 1}, "namespace": "guest", "action_name": "/guest/hello",
                "action_version": "0.0.1", "activation_id": "00000000000000000000000000000001",
                "transaction_id": "tid", "deadline": "99",
            })
        );
        assert_eq!(run("", |_| {})["value"], json!({}));
        assert_eq!(run("[1]", |_| {})["value"], json!([1]));
    }

    #[test]
    fn a_run_hands_the_trace_context_on() {
        let body = run("{}", |request| request.traceparent = Some("00-ab-cd-01".into()));
        assert_eq!(body["traceparent"], json!("00-ab-cd-01"));
    }
}
