//! How web actions are reached.

use serde::{Deserialize, Serialize};

/// How web actions are reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebConfig {
    /// Host names of this platform: with `HOST` in it, `NS.HOST` leads to the web actions of the namespace NS.
    pub(crate) vanity_hosts: Vec<String>,
}

impl WebConfig {
    /// Names without scheme, port or final dot, as they stand in the header `Host`.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match self.vanity_hosts.iter().find(|host| !host.split('.').all(is_label)) {
            Some(host) => {
                anyhow::bail!("web.vanity_hosts has '{host}', which is no host name: give the name alone")
            }
            None => Ok(()),
        }
    }
}
