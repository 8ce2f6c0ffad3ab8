//! How an admin command finds the platform that runs on a data directory: `admin.json`, readable by its owner only.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The address of the admin API, and the token that opens it. Unless it is configured, the token is new at every start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Contact {
    address: SocketAddr,
    token: String,
    #[serde(skip)]
    path: PathBuf,
}

impl Contact {
    /// Writes the file, with the token that is configured or one that is drawn.
    pub(crate) fn write(data_dir: &Path, address: SocketAddr, token: Option<&str>) -> anyhow::Result<Self> {
        let token = token.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned);
        let contact = Self { address, token, path: data_dir.join("admin.json") };
        let write = || -> anyhow::Result<()> {
            let fresh = contact.path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&serde_json::to_vec(&contact)?)?;
            Ok(std::fs::rename(&fresh, &contact.path)?)
        };
        write().with_context(|| format!("cannot write {}", contact.path.display()))?;
        Ok(contact)
    }

    /// Reads what the running platform wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("admin.json");
        let read = || -> anyhow::Result<Self> { Ok(serde_json::from_slice(&std::fs::read(&path)?)?) };
        read().with_context(|| format!("a platform is running, but {} cannot be read", path.display()))
    }

    /// Where the admin API is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What opens it. A secret.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Removes the file when the platform stops.
    pub(crate) fn remove(&self) {
        // When it cannot be removed the next start writes it anew.
        let _ = std::fs::remove_file(&self.path);
    }
}
