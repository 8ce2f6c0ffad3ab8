//! Who speaks in a scenario: a fresh subject, with short words for what users of OpenWhisk do.

use std::cell::Cell;
use std::fmt::Write as _;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};
use serde_json::{Value, json};
use triplane_testkit::client::basic;
use triplane_testkit::json::text;
use triplane_testkit::{Client, wait_for};

use super::Reply;
use crate::platform::{Platform, SOON};

/// A server that scenarios share, and the way to new subjects.
#[derive(Clone)]
pub(super) struct Stage(Rc<Shared>);

struct Shared {
    public: Client,
    admin: Client,
    token: String,
    subjects: Cell<u32>,
}

impl Stage {
    /// The stage on a running platform.
    pub(super) fn new(platform: &Platform) -> Self {
        let contact = std::fs::read(platform.data.join("admin.json")).unwrap();
        let contact: Value = serde_json::from_slice(&contact).unwrap();
        Self(Rc::new(Shared {
            public: platform.server.guest.with_credential(None),
            admin: platform.server.admin.clone(),
            token: text(&contact, "token").to_owned(),
            subjects: Cell::new(0),
        }))
    }

    /// A subject that nobody else is, with OpenWhisk's limits of a new one.
    pub(super) async fn guest(&self) -> Guest {
        let number = self.0.subjects.get();
        self.0.subjects.set(number + 1);
        let namespace = format!("subject{number}");
        let answer = self.admin(Method::POST, "/admin/v1/users", &json!({"subject": namespace})).await;
        let credential = text(&answer.is(200).json(), "auth").to_owned();
        let client = self.0.public.with_credential(Some(&credential));
        Guest { stage: self.clone(), client, namespace, credential }
    }

    /// A page of the admin listener.
    pub(super) async fn page(&self, path: &str) -> Reply {
        Call::new(&self.0.admin, Method::GET, path.to_owned()).await
    }

    /// A request of the operator to the admin listener.
    pub(super) async fn admin(&self, method: Method, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {}", self.0.token);
        let call = Call::new(&self.0.admin, method, path.to_owned());
        call.json(body).header(AUTHORIZATION.as_str(), &bearer).await
    }
}

/// A subject with a namespace of its own.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) stage: Stage,
    client: Client,
    /// Its namespace, which is named like the subject.
    pub(super) namespace: String,
    /// Its credential, `uuid:key`.
    pub(super) credential: String,
}

impl Guest {
    /// Another fresh subject.
    pub(super) async fn other(&self) -> Self {
        self.stage.guest().await
    }

    /// The same without a credential.
    pub(super) fn anonymous(&self) -> Self {
        Self { client: self.client.with_credential(None), ..self.clone() }
    }

    /// Any request. A path without a slash at its beginning is under the caller's namespace, `_`.
    pub(super) fn call(&self, method: &str, path: &str) -> Call {
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/api/v1/namespaces/_/{path}"),
        };
        Call::new(&self.client, method.parse().unwrap(), path)
    }

    /// GET.
    pub(super) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// PUT with JSON.
    pub(super) fn put(&self, path: &str, body: Value) -> Call {
        self.call("PUT", path).json(&body)
    }

    /// POST with JSON.
    pub(super) fn post(&self, path: &str, body: Value) -> Call {
        self.call("POST", path).json(&body)
    }

    /// DELETE.
    pub(super) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    /// Creates an action that nobody means to run.
    pub(super) async fn create(&self, name: &str) -> Reply {
        self.put(&format!("actions/{name}"), json!({"exec": node("function main(args) { return args }")}))
            .await
            .is(200)
    }

    /// Creates a script that is started for each call, the cheapest kind of action: the last line that it prints is its
    /// result, `$1` its arguments.
    pub(super) async fn create_sh(&self, name: &str, script: &str) -> Reply {
        self.put(&format!("actions/{name}"), json!({"exec": sh(script)})).await.is(200)
    }

    /// Creates an action that answers its arguments.
    pub(super) async fn create_echo(&self, name: &str) -> Reply {
        self.create_sh(name, "echo \"$1\"").await
    }

    /// A blocking call, answered by its record.
    pub(super) fn invoke(&self, name: &str, payload: Value) -> Call {
        self.post(&format!("actions/{name}?blocking=true"), payload)
    }

    /// A blocking call, answered by its result.
    pub(super) fn result(&self, name: &str, payload: Value) -> Call {
        self.post(&format!("actions/{name}?blocking=true&result=true"), payload)
    }

    /// The record of an activation, when it is there.
    pub(super) async fn record(&self, id: &str) -> Reply {
        wait_for(SOON, &format!("activation {id} has a record"), async || {
            Some(self.get(&format!("activations/{id}")).await).filter(|reply| reply.status() == 200)
        })
        .await
    }

    /// The list of activations, when there are so many.
    pub(super) async fn activations(&self, query: &str, count: usize) -> Value {
        let path = format!("activations?{query}");
        wait_for(SOON, &format!("there are {count} activations"), async || {
            let list = self.get(&path).await.is(200).json();
            Some(list).filter(|list| list.as_array().map(Vec::len) == Some(count))
        })
        .await
    }
}

/// `exec` of an action in JavaScript.
pub(super) fn node(code: &str) -> Value {
    json!({"kind": "nodejs:20", "code": code})
}

/// `exec` of a script that is started for each call.
pub(super) fn sh(script: &str) -> Value {
    json!({"kind": "native:default", "code": format!("#!/bin/sh\n{script}\n")})
}

/// OpenWhisk's array of keys and values from a JSON object: parameters and annotations.
pub(super) fn array(object: Value) -> Value {
    let Value::Object(fields) = object else { panic!("{object} is no object") };
    fields.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// A request that is sent when it is awaited.
pub(super) struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn new(client: &Client, method: Method, path: String) -> Self {
        Self { client: client.clone(), method, path, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    /// Authenticates by this text instead of the subject's credential.
    pub(super) fn authorization(self, value: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), value)
    }

    /// Authenticates by `uuid:key` instead of the subject's credential.
    pub(super) fn credential(self, credential: &str) -> Self {
        self.authorization(&basic(credential))
    }

    /// Sends JSON.
    pub(super) fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    /// Sends bytes of a type.
    pub(super) fn text(self, kind: &str, body: &str) -> Self {
        self.body(body.as_bytes()).header(CONTENT_TYPE.as_str(), kind)
    }

    /// Sends bytes without naming their type.
    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// Method, path, headers and the beginning of the body, for a failure.
    fn describe(&self) -> String {
        let mut request = format!("{} {}", self.method, self.path);
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != AUTHORIZATION) {
            write!(request, "\n{name}: {}", String::from_utf8_lossy(value.as_bytes())).unwrap();
        }
        if !self.body.is_empty() {
            write!(request, "\n{}", super::reply::beginning(&self.body)).unwrap();
        }
        request
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply>>>;

    fn into_future(self) -> Self::IntoFuture {
        let request = self.describe();
        Box::pin(async move {
            let Self { client, method, path, headers, body } = self;
            match client.send(method, &path, headers, body).await {
                Ok(answer) => Reply::new(request, answer),
                Err(error) => panic!("no answer: {error:#}\n{request}"),
            }
        })
    }
}
