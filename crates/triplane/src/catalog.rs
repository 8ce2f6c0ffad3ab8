//! The packages of `whisk.system` that clients expect: `utils`, `samples` and `alarms` (openwhisk-api.md 5.4). They are ordinary
//! public packages with ordinary actions, written through the management plane as their owner would.

use anyhow::Context;
use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use triplane_management::Management;

/// The annotation that says of which catalog a package is.
const OF: &str = "triplane-catalog";
const CATALOG: &str = include_str!("../catalog/catalog.json");
/// The code of the actions, by package and source.
const SOURCES: &[(&str, &str)] = &[
    ("utils/echo", include_str!("../catalog/utils/echo.js")),
    ("utils/cat", include_str!("../catalog/utils/cat.js")),
    ("utils/smash", include_str!("../catalog/utils/smash.js")),
    ("utils/split", include_str!("../catalog/utils/split.js")),
    ("utils/sort", include_str!("../catalog/utils/sort.js")),
    ("utils/head", include_str!("../catalog/utils/head.js")),
    ("utils/date", include_str!("../catalog/utils/date.js")),
    ("utils/namespace", include_str!("../catalog/utils/namespace.js")),
    ("utils/hosturl", include_str!("../catalog/utils/hosturl.js")),
    ("samples/hello", include_str!("../catalog/samples/hello.js")),
    ("samples/greeting", include_str!("../catalog/samples/greeting.js")),
    ("samples/wordcount", include_str!("../catalog/samples/wordcount.js")),
    ("samples/curl", include_str!("../catalog/samples/curl.js")),
    ("alarms/feed", include_str!("../catalog/alarms/feed.js")),
];
/// The most bytes of an answer that is looked at.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize)]
struct Package {
    package: String,
    description: String,
    actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    name: String,
    source: Option<String>,
    feed: Option<String>,
    description: String,
    parameters: Option<Box<RawValue>>,
    sample_input: Option<Box<RawValue>>,
    sample_output: Option<Box<RawValue>>,
}

/// Writes the packages that are missing, or are of another catalog, with the key of their owner. A package that its owner made is
/// left alone.
pub(crate) async fn install(management: &Management, owner: &str) -> anyhow::Result<()> {
    let packages: Vec<Package> = serde_json::from_str(CATALOG).context("the catalog cannot be read")?;
    let client = Client { management, authorization: basic(owner) };
    let digest = digest();
    for package in &packages {
        let path = format!("packages/{}", package.package);
        let (status, stored) = client.send("GET", &path, None).await?;
        let of = stored["annotations"].as_array().and_then(|all| all.iter().find(|found| found["key"] == OF));
        match (status, of) {
            (404, _) => {}
            (200, Some(of)) if of["value"] != digest => {}
            _ => continue,
        }
        client.write(package, &digest).await?;
        info!(package = package.package, "written into whisk.system");
    }
    Ok(())
}

/// Tells one catalog from another.
fn digest() -> String {
    let mut digest = Sha256::new_with_prefix(CATALOG);
    SOURCES.iter().for_each(|(_, code)| digest.update(code));
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(key))
}

/// Speaks to the management plane as the owner.
struct Client<'a> {
    management: &'a Management,
    authorization: String,
}

impl Client<'_> {
    /// The digest is written last: a package whose writing broke off, or whose actions this host could not have, is written
    /// again at the next start.
    async fn write(&self, package: &Package, digest: &str) -> anyhow::Result<()> {
        let path = format!("packages/{}?overwrite=true", package.package);
        let annotations = |digest: Option<&str>| {
            let mut annotations = vec![annotation("description", json!(package.description))];
            annotations.extend(digest.map(|digest| annotation(OF, json!(digest))));
            json!({"publish": true, "annotations": annotations})
        };
        let mut is_whole = self.put(&path, &annotations(Some(""))).await?;
        for action in &package.actions {
            let path = format!("actions/{}/{}?overwrite=true", package.package, action.name);
            is_whole &= self.put(&path, &action.body(&package.package)?).await?;
        }
        if is_whole {
            self.put(&path, &annotations(Some(digest))).await?;
        }
        Ok(())
    }

    /// Says whether it was written. A host without Node.js has no such actions: it is told, and serves without them.
    async fn put(&self, path: &str, body: &Value) -> anyhow::Result<bool> {
        match self.send("PUT", path, Some(body)).await? {
            (200, _) => Ok(true),
            (400, answer) => {
                warn!(path, error = %answer["error"], "not written into whisk.system");
                Ok(false)
            }
            (status, answer) => anyhow::bail!("{path} of whisk.system: {status} {answer}"),
        }
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/v1/namespaces/_/{path}"))
            .header(http::header::AUTHORIZATION, &self.authorization)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(triplane_net::full(body))?;
        let response = self.management.handle(request).await;
        let status = response.status().as_u16();
        let bytes = triplane_net::collect(response.into_body(), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

fn annotation(key: &str, value: Value) -> Value {
    json!({"key": key, "value": value})
}

impl Action {
    /// The body of its PUT.
    fn body(&self, package: &str) -> anyhow::Result<Value> {
        let source = format!("{package}/{}", self.source.as_ref().unwrap_or(&self.name));
        let code =
            SOURCES.iter().find(|(name, _)| *name == source).with_context(|| format!("no {source}"))?.1;
        let mut annotations = vec![annotation("description", json!(self.description))];
        for (key, value) in [
            ("parameters", &self.parameters),
            ("sampleInput", &self.sample_input),
            ("sampleOutput", &self.sample_output),
        ] {
            annotations.extend(value.as_ref().map(|value| annotation(key, json!(value))));
        }
        if self.feed.is_some() {
            annotations.push(annotation("feed", json!(true)));
        }
        let parameters = self.feed.iter().map(|feed| annotation("feed", json!(feed)));
        Ok(json!({
            "exec": {"kind": "nodejs:default", "code": code},
            "annotations": annotations,
            "parameters": parameters.collect::<Vec<_>>(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_catalog_has_its_code_and_every_code_its_action() {
        let packages: Vec<Package> = serde_json::from_str(CATALOG).unwrap();
        let mut used = Vec::new();
        for package in &packages {
            for action in &package.actions {
                action.body(&package.package).unwrap();
                used.push(format!("{}/{}", package.package, action.source.as_ref().unwrap_or(&action.name)));
            }
        }
        for (source, _) in SOURCES {
            assert!(used.iter().any(|used| used == source), "{source}");
        }
    }
}
