//! One bridge for each namespace that has containers: no traffic between containers, none between namespaces.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::engine::{Engine, Refused};

/// The bridges and how many containers each has. The lock is held while one is made or removed, so that nobody uses one
/// that goes.
#[derive(Debug, Default)]
pub(crate) struct Networks(Mutex<HashMap<String, usize>>);

impl Networks {
    /// The network of a namespace, made if need be; to be released again.
    pub(crate) async fn acquire(
        &self,
        engine: &Engine,
        instance: &str,
        namespace: &str,
    ) -> Result<String, Refused> {
        let name = name(instance, namespace);
        let mut used = self.0.lock().await;
        if !used.contains_key(&name) && !engine.has_network(&name).await? {
            engine.create_network(&name, namespace).await?;
        }
        *used.entry(name.clone()).or_default() += 1;
        Ok(name)
    }

    /// A container is gone; the last one takes the network along.
    pub(crate) async fn release(&self, engine: &Engine, name: &str) {
        let mut used = self.0.lock().await;
        let left = match used.get_mut(name) {
            Some(count) => {
                *count -= 1;
                *count
            }
            None => return,
        };
        if left > 0 {
            return;
        }
        used.remove(name);
        if let Err(error) = engine.remove_network(name).await {
            // the next start removes it, or uses it again
            tracing::warn!(network = name, %error, "network is not removed");
        }
    }
}

/// What tells the containers and networks of the platform with this data directory from those of others.
#[must_use]
pub fn instance(data_dir: &Path) -> String {
    short_hash(&data_dir.to_string_lossy())
}

/// A name of limited length, whatever the namespace's is.
fn name(instance: &str, namespace: &str) -> String {
    format!("triplane-{instance}-{}", short_hash(namespace))
}

/// 64 bits of SHA-256 in hexadecimal.
fn short_hash(text: &str) -> String {
    let mut out = String::new();
    for byte in &Sha256::digest(text)[..8] {
        write!(out, "{byte:02x}").ok();
    }
    out
}
