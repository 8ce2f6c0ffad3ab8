//! What an operator sets about operators: who may use the admin API, where it is kept who wrote what, and what parameters at
//! rest are locked with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use triplane_management::AdminToken;
use triplane_model::{Cipher, ParameterKeys};

/// Who may use the admin API.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AdminConfig {
    /// The bearer token; a new one at every start, which only `admin.json` in the data directory tells, when absent. Never
    /// printed.
    #[serde(skip_serializing)]
    pub(crate) token: Option<String>,
}

impl std::fmt::Debug for AdminConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AdminConfig({})", if self.token.is_some() { "a token" } else { "no token" })
    }
}

impl AdminConfig {
    /// Refuses a token that could be guessed.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let bytes_min = AdminToken::BYTES_MIN;
        anyhow::ensure!(
            self.token.as_ref().is_none_or(|token| token.len() >= bytes_min),
            "admin.token is shorter than {bytes_min} characters: it opens every key"
        );
        Ok(())
    }
}

/// Where it is kept who wrote what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditConfig {
    /// Keep it.
    pub(crate) enabled: bool,
    /// The file; `audit/audit.log` in the data directory when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// How long a file grows before the next one is begun, in bytes.
    pub(crate) file_bytes_max: u64,
    /// How many files there are; the oldest goes.
    pub(crate) files_max: u32,
}

impl AuditConfig {
    /// Refuses a trail that keeps nothing.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.files_max > 0,
            "audit.files_max is 0; to keep no trail say audit.enabled = false"
        );
        Ok(())
    }

    /// The file that is written now.
    pub(crate) fn path(&self, data_dir: &Path) -> PathBuf {
        self.file.clone().unwrap_or_else(|| data_dir.join("audit").join("audit.log"))
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { enabled: true, file: None, file_bytes_max: 16 << 20, files_max: 8 }
    }
}

/// What parameters at rest are locked with: OpenWhisk's `parameter-storage`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ParameterStorageConfig {
    /// `off`, `aes-128` or `aes-256`.
    pub(crate) current: String,
    /// The key of `aes-128`: the base64 of 16 bytes. Never printed.
    #[serde(skip_serializing)]
    pub(crate) aes_128: Option<String>,
    /// The key of `aes-256`: the base64 of 32 bytes. Never printed.
    #[serde(skip_serializing)]
    pub(crate) aes_256: Option<String>,
}

impl ParameterStorageConfig {
    /// The keys.
    pub(crate) fn keys(&self) -> anyhow::Result<ParameterKeys> {
        let current = match self.current.as_str() {
            "off" | "" => None,
            name => Some(Cipher::named(name).with_context(|| {
                format!("parameter_storage.current is '{name}', and is to be off, aes-128 or aes-256")
            })?),
        };
        let keys = ParameterKeys::new(current, self.aes_128.as_deref(), self.aes_256.as_deref());
        keys.context("parameter_storage cannot be used")
    }
}

impl Default for ParameterStorageConfig {
    fn default() -> Self {
        Self { current: "off".to_owned(), aes_128: None, aes_256: None }
    }
}

impl std::fmt::Debug for ParameterStorageConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ParameterStorageConfig({})", self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let admin: AdminConfig = toml::from_str("token = \"0123456789abcdef\"").unwrap();
        let storage = "current = \"aes-128\"\naes_128 = \"AAECAwQFBgcICQoLDA0ODw==\"";
        let storage: ParameterStorageConfig = toml::from_str(storage).unwrap();
        let printed = toml::to_string(&admin).unwrap() + &toml::to_string(&storage).unwrap();
        let printed = printed + &format!("{admin:?} {storage:?}");
        assert!(!printed.contains("0123") && !printed.contains("AAEC"), "{printed}");
    }

    #[test]
    fn a_token_that_could_be_guessed_and_a_cipher_without_a_key_are_refused() {
        let admin: AdminConfig = toml::from_str("token = \"short\"").unwrap();
        assert!(admin.check().unwrap_err().to_string().contains("admin.token"));
        let keys = |text: &str| toml::from_str::<ParameterStorageConfig>(text).unwrap().keys().map(drop);
        assert!(keys("").is_ok());
        for text in ["current = \"aes-256\"", "current = \"rot13\"", "aes_128 = \"short\""] {
            assert!(format!("{:#}", keys(text).unwrap_err()).contains("parameter_storage"), "{text}");
        }
    }
}
